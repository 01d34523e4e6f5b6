"""GLoMo on padded batches."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from sedimental.train.layers.convolution import TemporalConvolution
from sedimental.train.layers.experts import Experts
from sedimental.train.layers.packed import adaptive_max
from sedimental.train.layers.padded_mode import padded_mode
from sedimental.train.layers.transformer import SequenceEncoder, TransformerLayer, sinusoids
from sedimental.train.models.glomo import GLoMo, Unimodal
from sedimental.train.models.shared.interface import Batch, Output

from .common import front, joined, linear, seen, split


class PaddedGLoMo(nn.Module):
    """`model` on every frame of a padded batch; what sees no frames is its own."""

    def __init__(self, model: GLoMo) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> Output:
        model = self.model
        found, losses = [], {}
        with padded_mode():
            for m in model.modalities:
                encoder, mask = model.encoders[m], batch.masks[m]
                assert isinstance(encoder, Unimodal)
                grains, imbalance = self._grains(encoder, batch.features[m], mask)
                found.append(grains)
                losses[f"balance_{m}"] = model.balance * imbalance
            real = torch.stack([batch.masks[m].any(dim=1) for m in model.modalities], dim=1)
            fused, _ = model.fusion(torch.stack(found, dim=1), real)
            return Output(model.head(fused).squeeze(1), losses)

    def _grains(self, encoder: Unimodal, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        lengths, real = front(mask), mask.any(dim=1)
        assert isinstance(encoder.convolution, TemporalConvolution)
        assert encoder.layers == 1
        width = encoder.convolution.in_features
        taps = encoder.convolution.weight.view(3, -1, width).permute(1, 2, 0)
        frames = functional.conv1d((x * mask.unsqueeze(2)).transpose(1, 2), taps, padding=1)
        frames = frames.transpose(1, 2)
        if encoder.context is not None:
            frames = self._sequence(encoder.context, frames, mask)
        pooled = adaptive_max(frames, lengths, encoder.bins)
        top = pooled.amax(dim=1) if encoder.first is None else encoder.first(x[:, 0])
        assert isinstance(encoder.local, Experts)
        local, _, imbalance = encoder.local(pooled.transpose(1, 2).flatten(start_dim=1), real)
        return torch.stack([top, local], dim=1) * real.view(-1, 1, 1), imbalance

    def _sequence(self, encoder: SequenceEncoder, x: Tensor, mask: Tensor) -> Tensor:
        steps = torch.arange(1, x.shape[1] + 1, dtype=x.dtype)
        x = math.sqrt(x.shape[2]) * x + sinusoids(steps, x.shape[2])
        x = functional.dropout(x, encoder.dropout.p, self.training)
        for layer in encoder.layers:
            assert isinstance(layer, TransformerLayer)
            x = x + self._drop(layer, self._attention(layer, layer.norms[0](x), mask))
            x = x + self._drop(layer, layer.feedforward(layer.norms[1](x)))
        normed: Tensor = encoder.norm(x)
        return normed

    def _drop(self, layer: TransformerLayer, x: Tensor) -> Tensor:
        return functional.dropout(x, layer.dropout.p, self.training)

    def _attention(self, layer: TransformerLayer, x: Tensor, mask: Tensor) -> Tensor:
        query, key, value = linear(layer.projections, x).chunk(3, dim=2)
        found = functional.scaled_dot_product_attention(
            split(query, layer.heads),
            split(key, layer.heads),
            split(value, layer.heads),
            attn_mask=seen(mask),
            dropout_p=layer.attention_dropout if self.training else 0.0,
        )
        return linear(layer.attended, joined(found))
