"""`Packed`: the real frames of a batch, clip after clip. What models compute on.

Clips differ in length by far, and most of the arithmetic on a padded batch would be for nothing;
what is not there cannot leak either. Shapes: B clips, T frames of the padded batch, N real frames.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .buckets import Bucket, like_length
from .padded_mode import in_padded_mode

Made = TypeVar("Made")


@dataclass(frozen=True, eq=False)
class Packed:
    """Sequences of frames, one after the other, without padding.

    A clip may have none. Frames that are not real are passed over: the frames around a gap are
    neighbours. (In `padded_mode` all frames of the padded batch are here, and `real` says which
    of them count.)
    """

    rows: Tensor
    """(N, width)"""
    lengths: Tensor
    """(B,) int64: frames of each clip."""
    longest: int
    """At least 1 and the largest of `lengths`; known without asking the device."""
    source: Tensor | None = None
    """(N,) int64: where each frame stood in the flattened (B * T) batch it came from."""
    frames: int = 0
    """T of that batch."""
    real: Tensor | None = None
    """(B, T) bool in `padded_mode`, else None."""
    memo: dict[Any, Any] = field(default_factory=dict, repr=False)
    """What was once computed of the lengths, shared by all that is `like` this."""
    number: int = field(default_factory=count().__next__, repr=False)
    """The same for all that is `like` this, and for nothing else."""

    @classmethod
    def of(cls, features: Tensor, mask: Tensor) -> "Packed":
        """(B, T, width), (B, T) with True = real frame."""
        frames, lengths = mask.shape[1], mask.sum(dim=1)
        if in_padded_mode():
            return cls(features.flatten(0, 1), lengths, frames, None, frames, mask)
        source = mask.flatten().nonzero().squeeze(1)
        rows = features.flatten(0, 1).index_select(0, source)
        longest = frames if mask.device.type != "cpu" else int(lengths.max())
        return cls(rows, lengths, max(1, longest), source, frames)

    @classmethod
    def stack(cls, sequences: Tensor) -> "Packed":
        """(B, T, width), every frame real."""
        batch, frames = sequences.shape[:2]
        lengths = torch.full((batch,), frames, device=sequences.device)
        return cls(sequences.flatten(0, 1), lengths, frames, None, frames)

    @classmethod
    def batch(cls, parts: Sequence["Packed"]) -> "Packed":
        """All sequences of all `parts`: those of the first, then those of the second, …"""

        def make() -> Packed:
            lengths = torch.cat([part.lengths for part in parts])
            return cls(lengths[:0], lengths, max(part.longest for part in parts))

        together = parts[0].once(("batch", *(part.number for part in parts[1:])), make)
        return together.like(torch.cat([part.rows for part in parts]))

    @classmethod
    def concatenate(cls, parts: Sequence["Packed"]) -> "Packed":
        """Sequence by sequence the frames of the first part, then those of the second, …"""
        if len(parts) == 1:
            return parts[0]
        lengths = torch.stack([part.lengths for part in parts])
        total = lengths.sum(dim=0)
        begin = total.cumsum(dim=0) - total + lengths.cumsum(dim=0) - lengths  # of each in each
        place = torch.cat([b[p.clip] + p.step for b, p in zip(begin, parts, strict=True)])
        rows = torch.cat([part.rows for part in parts])
        joined = torch.empty_like(rows).index_copy(0, place, rows)
        return cls(joined, total, sum(part.longest for part in parts))

    def like(self, rows: Tensor) -> "Packed":
        """The same sequences with other `rows` (N, any)."""
        return replace(self, rows=rows)

    def split(self, parts: int) -> "list[Packed]":
        """As many `batch`es of equally many clips, for a batch of equal ones."""
        lengths = self.lengths.chunk(parts)
        rows = self.rows.chunk(parts) if len(self.rows) else [self.rows] * parts
        return [Packed(r, n, self.longest) for r, n in zip(rows, lengths, strict=True)]

    def map(self, layer: Callable[[Tensor], Tensor]) -> "Packed":
        """`layer`, which sees one frame at a time, on every frame."""
        return self.like(layer(self.rows))

    def again(self, features: Tensor) -> "Packed":
        """The same frames of another batch of features, (B, T, …)."""
        flat = features.flatten(0, 1)
        return self.like(flat if self.source is None else flat.index_select(0, self.source))

    def kept(self, which: Tensor) -> "Packed":
        """The frames of `which` (N,) bool alone."""
        chosen = which.nonzero().squeeze(1)
        lengths = torch.zeros_like(self.lengths).index_add(0, self.clip, which.long())
        return Packed(self.rows.index_select(0, chosen), lengths, self.longest)

    def take(self, clips: Tensor) -> "Packed":
        """Of some `clips` (any,) int64, in their order, on the CPU."""
        lengths = self.lengths[clips]
        begin = lengths.cumsum(dim=0) - lengths
        shift = torch.repeat_interleave(self.first_row[clips] - begin, lengths)
        chosen = shift + torch.arange(len(shift))
        taken = Packed(
            self.rows.index_select(0, chosen),
            lengths,
            max(1, int(lengths.max())),
            None,
            self.frames,
        )
        taken.memo["position"] = self.position.index_select(0, chosen)
        return taken

    # --- where frames lie -----------------------------------------------------------------------

    @property
    def there(self) -> Tensor:
        """(B,) bool: which clips have any frame."""
        return self.lengths > 0

    @property
    def first_row(self) -> Tensor:
        """(B,) int64: where each clip begins."""
        return self.lengths.cumsum(dim=0) - self.lengths

    @property
    def clip(self) -> Tensor:
        """(N,) int64: which clip each frame belongs to."""
        clips = torch.arange(len(self.lengths), device=self.lengths.device)
        return self.once(
            "clip",
            lambda: torch.repeat_interleave(clips, self.lengths, output_size=len(self.rows)),
        )

    @property
    def step(self) -> Tensor:
        """(N,) int64: which frame of its clip each is, from 0."""
        return self.once("step", lambda: self._numbers - self.first_row[self.clip])

    @property
    def position(self) -> Tensor:
        """(N,) int64: which of the T frames of the padded batch each was."""
        stood = self._numbers if self.source is None else self.source
        return self.once("position", lambda: stood % max(1, self.frames))

    @property
    def backwards(self) -> Tensor:
        """(N,) int64: the order of rows that reads each clip from its end; twice is as before."""
        return (2 * self.first_row + self.lengths - 1)[self.clip] - self._numbers

    @property
    def counts(self) -> NDArray[np.int64]:
        """`lengths` where the CPU has them."""
        return self.once("counts", lambda: self.lengths.cpu().numpy())

    @property
    def _numbers(self) -> Tensor:
        return torch.arange(len(self.rows), device=self.lengths.device)

    def once(self, name: object, make: Callable[[], Made]) -> Made:
        """What `make` gives, kept for all that is `like` this; it sees lengths alone."""
        if name not in self.memo:
            self.memo[name] = make()
        found: Made = self.memo[name]
        return found

    @property
    def mask(self) -> Tensor:
        """(B, longest) bool, as `padded` has the frames."""
        if self.real is not None:
            return self.real
        return torch.arange(self.longest, device=self.lengths.device) < self.lengths.unsqueeze(1)

    # --- out of the rows ------------------------------------------------------------------------

    def padded(self) -> Tensor:
        """(B, longest, width): each clip's frames, then zeros."""
        shape = (len(self.lengths), self.longest, *self.rows.shape[1:])
        if self.real is not None:
            return self.rows.view(shape) * self.real.unsqueeze(-1)
        if len(self.rows) == shape[0] * shape[1]:
            return self.rows.view(shape)
        blank = self.rows.new_zeros(shape[0] * shape[1], *shape[2:])
        return blank.index_copy(0, self.clip * self.longest + self.step, self.rows).view(shape)

    def unpacked(self) -> Tensor:
        """(B, T, width): every frame where it came from, zeros elsewhere."""
        if self.source is None:
            return self.padded()
        blank = self.rows.new_zeros(len(self.lengths) * self.frames, *self.rows.shape[1:])
        return blank.index_copy(0, self.source, self.rows).view(
            len(self.lengths), self.frames, *self.rows.shape[1:]
        )

    def first(self) -> Tensor:
        """(B, width): each clip's first frame, zero for a clip without."""
        return self._picked(self.first_row)

    def last(self) -> Tensor:
        """(B, width): each clip's last frame, zero for a clip without."""
        return self._picked(self.lengths.cumsum(dim=0) - 1)

    def _picked(self, row: Tensor) -> Tensor:
        table = torch.cat([self.rows, self.rows.new_zeros(1, self.rows.shape[1])])
        return table.index_select(0, torch.where(self.there, row, len(self.rows)))

    def mean(self) -> Tensor:
        """(B, width), zero for a clip without frames."""
        return self.padded().sum(dim=1) / self.lengths.clamp(min=1).unsqueeze(1)

    def maxima(self, bins: int = 1) -> Tensor:
        """(B, bins, width): adaptive max pooling over each clip's own length.

        Bin i spans the frames floor(i L / bins) up to ceil((i + 1) L / bins), as PyTorch's
        `adaptive_max_pool1d` has it; bins overlap where L is no multiple. Zero for a clip without
        frames.
        """
        return adaptive_max(self.padded(), self.lengths, bins)

    def attended(self, scores: Tensor, call: int = 512) -> Tensor:
        """The frames' sum weighted by a softmax of their `scores` (N, heads) over each clip.

        (B, heads, width). `call` frames take as long as a further bucket. A clip without frames
        gets some finite value.
        """
        buckets = self.buckets(call=call)
        if len(buckets) == 1 and buckets[0].whole:
            return _softmax_sum(self.rows, scores, buckets[0])
        shape = (len(self.lengths), scores.shape[1], self.rows.shape[1])
        pooled = [_softmax_sum(self.rows, scores, bucket) for bucket in buckets]
        place = torch.cat([self.lengths[:0], *(bucket.clips for bucket in buckets)])
        together = torch.cat([self.rows.new_zeros(0, *shape[1:]), *pooled])
        return self.rows.new_zeros(shape).index_copy(0, place, together)

    # --- buckets, for the parts in this folder --------------------------------------------------

    @property
    def everyone(self) -> Bucket:
        """All clips as one bucket, without asking the device for their lengths."""
        if self.real is not None:
            clips = torch.arange(len(self.lengths), device=self.lengths.device)
            rows = self._numbers.view(len(clips), -1)
            return Bucket(rows, self.real, clips[:0], clips, whole=True)
        steps = torch.arange(self.longest, device=self.lengths.device)
        rows = (self.first_row.unsqueeze(1) + steps).clamp(max=max(0, len(self.rows) - 1))
        place = self.clip * self.longest + self.step
        return Bucket(rows, self.mask, place, torch.arange(len(rows), device=rows.device))

    def buckets(self, call: int = 0, step: int = 0) -> list[Bucket]:
        """Clips of `like_length`; those without frames are in none (in `padded_mode` in one)."""
        if self.real is not None:
            return [self.everyone]

        def make() -> list[Bucket]:
            counts, device = self.counts, self.rows.device
            first, there = np.cumsum(counts) - counts, np.flatnonzero(counts)
            return [
                Bucket.of(there[own], first[there[own]], counts[there[own]], device)
                for own in like_length(counts[there], device, call, step)
            ]

        return self.once((call, step), make)


def _softmax_sum(rows: Tensor, scores: Tensor, bucket: Bucket) -> Tensor:
    """(b, heads, width). The lowest finite number hides padding, as a clip that has nothing but
    -inf would come out of the softmax as NaN."""
    hidden = ~bucket.mask.unsqueeze(-1)
    known = bucket.padded(scores).masked_fill(hidden, torch.finfo(scores.dtype).min)
    return torch.softmax(known, dim=1).transpose(1, 2) @ bucket.padded(rows)


def adaptive_max(padded: Tensor, lengths: Tensor, bins: int) -> Tensor:
    """`Packed.maxima` of padded frames: (B, T, d), (B,) -> (B, bins, d)."""
    steps = torch.arange(padded.shape[1], device=padded.device)
    lowest = torch.finfo(padded.dtype).min
    pooled = []
    for i in range(bins):
        start = (i * lengths) // bins
        end = ((i + 1) * lengths + bins - 1) // bins
        within = (steps >= start.unsqueeze(1)) & (steps < end.unsqueeze(1))
        pooled.append(padded.masked_fill(~within.unsqueeze(2), lowest).amax(dim=1))
    return torch.stack(pooled, dim=1).masked_fill((lengths == 0).view(-1, 1, 1), 0)


def mean_frame(frames: Tensor, mask: Tensor) -> Tensor:
    """`Packed.mean` of padded frames: (B, T, width), (B, T) -> (B, width)."""
    real = mask.unsqueeze(-1)
    return (frames * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)
