"""Encoders, siamese parts and views of `emt_dlfr`; equation numbers are those of its paper."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ....cache.spec import Modality
from ...layers.linear import Linear
from ...layers.lstm import LSTM
from ...layers.packed import Packed
from ...layers.whole_batch import alone
from ..shared.interface import InputShape
from ..shared.utterance import Pick


@dataclass(frozen=True)
class View:
    """One view of a batch, complete or not, through the whole model."""

    utterances: Mapping[Modality, Tensor]
    """h_m (batch, width of the modality)."""
    context: Tensor
    """g (batch, M * d)."""
    frames: Mapping[Modality, Packed]
    """Z_m: promoted local features, (N_m, d)."""
    together: Tensor
    """What the head reads (batch, widths of the modalities + M * d)."""
    prediction: Tensor
    """(batch,), or (batch, classes)."""
    pooling: Tensor | None
    """(batch, M), with OAGL and attention pooling."""

    def halves(self) -> "tuple[View, View]":
        """The first and the second half of a doubled batch."""
        frames = {m: z.split(2) for m, z in self.frames.items()}

        def half(k: int) -> View:
            return View(
                utterances={m: h.chunk(2)[k] for m, h in self.utterances.items()},
                context=self.context.chunk(2)[k],
                frames={m: z[k] for m, z in frames.items()},
                together=self.together.chunk(2)[k],
                prediction=self.prediction.chunk(2)[k],
                pooling=None if self.pooling is None else self.pooling.chunk(2)[k],
            )

        return half(0), half(1)


class TextEncoder(nn.Module):
    """Cached token states as they are: [CLS], or the mean of all, for the utterance, the tokens up
    to [SEP] local."""

    def __init__(self, shape: InputShape, pick: Pick) -> None:
        """For tokens of this shape."""
        super().__init__()
        self.pick, self.out = pick, shape.width

    def local(self, X: Packed) -> Packed:
        """Those frames of `X` that are local features."""
        return X.kept((X.step > 0) & (X.step < X.lengths[X.clip] - 1))

    def forward(self, X: Packed) -> tuple[Tensor, Packed]:
        """(N, width) -> h (B, width), H (N', width)."""
        return X.mean() if self.pick == "mean" else X.first(), self.local(X)


class RecurrentEncoder(nn.Module):
    """One LSTM over the real frames of a clip; a linear layer to another width if that differs."""

    def __init__(self, shape: InputShape, hidden: int, out: int, dropout: float) -> None:
        """For frames of this shape, `hidden` units and features of length `out`."""
        super().__init__()
        self.out = out
        self.lstm = LSTM(shape.width, hidden)
        self.map = nn.Identity() if hidden == out else Linear(hidden, out)
        self.dropout = nn.Dropout(dropout)

    def local(self, X: Packed) -> Packed:
        """Every frame is a local feature."""
        return X

    def forward(self, X: Packed) -> tuple[Tensor, Packed]:
        """(N, width) -> h (B, out), zero for a clip without frames; H (N, out)."""
        states = self.lstm(X)
        h = self.map(self.dropout(states.last())) * X.there.unsqueeze(1)
        return h, states.map(self.map)


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
        first, second = self._projected(one), self._projected(other)
        return 0.5 * (
            negative_cosine(self.predict(first), second.detach())
            + negative_cosine(self.predict(second), first.detach())
        )

    def _projected(self, x: Tensor) -> Tensor:
        """The norm takes the bias away, so that its gradient is rounding alone, of which Adam makes
        whole steps: the bias stays as it began."""
        layer, norm = self.project
        assert isinstance(layer, nn.Linear)
        projected: Tensor = norm(functional.linear(x, layer.weight, layer.bias.detach()))
        return projected


def negative_cosine(one: Tensor, other: Tensor) -> Tensor:
    """Eq. 14: (batch, width) twice -> (batch,)."""
    return -functional.cosine_similarity(one, other, dim=1)


def positions(X: Packed, width: int) -> Tensor:
    """Sinusoids (N, width) of each frame's place in its clip, sine and cosine in turn."""
    place = torch.arange(X.longest, device=X.rows.device, dtype=X.rows.dtype)
    step = torch.arange(0, width, 2, device=X.rows.device, dtype=X.rows.dtype)
    angle = place.unsqueeze(1) * 10_000 ** (-step / width)
    table = torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, :width]
    return table.index_select(0, X.step)
