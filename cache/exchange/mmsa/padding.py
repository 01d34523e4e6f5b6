"""Which frames of a padded clip are real: by stated lengths, by the words' mask, else by zeros.

Most files are padded with zeros at the end; others in front (MMSA-FET's padding_location "start",
the unaligned files of MulT and MultiBench). On which side is seen from the data, each modality by
itself, and what contradicts the stated lengths is told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...spec import Modality, Split

MASK, ZEROS = "text mask", "trailing zeros"
FRONT_ZEROS, BOTH_ZEROS = "leading zeros", "zeros on both sides"
IN_FRONT = ", padded in front"


@dataclass(frozen=True)
class Edges:
    """Frames of each clip of a column, and how many are zero in front and at the end, (N,) each."""

    frames: NDArray[np.int64]
    lead: NDArray[np.int64]
    trail: NDArray[np.int64]


def edges_of(rows: Sequence[NDArray[Any]]) -> Edges:
    """The edges of clips (frames, width); of one without a frame that is not zero, all of it."""
    found = np.zeros((len(rows), 3), np.int64)
    for number, row in enumerate(rows):
        seen = np.flatnonzero(row.any(axis=1))
        ends = (seen[0], len(row) - 1 - seen[-1]) if len(seen) else (len(row), len(row))
        found[number] = len(row), *ends
    return Edges(found[:, 0], found[:, 1], found[:, 2])


@dataclass(frozen=True)
class Columns:
    """What one modality of one split says of its clips' lengths."""

    ids: Sequence[str]
    edges: Edges
    stated: Sequence[int | str] | None
    """Of `<modality>_lengths`; a text is what stands where no length is."""
    mask: NDArray[np.bool_] | None
    """(N, T) real tokens, where the modality has a frame a token."""


class Padding:
    """Begin and end of every clip's real frames, of one modality."""

    def __init__(
        self,
        modality: Modality,
        splits: Mapping[Split, Columns],
        before: Mapping[Split, NDArray[np.int64]] | None = None,
    ) -> None:
        """`before`: frames of padding in front that all modalities of aligned files share."""
        self._modality, self._splits, self._before = modality, splits, before
        self.notes: list[str] = []
        edges = [columns.edges for columns in splits.values()]
        # else what fills the clips up is no zeros, and the lengths are all that is known
        self._zeros = any((((e.lead + e.trail) > 0) & (e.lead < e.frames)).any() for e in edges)
        self._masked = self._mask_fits()
        self._in_front = self._side()
        for split, columns in splits.items():
            self._contradictions(split, columns)

    @property
    def how(self) -> str:
        """What tells the lengths, for the fingerprint."""
        kinds = set()
        for split, columns in self._splits.items():
            if columns.stated is not None:
                kinds.add(f"{self._modality}_lengths{IN_FRONT if self._in_front else ''}")
            elif self.by_mask(split):
                kinds.add(MASK)
            elif self._before is not None and any(self._before[split]):
                kinds.add(BOTH_ZEROS)
            else:
                kinds.add(FRONT_ZEROS if self._in_front else ZEROS)
        return " / ".join(sorted(kinds))

    def by_mask(self, split: Split) -> bool:
        """Whether the words' mask tells the lengths of a split."""
        columns = self._splits[split]
        return self._masked and columns.stated is None and columns.mask is not None

    def span(self, split: Split, number: int) -> tuple[int, int] | str:
        """Begin and end of the real frames of a clip, or why there are none."""
        columns = self._splits[split]
        frames, lead, trail = (int(a[number]) for a in vars(columns.edges).values())
        if lead == frames:  # zero everywhere: what is stated is all that is known
            lead = trail = 0 if columns.stated is None else frames
        if columns.stated is not None:
            length = columns.stated[number]
            if isinstance(length, str):
                return f"{self._modality}_lengths says {length}"
            if not self._zeros:
                return 0, min(length, frames)
            real = length if length <= frames else 0
            if self._in_front:
                begin = min(frames - real, lead)
                return (0 if begin == frames and length else begin), frames
            end = max(real, frames - trail)
            return 0, (frames if not end and length else end)
        if self.by_mask(split) and columns.mask is not None:
            seen = np.flatnonzero(columns.mask[number])
            begin, end = (int(seen[0]), int(seen[-1]) + 1) if len(seen) else (0, 0)
            if self._modality != "text" and (lead or trail):  # else no padding is seen there
                begin, end = min(begin, lead), max(end, frames - trail)
            return begin, end
        if self._before is not None:
            return min(int(self._before[split][number]), frames - trail), frames - trail
        return (lead, frames) if self._in_front else (0, frames - trail)

    def _mask_fits(self) -> bool:
        """Whether sound or faces lie where the words' mask says; text does by definition."""
        if self._modality == "text":
            return True
        outside = short = 0
        for columns in self._splits.values():
            if columns.mask is None or columns.stated is not None:
                continue
            for number, own in enumerate(columns.mask):
                seen = np.flatnonzero(own)
                if len(seen) in (0, len(own)):
                    continue
                short += 1
                outside += self._beyond(columns.edges, number, int(seen[0]), int(seen[-1]) + 1)
        return 2 * outside <= short

    @staticmethod
    def _beyond(edges: Edges, number: int, begin: int, end: int) -> bool:
        frames, lead, trail = edges.frames[number], edges.lead[number], edges.trail[number]
        padded = lead < frames and (lead or trail)
        return bool(padded and (lead < begin or frames - trail > end))

    def _side(self) -> bool:
        """Whether the padding stands in front: where fewer clips contradict that."""
        front = end = 0
        for split, columns in self._splits.items():
            frames, lead, trail = vars(columns.edges).values()
            if columns.stated is not None:
                length = np.array([n if isinstance(n, int) else -1 for n in columns.stated])
                known = (length >= 0) & (length < frames) & (lead < frames)
                front += int((known & (lead < frames - length)).sum())
                end += int((known & (frames - trail > length)).sum())
            elif not self.by_mask(split):
                some = lead < frames
                front += int((some & (trail > 0)).sum())
                end += int((some & (lead > 0)).sum())
        return front < end

    def _contradictions(self, split: Split, columns: Columns) -> None:
        found = list[str]()
        for number, id_ in enumerate(columns.ids):
            frames, lead, trail = (int(a[number]) for a in vars(columns.edges).values())
            if columns.stated is None:
                break
            length = columns.stated[number]
            if isinstance(length, str) or lead == frames:
                continue
            real = frames - (lead if self._in_front else trail)
            if length > frames:
                found.append(f"{id_}: {length}, of {frames} frames")
            elif real > length:
                found.append(f"{id_}: {length}, where {real} frames are not zero")
        if found:
            believed = "the frames" if self._zeros else "the lengths"
            self.notes.append(
                f"{split}: {len(found)} {self._modality}_lengths contradict the frames; {believed} "
                f"were believed ({'; '.join(found[:3])}{'; …' if len(found) > 3 else ''})."
            )
