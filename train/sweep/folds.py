"""Grouped folds: clips of one video (or speaker) are never on both sides."""

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FOLDS = 5


def grouped_folds(groups: Sequence[str], folds: int = FOLDS) -> NDArray[np.int64]:
    """(clips,) fold of each clip, from 0; all clips of a group are in one, folds are of like size.

    The largest group goes first, each into the smallest fold; of equals a hash decides, so that the
    order of the clips does not. With fewer groups than folds every clip is a group of its own.

    >>> grouped_folds(["a", "a", "b", "c", "c", "d"], 2).tolist()
    [1, 1, 0, 0, 0, 1]
    """
    names = list(groups)
    if len(set(names)) < folds:
        names = [f"{name} {k}" for k, name in enumerate(names)]
    sizes = Counter(names)

    def rank(name: str) -> tuple[int, bytes]:
        return -sizes[name], hashlib.blake2b(name.encode(), digest_size=8).digest()

    filled, fold = [0] * folds, dict[str, int]()
    for name in sorted(sizes, key=rank):
        fold[name] = filled.index(min(filled))
        filled[fold[name]] += sizes[name]
    return np.array([fold[name] for name in names], dtype=np.int64)


def groups_of(
    videos: Sequence[str], speakers: Sequence[str | None], splits: Sequence[str]
) -> tuple[str, ...]:
    """What must stay together: the speaker where every clip has one and no speaker of a split is in
    another (so that test asks about new ones), else the video."""
    known = [speaker for speaker in speakers if speaker]
    split_of: dict[str, set[str]] = {}
    for speaker, split in zip(speakers, splits, strict=True):
        split_of.setdefault(speaker or "", set()).add(split)
    if len(known) < len(speakers) or any(len(found) > 1 for found in split_of.values()):
        return tuple(videos)
    return tuple(known)
