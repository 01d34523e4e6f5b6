"""EMT on padded batches, in the complete setting with the paper's own fusion strategy (OAGL)."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from sedimental.train.layers.padded_mode import padded_mode
from sedimental.train.models.emt_dlfr.attention import Attention
from sedimental.train.models.emt_dlfr.encoders import RecurrentEncoder
from sedimental.train.models.emt_dlfr.fusion import OneToAllGlobalLocal
from sedimental.train.models.emt_dlfr.model import EMTDLFR
from sedimental.train.models.emt_dlfr.promotion_unit import FeedForward, Promotion
from sedimental.train.models.shared.interface import Batch, Output

from .common import front, joined, linear, seen, split


class PaddedEMT(nn.Module):
    """`model` on every frame of a padded batch, unit by unit, as released."""

    def __init__(self, model: EMTDLFR) -> None:
        super().__init__()
        assert isinstance(model.fusion, OneToAllGlobalLocal)
        assert not model.options.restores
        self.model = model

    def forward(self, batch: Batch) -> Output:
        model, dropout = self.model, self.model.dropout
        utterances, frames, masks = [], [], []
        for m in model.modalities:
            vector, local, mask = self._encoded(m, batch.features[m], batch.masks[m])
            utterances.append(vector)
            placed = self._projected(m, local)
            frames.append(dropout(placed + positions(placed)))
            masks.append(mask)
        projected = [
            self._projected(m, v) for m, v in zip(model.modalities, utterances, strict=True)
        ]
        context = self._fused(frames, masks, dropout(torch.stack(projected, dim=1)))
        answers = model.head(torch.cat([*utterances, context.flatten(1)], dim=1))
        return Output(answers.squeeze(-1))

    def _projected(self, m: str, x: Tensor) -> Tensor:
        layer = self.model.projections[m]
        return x if isinstance(layer, nn.Identity) else linear(layer, x)

    def _encoded(self, m: str, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """h_m, H_m and which of its frames are real."""
        encoder, lengths = self.model.encoders[m], front(mask)
        if not isinstance(encoder, RecurrentEncoder):  # text: between [CLS] and [SEP]
            steps = torch.arange(1, mask.shape[1])
            return x[:, 0], x[:, 1:], steps < (lengths - 1).unsqueeze(1)
        packed = pack_padded_sequence(
            x, lengths.clamp(min=1), batch_first=True, enforce_sorted=False
        )
        states, (last, _) = nn.LSTM.forward(encoder.lstm, packed)
        padded, _ = pad_packed_sequence(states, batch_first=True)  # to the longest of the batch
        there = (lengths > 0).unsqueeze(1)
        with padded_mode():
            vector = encoder.map(encoder.dropout(last[0])) * there
            return vector, encoder.map(padded), mask[:, : padded.shape[1]]

    def _fused(self, frames: list[Tensor], masks: list[Tensor], context: Tensor) -> Tensor:
        fusion = self.model.fusion
        everyone = torch.ones(context.shape[:2], dtype=torch.bool)
        for number, (units, (pool,)) in enumerate(
            zip(fusion.layers, fusion.pooled, strict=True), start=1
        ):
            promoted = frames
            if number < len(fusion.layers):  # nobody reads those of the last layer
                promoted = [
                    self._promoted(unit, x, mask, context, everyone)
                    for (unit, _), x, mask in zip(units, frames, masks, strict=True)
                ]
            versions = [
                self._promoted(unit, context, everyone, x, mask)
                for (_, unit), x, mask in zip(units, frames, masks, strict=True)
            ]
            pooled, _ = pool(torch.stack([version.flatten(1) for version in versions], dim=1))
            frames, context = promoted, pooled.view_as(context)
        return context

    def _promoted(
        self, unit: Promotion, target: Tensor, mask: Tensor, source: Tensor, source_mask: Tensor
    ) -> Tensor:
        normed, other = unit.target_norm(target), unit.source_norm(source)
        x = target + self._attention(unit.cross, normed, other, source_mask)
        normed = unit.self_norm(x)
        x = x + self._attention(unit.itself, normed, normed, mask)
        return x + self._fed(unit.feed, unit.forward_norm(x))

    def _attention(self, layer: Attention, target: Tensor, source: Tensor, mask: Tensor) -> Tensor:
        query, (key, value) = (
            linear(layer.query, target),
            linear(layer.key_value, source).chunk(2, 2),
        )
        # a source without any frame counts for nothing
        there = mask.any(dim=1).view(-1, 1, 1).to(target.dtype)
        found = functional.scaled_dot_product_attention(
            split(query, layer.heads),
            split(key, layer.heads),
            split(value, layer.heads),
            attn_mask=seen(mask),
            dropout_p=layer.dropout if self.training else 0.0,
        )
        return linear(layer.out, joined(found) * there)

    def _fed(self, layer: FeedForward, x: Tensor) -> Tensor:
        value, gate = linear(layer.up, x).chunk(2, dim=2)
        fed: Tensor = layer.dropout(linear(layer.down, value * functional.gelu(gate)))
        return fed


def positions(x: Tensor) -> Tensor:
    """(frames, width) sinusoids, sine and cosine in turn."""
    step = torch.arange(0, x.shape[2], 2, dtype=x.dtype)
    angle = torch.arange(x.shape[1], dtype=x.dtype).unsqueeze(1) * 10_000 ** (-step / x.shape[2])
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, : x.shape[2]]
