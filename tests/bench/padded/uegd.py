"""UEGD on padded batches."""

from typing import Any

import torch
from torch import Tensor, nn

from sedimental.cache.spec import MODALITIES
from sedimental.train.models.shared.interface import Batch, Output
from sedimental.train.models.uegd import UEGD, UnimodalEncoder

from .common import linear


class PaddedUEGD(nn.Module):
    """`model` on every frame of a padded batch."""

    def __init__(self, model: UEGD) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> Output:
        model: Any = self.model
        found = {
            m: self._embedding(model.encoders[m], batch.features[m], batch.masks[m])
            for m in model.modalities
        }
        absent = torch.zeros_like(next(iter(found.values())))
        embeddings = torch.stack([found.get(m, absent) for m in MODALITIES], dim=1)
        gate = torch.sigmoid(model.gate(embeddings.flatten(start_dim=1)))
        fused = (gate.unsqueeze(-1) * embeddings).sum(dim=1)
        return Output(model.decoder(fused).squeeze(-1))

    def _embedding(self, encoder: UnimodalEncoder, x: Tensor, mask: Tensor) -> Tensor:
        parts: Any = encoder.frames
        first, norm, relu, dropout = parts
        frames = nn.functional.dropout(relu(norm(linear(first, x))), dropout.p, self.training)
        pooling = encoder.pooling
        scores = pooling.scores(torch.tanh(linear(pooling.inner, frames)))
        lowest = torch.finfo(scores.dtype).min  # not -inf: a clip without frames would be NaN
        scores = scores.masked_fill(~mask.unsqueeze(-1), lowest)
        pooled = torch.softmax(scores, dim=1).transpose(1, 2) @ frames
        embedding: Tensor = encoder.embed(pooled.flatten(start_dim=1))
        return embedding * mask.any(dim=1, keepdim=True)
