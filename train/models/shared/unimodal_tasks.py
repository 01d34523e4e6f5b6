"""Scores of single modalities beside the fused one: the multitask half of the CH-SIMS paper.

Yu, Xu, Meng, Zhu, Ma, Wu, Zou and Yang, "CH-SIMS: A Chinese Multimodal Sentiment Analysis Dataset
with Fine-grained Annotations of Modality", ACL 2020: its models `mlf_dnn`, `mtfn` and `mlmf` are
LF-DNN, TFN and LMF whose modalities' vectors z_m are also asked for a score of their own. Written
from memory of the paper, without any code of it; it has no other equation of its own than the loss:

    ŷ_m   = D_m(z_m)                                    a layer and a linear head a modality
    L     = L(ŷ, y) + Σ_m a_m L(ŷ_m, y_m)               y_m the annotation of that modality alone

Departures, and choices where the paper is silent:

- L of a single modality is the absolute error, or cross-entropy of classes; that of the fused score
  is [train]'s. The paper's penalty Σ β |W|² is `weight_decay`.
- A clip that lacks a modality, or its annotation where the corpus has that of others, has no part
  in that modality's loss. A corpus that annotates no single modality (CMU-MOSI) lets the label of
  the whole clip stand in, the paper's own comparison.
- The weights a_m are one number for all modalities, sizes and dropout ours.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from ....cache.spec import Modality
from ...layers.losses import loss_where
from ...layers.whole_batch import alone
from .baseline import dense
from .interface import Batch, shaped


class UnimodalTasks(nn.Module):
    """A score for each modality, and its loss."""

    def __init__(
        self,
        widths: Mapping[Modality, int],
        hidden: int,
        classes: int,
        dropout: float,
        weight: float,
    ) -> None:
        """For vectors z_m of these `widths`; `hidden` units before a head, `weight` is a."""
        super().__init__()
        self.weight = weight
        self.total: Callable[[Tensor], Tensor] = alone
        self.heads = nn.ModuleDict(
            {
                m: nn.Sequential(dense([width, hidden], dropout), nn.Linear(hidden, classes))
                for m, width in widths.items()
            }
        )

    def forward(self, vectors: Mapping[Modality, Tensor]) -> dict[Modality, Tensor]:
        """(batch, w_m) by modality -> its scores (batch,), or logits (batch, classes)."""
        return {m: shaped(self.heads[m](z)) for m, z in vectors.items()}

    def losses(self, scores: Mapping[Modality, Tensor], batch: Batch) -> dict[str, Tensor]:
        """``unimodal_<modality>`` of each, weighted."""
        found = {}
        for m, score in scores.items():
            labels, there = batch.targets.get(m, batch.labels), batch.masks[m].any(dim=1)
            if labels.is_floating_point():
                there = there & ~labels.isnan()
                labels = torch.where(there, labels, 0).to(score.dtype)
            loss = loss_where(there, score, labels, "l1", self.total)
            found[f"unimodal_{m}"] = self.weight * loss
        return found
