"""The labelled clips of a corpus as arrays: scores, classes, or several labels a clip."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...cache.manifest import Clip, Manifest
from ...cache.spec import LETTERS, MODALITIES, SPLITS, Modality, Several, Split
from ...errors import RunError

Wanted = Literal["auto", "regression", "classification", "dimensions", "emotions"]
COLUMNS: Mapping[Wanted, str] = {
    "regression": "label",
    "classification": "category",
    "dimensions": "dimensions",
    "emotions": "emotions",
}
"""What a clip must have for each task; `auto` is the first that any clip has."""


@dataclass(frozen=True)
class Table:
    """The labelled clips of a corpus, in manifest order: what can be trained on and scored."""

    ids: tuple[str, ...]
    splits: tuple[Split, ...]
    labels: NDArray[np.float64]
    """(clips,) scores or numbers of `classes`; (clips, names) of `several`, emotions as 1 where
    they are there."""
    unlabelled: Mapping[Split, int]
    """Clips left out because they have no label."""
    classes: tuple[str, ...] = ()
    """Their names, sorted; empty where scores are predicted."""
    targets: Mapping[Modality, NDArray[np.float64]] = field(default_factory=dict)
    """Labels of single modalities (clips,), NaN where missing; those the corpus has at all."""
    previous: NDArray[np.int64] | None = None
    """(clips, steps) rows of the clips before each in its video and split, nearest first; then -1.
    None: not known."""
    several: Several | None = None
    """What the columns of labels are, where a clip has several."""
    scale: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    """Of dimensions: mean and deviation (names,) of the training labels. A model learns scores less
    the one over the other, so that each dimension counts alike, whatever its scale."""

    @classmethod
    def of(
        cls, manifest: Manifest, task: Wanted = "auto", needed: Sequence[Split] = SPLITS
    ) -> "Table":
        """The clips that have what `task` predicts, all dimensions or emotions that any clip has;
        raises RunError if a split of `needed` has none."""
        task = resolved(manifest, task)
        key, several = COLUMNS[task], several_of(manifest, task)
        names = () if several is None else several.names

        def rated(clip: Clip) -> bool:
            own = getattr(clip, key)
            return set(names) <= own.keys() if several is not None else own is not None

        clips = [c for c in manifest.clips if rated(c)]
        unlabelled = {s: sum(not rated(c) for c in manifest.split(s)) for s in SPLITS}
        for split in needed:
            if not any(c.split == split for c in clips):
                raise RunError(
                    f"{manifest.corpus}: the {split} split has no labelled clip "
                    f"({unlabelled[split]} without a {key}). Training needs train, valid and test "
                    "clips: add them to the corpus table, then `sedimental extract`."
                )
        of_classes = task == "classification"
        classes = tuple(sorted({str(c.category) for c in clips})) if of_classes else ()
        if len(classes) == 1:
            raise RunError(f"{manifest.corpus}: every clip is of the class {classes[0]!r}.")
        if several is not None:
            labels = np.array([[getattr(c, key)[n] for n in names] for c in clips], np.float64)
            labels = (labels > 0).astype(np.float64) if task == "emotions" else labels
        else:
            own = [classes.index(str(c.category)) if classes else c.label for c in clips]
            labels = np.array(own, dtype=np.float64)
        train = labels[[c.split == "train" for c in clips]]
        return cls(
            ids=tuple(c.id for c in clips),
            splits=tuple(c.split for c in clips),
            labels=labels,
            unlabelled=unlabelled,
            classes=classes,
            targets=_targets(clips) if task == "regression" else {},
            previous=_previous(clips),
            several=several,
            scale=_scale(train) if task == "dimensions" else None,
        )

    @classmethod
    def unrated(
        cls,
        clips: Sequence[Clip],
        classes: tuple[str, ...],
        several: Several | None = None,
        scale: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    ) -> "Table":
        """Clips to ask a trained model about: at least one; labels are not looked at, and zero."""
        return cls(
            ids=tuple(c.id for c in clips),
            splits=tuple(c.split for c in clips),
            labels=np.zeros((len(clips), len(several.names)) if several else len(clips)),
            unlabelled={},
            classes=classes,
            previous=_previous(clips),
            several=several,
            scale=scale,
        )

    @property
    def heads(self) -> int:
        """Numbers that a model says of a clip: logits of classes, or one of each of `several`; 0:
        one score."""
        return len(self.several.names if self.several else self.classes)

    @property
    def learned(self) -> NDArray[np.generic]:
        """The labels as a loss reads them: class numbers int64, emotions bool, else float64."""
        if self.several is not None and self.several.kind == "emotions":
            return self.labels > 0
        return self.labels.astype(np.int64) if self.classes else self.scaled(self.labels)

    def scaled(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores as they are learned; `restored` turns them back."""
        return values if self.scale is None else (values - self.scale[0]) / self.scale[1]

    def restored(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """What a model says, in the labels' unit."""
        return values if self.scale is None else values * self.scale[1] + self.scale[0]

    def rows(self, split: Split) -> NDArray[np.int64]:
        """Row numbers of one split's clips."""
        return np.flatnonzero(np.array(self.splits) == split)


def resolved(manifest: Manifest, task: Wanted) -> Wanted:
    """`task`, `auto` as the first kind of label that any clip has, else classes."""
    if task != "auto":
        return task
    has = {
        own: any(getattr(c, key) not in (None, {}) for c in manifest.clips)
        for own, key in COLUMNS.items()
    }
    return next((own for own, there in has.items() if there), "classification")


def several_of(manifest: Manifest, task: Wanted) -> Several | None:
    """The dimensions or emotions that `task` predicts, in the order of the table; None of others.

    Raises RunError where the corpus has fewer than two.
    """
    if task not in ("dimensions", "emotions"):
        return None
    names = dict.fromkeys(name for c in manifest.clips for name in getattr(c, COLUMNS[task]))
    if len(names) < 2:
        raise RunError(
            f'{manifest.corpus}: train.task = "{task}" needs two {task} or more, and the corpus '
            f"has {', '.join(names) or 'none'}. A single one is a `label`, or a `class`."
        )
    return Several("dimensions" if task == "dimensions" else "emotions", tuple(names))


def _scale(train: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    return mean, np.where(deviation > 0, deviation, 1.0)


def _targets(clips: Sequence[Clip]) -> dict[Modality, NDArray[np.float64]]:
    found = {
        m: np.array([getattr(c, f"label_{LETTERS[m]}") for c in clips], dtype=np.float64)
        for m in MODALITIES
    }
    return {m: values for m, values in found.items() if not np.isnan(values).all()}


def _previous(clips: Sequence[Clip]) -> NDArray[np.int64]:
    """Rows of each clip's context among `clips`, nearest first, -1 where it has no more."""
    row = {(c.id, c.split): k for k, c in enumerate(clips)}
    chains = [
        [row[name, c.split] for name in reversed(c.context) if (name, c.split) in row]
        for c in clips
    ]
    found = np.full((len(clips), max(map(len, chains))), -1, dtype=np.int64)
    for k, chain in enumerate(chains):
        found[k, : len(chain)] = chain
    return found
