"""MMML's fusion network on padded batches: fused [CLS] vectors, no context."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sedimental.train.layers.losses import task_loss
from sedimental.train.layers.post_norm import PostNormAttention, PostNormFeedForward
from sedimental.train.models.mmml import MMML, Side
from sedimental.train.models.shared.interface import Batch, Output

from .common import front, joined, linear, seen, split


class PaddedMMML(nn.Module):
    """`model` on every frame of a padded batch."""

    def __init__(self, model: MMML) -> None:
        super().__init__()
        options = model.options
        assert options.variation == "fused"
        assert options.context == "none"
        assert options.multi_loss
        self.model = model

    def forward(self, batch: Batch) -> Output:
        model, streams, masks, scores, losses = self.model, [], [], {}, {}
        for m in model.modalities:
            x, mask = batch.features[m], batch.masks[m]
            lengths = front(mask)
            if m in model.projections:
                x = linear(model.projections[m], x)
            x = x * mask.unsqueeze(2)
            if m == "text":
                assert model.pooler is not None
                vector = torch.tanh(linear(model.pooler, x[:, 0]))
                vector = vector * (lengths > 0).unsqueeze(1)
            else:
                vector = x.sum(dim=1) / lengths.clamp(min=1).unsqueeze(1)
            scores[m] = model.heads[m](vector).squeeze(1)
            losses[m] = model.options.unimodal_weight * task_loss(scores[m], batch.labels, "l1")
            streams.append(torch.cat([model.tokens[m].expand(len(x), -1, -1), x], dim=1))
            masks.append(torch.cat([mask.new_ones(len(mask), 1), mask], dim=1))
        for layer in model.layers:
            sides: Any = layer.sides
            first, second = sides
            streams = [
                self._side(first, *streams, *masks),
                self._side(second, *reversed(streams), *reversed(masks)),
            ]
        fused = torch.cat([x[:, 0] for x in streams], dim=1)
        return Output(model.head(fused).squeeze(1), {str(m): x for m, x in losses.items()})

    def _side(
        self, side: Side, x: Tensor, other: Tensor, mask: Tensor, other_mask: Tensor
    ) -> Tensor:
        x = self._attention(side.cross, x, other, other_mask)
        return self._fed(side.feedforward, self._attention(side.own, x, x, mask))

    def _attention(
        self, layer: PostNormAttention, x: Tensor, other: Tensor, mask: Tensor
    ) -> Tensor:
        found = functional.scaled_dot_product_attention(
            split(linear(layer.query, x), layer.heads),
            split(linear(layer.key, other), layer.heads),
            split(linear(layer.value, other), layer.heads),
            attn_mask=seen(mask),
            dropout_p=layer.share if self.training else 0.0,
        )
        added = functional.dropout(linear(layer.out, joined(found)), layer.share, self.training)
        done: Tensor = layer.norm(x + added)
        return done

    def _fed(self, layer: PostNormFeedForward, x: Tensor) -> Tensor:
        inner = linear(layer.out, torch.relu(linear(layer.inner, x)))
        done: Tensor = layer.norm(x + functional.dropout(inner, layer.dropout.p, self.training))
        return done
