"""Unimodal labels out of multimodal ones: SUGRM's generator (section 3.3) and Self-MM's.

Symbols, with y_m a clip's label, H the largest |y_m| among training clips, F_m* its fusion
feature and F_s* its feature of modality s in the common space (width w):

    D_max     distance of the mean F_m* of clips labelled +H and of clips labelled -H
    offset    2H * min(|F_m* - F_s*|, D_max) / D_max
    direction which of the two lies nearer to the positive clips, as the ratio of its distances
              to the mean F_m* of positive and of negative clips
    y_s       y_m + offset, y_m - offset or y_m, kept within ±H

Self-MM: Yu et al., "Learning Modality-Specific Representations with Self-Supervised Multi-Task
Learning for Multimodal Sentiment Analysis", AAAI 2021, arXiv:2102.04830.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm
from torch.nn import functional

from ....cache.spec import Modality
from ...layers.losses import Distance
from ..shared.hooks import Training

Generator = Literal["sugrm", "self_mm"]
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of the generated labels of all training clips, noted for every epoch."""
DISTANCES: Mapping[Distance, Callable[..., Tensor]] = {
    "l1": functional.l1_loss,
    "l2": functional.mse_loss,
    "huber": functional.huber_loss,
}
DECILE = 0.1
"""Share of the clips on each side that stand for ±H where no clip has that very label."""


def extremes(labels: Tensor) -> tuple[float, Tensor, Tensor]:
    """H, and which clips are the most positive and the most negative; (clips,) -> bool (clips,).

    They are the clips labelled exactly ±H; if one side has none, the extreme tenth on each side.
    """
    limit = labels.abs().max()
    top, bottom = labels == limit, labels == -limit
    if not (top.any() and bottom.any()):
        ends = torch.tensor([DECILE, 1 - DECILE], dtype=labels.dtype, device=labels.device)
        low, high = torch.quantile(labels, ends)
        top, bottom = labels >= high, labels <= low
    return float(limit), top, bottom


def sugrm_labels(
    truth: Tensor, fusion: Tensor, features: Tensor, centres: Tensor, limit: Tensor
) -> Tensor:
    """New labels of some clips, (tasks, clips), by the rule above.

    `truth` (clips,), `fusion` (clips, w), `features` (tasks, clips, w), `centres` (4, w): mean
    fusion features of positive, negative, +H and -H clips; `limit` is H. If the two extremes lie
    in one point, there is no scale, and a label is the truth.
    """
    positive, negative, top, bottom = centres
    largest = vector_norm(top - bottom)
    distance = vector_norm(fusion - features, dim=-1).minimum(largest)
    offset = torch.where(largest > 0, 2 * limit * distance / largest, 0)
    own = vector_norm(features - positive, dim=-1), vector_norm(features - negative, dim=-1)
    fused = vector_norm(fusion - positive, dim=-1), vector_norm(fusion - negative, dim=-1)
    # own[0] / own[1] < fused[0] / fused[1], without a division by zero
    direction = torch.sign(fused[0] * own[1] - own[0] * fused[1])
    return (truth + direction * offset).clamp(-limit, limit)


def self_mm_labels(
    truth: Tensor, fusion: Tensor, features: Tensor, centres: Tensor, limit: Tensor
) -> Tensor:
    """New labels of some clips, (tasks, clips), by Self-MM's rule.

    As `sugrm_labels`, but with `centres` (1 + tasks, 2, w): of the fusion features and of each
    task's own, the means of clips that are positive and negative by that task's own labels. With
    delta how much nearer a feature lies to the positive centre, (d_neg - d_pos) / d_pos, a label
    is the mean of y_m * delta_s / delta_m and y_m + delta_s - delta_m.
    """
    near = vector_norm(torch.cat([fusion[None], features]) - centres[:, :1], dim=-1)
    far = vector_norm(torch.cat([fusion[None], features]) - centres[:, 1:], dim=-1)
    delta = (far - near) / near
    fused, own = delta[:1], delta[1:]
    labels = (truth * own / fused + truth + own - fused) / 2
    return torch.where(labels.isnan(), truth, labels).clamp(-limit, limit)


def averaged(old: Tensor, new: Tensor, epoch: int) -> Tensor:
    """Running mean of the labels: (e - 1)/(e + 1) of the old and 2/(e + 1) of the new, e > 1."""
    return (epoch - 1) / (epoch + 1) * old + 2 / (epoch + 1) * new


def against_rest(labels: Tensor, classes: int) -> Tensor:
    """Scores of class numbers (batch,): (batch, classes), 1 for a clip's own and -1 for others;
    labels that are scores already stay as they are."""
    if labels.is_floating_point():
        return labels
    return 2 * functional.one_hot(labels, classes).to(torch.get_default_dtype()) - 1


def unimodal_loss(
    scores: Tensor, labels: Tensor, truth: Tensor, known: Tensor, distance: Distance = "l1"
) -> Tensor:
    """Mean over a batch of tanh|y_s - y_m| times the distance of score and label; (batch,), or
    (batch, classes) and a mean over these too. `truth` is what `against_rest` takes.

    A clip that lacks the modality, by `known` (batch,), adds nothing.
    """
    truth = against_rest(truth, scores.shape[-1])
    there = known.unsqueeze(1) if scores.ndim == 2 else known
    weight = torch.tanh((labels - truth).abs()) * there
    return (weight * DISTANCES[distance](scores.to(labels.dtype), labels, reduction="none")).mean()


class LabelMemory(nn.Module):
    """Every training clip's features and generated labels; all of it lies in buffers.

    Rows are rows of the corpus table. Before `begin` it holds nothing. Of classes, each is a label
    of its own (`against_rest`), generated by the same rule in the same space.
    """

    truth: Tensor
    """([classes,] table) labels; NaN for clips that are not trained on."""
    labels: Tensor
    """(tasks, [classes,] table) generated labels; NaN likewise."""
    bank: Tensor
    """(1, table, width) last fusion features; (1 + tasks, table, width) for Self-MM."""
    shares: Tensor
    """([classes,] 4, table): what each clip counts in the mean of positive, negative, +H and -H
    clips, by its multimodal label; SUGRM's centres."""
    clips: Tensor
    """(training clips,) int64 rows."""
    limit: Tensor
    """H, a scalar."""
    trail: Tensor
    """(epochs before this one, tasks, quantiles) of the labels as each epoch left them."""

    def __init__(
        self,
        tasks: Sequence[Modality],
        width: int,
        generator: Generator,
        first: int = 2,
        exclude_zero: bool = False,
        classes: int = 1,
    ) -> None:
        """Labels for `tasks`, from features of length `width`, moved from epoch `first` on.

        A clip labelled 0 is one of the positive clips, or of neither kind if `exclude_zero`.
        """
        super().__init__()
        self.classes = classes
        self.tasks = tuple(tasks)
        self.width = width
        self.generator = generator
        self.first = first
        self.exclude_zero = exclude_zero
        self.forget()

    def forget(self) -> None:
        """Hold nothing."""
        self.register_buffer("truth", torch.zeros(0))
        self.register_buffer("labels", torch.zeros(len(self.tasks), 0))
        self.register_buffer("bank", torch.zeros(self._banks, 0, self.width))
        self.register_buffer("shares", torch.zeros(4, 0))
        self.register_buffer("clips", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("limit", torch.zeros(()))
        self.register_buffer("trail", torch.zeros(0, len(self.tasks), len(QUANTILES)))

    @property
    def _banks(self) -> int:
        return 1 + len(self.tasks) if self.generator == "self_mm" else 1

    @property
    def begun(self) -> bool:
        """Whether it knows any clip."""
        return self.truth.numel() > 0

    @torch.no_grad()
    def begin(self, training: Training) -> None:
        """Forget all; every label is the multimodal one (epoch 1)."""
        labels = against_rest(training.labels, self.classes).to(self.truth.dtype).movedim(-1, 0)
        groups = (
            self._groups(labels)
            if labels.ndim == 1
            else torch.stack([self._groups(one) for one in labels])
        )
        self.truth = labels.new_full((*labels.shape[:-1], training.table), torch.nan)
        self.truth[..., training.index] = labels
        self.labels = self.truth.expand(len(self.tasks), *self.truth.shape).clone()
        self.bank = labels.new_zeros(self._banks, training.table, self.width)
        self.shares = labels.new_zeros(*groups.shape[:-1], training.table)
        shares = groups / groups.sum(dim=-1, keepdim=True).clamp(min=1)
        self.shares[..., training.index] = shares
        self.clips = training.index.clone()
        self.limit = labels.abs().max()
        self.trail = labels.new_zeros(0, len(self.tasks), len(QUANTILES))

    @torch.no_grad()
    def after_step(self, index: Tensor, features: Tensor, known: Tensor, epoch: int) -> None:
        """New labels of the clips `index` (batch,), then their features in the place of the old.

        `features` (1 + tasks, batch, width), fusion first; `known` (tasks, batch) bool: where a
        clip lacks the modality, its label stays.
        """
        features = features.to(self.bank.dtype)
        while self.classes == 1 and len(self.trail) < epoch - 1:
            self.trail = torch.cat([self.trail, self._quantiles()[None]])
        if epoch >= self.first:
            old = self.labels[..., index]
            new = averaged(old, self._new(index, features), epoch)
            there = known if old.ndim == known.ndim else known.unsqueeze(1)
            self.labels[..., index] = torch.where(there, new, old)
        self.bank[:, index] = features[: self._banks]

    def of(self, index: Tensor) -> Tensor:
        """(batch,) -> (tasks, batch[, classes]): the labels now; NaN for clips that are not trained
        on."""
        found = self.labels[..., index]
        return found if found.ndim == 2 else found.transpose(1, 2)

    def trajectory(self) -> Mapping[Modality, Tensor]:
        """`QUANTILES` of the labels after each epoch so far, (epochs, quantiles) a task."""
        if not (self.begun and self.tasks) or self.classes > 1:
            return {}
        rows = torch.cat([self.trail, self._quantiles()[None]])
        return {task: rows[:, place] for place, task in enumerate(self.tasks)}

    def _new(self, index: Tensor, features: Tensor) -> Tensor:
        """(batch,), (1 + tasks, batch, width) -> (tasks, [classes,] batch)."""
        if self.classes == 1:
            return self._of_one(self.truth, self.labels, self.shares, index, features)
        columns = zip(self.truth, self.labels.unbind(1), self.shares, strict=True)
        return torch.stack([self._of_one(*one, index, features) for one in columns], dim=1)

    def _of_one(
        self, truth: Tensor, labels: Tensor, shares: Tensor, index: Tensor, features: Tensor
    ) -> Tensor:
        """New labels (tasks, batch) of one score, or of one class: a row of each of the buffers.

        Clips of one sign alone have nothing to be placed between: theirs are the truth.
        """
        fusion, others, own = features[0], features[1:], truth[index]
        if self.generator == "sugrm":
            both = (shares[:2].sum(dim=1) > 0).all()
            new = sugrm_labels(own, fusion, others, shares @ self.bank[0], self.limit)
            return torch.where(both, new, own)
        labels = torch.cat([truth.unsqueeze(0), labels])  # NaN is of neither sign
        signs = torch.stack([self._positive(labels), labels < 0], dim=1).to(self.bank.dtype)
        clips = signs.sum(dim=2, keepdim=True)  # (1 + tasks, 2, 1)
        centres = signs @ self.bank / clips.clamp(min=1)
        there = (clips > 0).all(dim=1)  # (1 + tasks, 1)
        new = self_mm_labels(own, fusion, others, centres, self.limit)
        return torch.where(there[0] & there[1:], new, own)

    def _groups(self, labels: Tensor) -> Tensor:
        """(clips,) -> (4, clips) of 0 and 1: positive, negative, most positive, most negative."""
        _, top, bottom = extremes(labels)
        return torch.stack([self._positive(labels), labels < 0, top, bottom]).to(labels.dtype)

    def _positive(self, labels: Tensor) -> Tensor:
        return labels > 0 if self.exclude_zero else labels >= 0

    def _quantiles(self) -> Tensor:
        """(tasks, quantiles) of the labels now."""
        points = self.labels.new_tensor(QUANTILES)
        return torch.quantile(self.labels[:, self.clips], points, dim=1).T

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        """Buffers take the sizes of what is loaded: a fresh model knows no clip as yet."""
        for name, buffer in self.named_buffers():
            found = state_dict.get(prefix + name)
            if found is not None and found.shape != buffer.shape:
                setattr(self, name, buffer.new_zeros(found.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)
