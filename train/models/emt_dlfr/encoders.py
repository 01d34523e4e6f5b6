"""Encoders, siamese parts and views of `emt_dlfr`; equation numbers are those of its paper."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ....cache.spec import Modality
from ...layers.linear import FrameLinear
from ...layers.lstm import RowLSTM
from ...layers.row_layout import Layout
from ..shared.hooks import alone
from ..shared.interface import InputShape


@dataclass(frozen=True)
class View:
    """One view of a batch, complete or not, through the whole model."""

    utterances: Mapping[Modality, Tensor]
    """h_m (batch, width of the modality)."""
    context: Tensor
    """g (batch, M * d)."""
    frames: Mapping[Modality, Tensor]
    """Z_m: promoted local features, rows (n_m, d)."""
    together: Tensor
    """What the head reads (batch, widths of the modalities + M * d)."""
    prediction: Tensor
    """(batch,), or (batch, classes)."""
    pooling: Tensor | None
    """(batch, M), with OAGL and attention pooling."""


class TextEncoder(nn.Module):
    """Cached token states as they are: [CLS] for the utterance, the tokens up to [SEP] local."""

    def __init__(self, shape: InputShape) -> None:
        """For tokens of this shape."""
        super().__init__()
        self.out = shape.width

    def local(self, layout: Layout) -> tuple[Tensor, Layout]:
        """Which of the rows of `layout` are local features (n,), and their own layout."""
        last = (layout.count - 1).unsqueeze(1)
        steps = torch.arange(layout.mask.shape[1], device=last.device)
        kept = (layout.rank > 0) & (layout.rank < last.squeeze(1)[layout.clip])
        return kept.nonzero().squeeze(1), Layout.of((steps > 0) & (steps < last))

    def forward(self, rows: Tensor, layout: Layout) -> tuple[Tensor, Tensor, Layout]:
        """Rows (n, width) -> h (batch, width), local rows (n', width) and their layout."""
        kept, inner = self.local(layout)
        if not len(rows):
            return rows.new_zeros(len(layout.count), self.out), rows, inner
        there = layout.count > 0
        first = (layout.count.cumsum(dim=0) - layout.count) * there
        utterance = rows.index_select(0, first) * there.unsqueeze(1)
        return utterance, rows.index_select(0, kept), inner


class RecurrentEncoder(nn.Module):
    """One LSTM over the real frames of a clip; a linear layer to another width if that differs."""

    def __init__(self, shape: InputShape, hidden: int, out: int, dropout: float) -> None:
        """For frames of this shape, `hidden` units and features of length `out`."""
        super().__init__()
        self.out = out
        self.lstm = RowLSTM(shape.width, hidden)
        self.map = nn.Identity() if hidden == out else FrameLinear(hidden, out)
        self.dropout = nn.Dropout(dropout)

    def local(self, layout: Layout) -> tuple[Tensor, Layout]:
        """Every row is a local feature."""
        return torch.arange(len(layout.source), device=layout.source.device), layout

    def forward(self, rows: Tensor, layout: Layout) -> tuple[Tensor, Tensor, Layout]:
        """Rows (n, width) -> h (batch, out), local rows (n, out) and their layout.

        Frames that are not real are passed over; h is zero for a clip without any other.
        """
        states = self.lstm.rows(rows, layout.counts)
        last = torch.where(layout.count > 0, layout.count.cumsum(dim=0) - 1, len(states))
        final = torch.cat([states, states.new_zeros(1, states.shape[1])]).index_select(0, last)
        utterance = self.map(self.dropout(final)) * (layout.count > 0).unsqueeze(1)
        return utterance, self.map(states), layout


class Norm(nn.BatchNorm1d):
    """Batch normalisation that takes a batch of one in training: by its running statistics.

    Where several processes share a batch, its statistics are those of the whole batch.
    """

    def __init__(self, width: int, affine: bool = True) -> None:
        super().__init__(width, affine=affine)
        self.total: Callable[[Tensor], Tensor] = alone

    def forward(self, rows: Tensor) -> Tensor:
        """(batch, width) -> (batch, width)."""
        if self.training and self.total is not alone:
            return self._shared(rows)
        if self.training and len(rows) > 1:
            return super().forward(rows)
        return self._running(rows)

    def _running(self, rows: Tensor) -> Tensor:
        return functional.batch_norm(
            rows, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )

    def _shared(self, rows: Tensor) -> Tensor:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        exact = rows.float()
        count = self.total(exact.new_full((), len(rows)))
        mean = self.total(exact.sum(dim=0)) / count
        variance = self.total((exact - mean).square().sum(dim=0)) / count
        # without asking the device how many there are
        enough = count > 1
        mean = torch.where(enough, mean, self.running_mean)
        variance = torch.where(enough, variance, self.running_var)
        with torch.no_grad():  # no change, where there are not enough
            unbiased = variance * torch.where(enough, count / (count - 1).clamp(min=1), 1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
        normed = (exact - mean) / (variance + self.eps).sqrt()
        return normed if self.weight is None else normed * self.weight + self.bias


class Siamese(nn.Module):
    """SimSiam's projector p and predictor q, and the loss of two views (Eqs. 13 and 14)."""

    def __init__(self, width: int, inner: int) -> None:
        """For vectors of length `width`; `inner` units in the predictor."""
        super().__init__()
        self.project = nn.Sequential(nn.Linear(width, width), Norm(width, affine=False))
        self.predict = nn.Sequential(
            nn.Linear(width, inner, bias=False),
            Norm(inner),
            nn.ReLU(),
            nn.Linear(inner, width),
        )

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Two views (batch, width) -> (batch,), from -1 (alike) to 1."""
        first, second = self.project(one), self.project(other)
        return 0.5 * (
            negative_cosine(self.predict(first), second.detach())
            + negative_cosine(self.predict(second), first.detach())
        )


def negative_cosine(one: Tensor, other: Tensor) -> Tensor:
    """Eq. 14: (batch, width) twice -> (batch,)."""
    return -functional.cosine_similarity(one, other, dim=1)


def positions(layout: Layout, width: int, like: Tensor) -> Tensor:
    """Sinusoids (n, width) of each row's place in its clip, sine and cosine in turn."""
    place = torch.arange(layout.mask.shape[1], device=like.device, dtype=like.dtype)
    step = torch.arange(0, width, 2, device=like.device, dtype=like.dtype)
    angle = place.unsqueeze(1) * 10_000 ** (-step / width)
    table = torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, :width]
    return table.index_select(0, layout.rank)


def halves(both: View) -> tuple[View, View]:
    """The first and the second half of a doubled batch."""

    def half(second: int) -> View:
        def cut(x: Tensor) -> Tensor:
            return x.chunk(2)[second]

        return View(
            utterances={m: cut(h) for m, h in both.utterances.items()},
            context=cut(both.context),
            frames={m: z.chunk(2)[second] if len(z) else z for m, z in both.frames.items()},
            together=cut(both.together),
            prediction=cut(both.prediction),
            pooling=None if both.pooling is None else cut(both.pooling),
        )

    return half(0), half(1)
