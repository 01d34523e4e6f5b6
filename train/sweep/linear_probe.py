"""One probe: a linear fit on pooled features, its penalty picked on validation, its scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...cache.manifest import Manifest
from ...cache.spec import SPLITS, Split
from ...config import Config
from ...errors import RunError
from ...evaluate.metrics import score
from ..data.divisors import divisors
from ..data.table import Table, Wanted, resolved
from ..parts import divided, per_fold
from .linear_fits import Linear, Matrix, probabilities, ridge, softmax_regression


@dataclass(frozen=True)
class Labelled(Table):
    """The clips that can be trained on and scored, in manifest order, each with one label."""

    protocol: str = "mosi"
    groups: tuple[str, ...] = ()
    """(clips,) what must stay together when clips are held out: the video, or the speaker."""

    def scored(self, rows: NDArray[np.int64], answers: Matrix) -> dict[str, float]:
        """Every metric of `answers` (clips of `rows`, outputs)."""
        guess = answers.argmax(axis=1) if self.classes else answers[:, 0]
        return score(self.labels[rows], guess, self.classes or self.protocol)


def labelled(manifest: Manifest, protocol: str, task: Wanted = "auto") -> Labelled:
    """The clips with a score; where no clip has one, or `task` says so, those with a class."""
    task = resolved(manifest, task)
    if task in ("dimensions", "emotions"):
        raise RunError(
            f"{manifest.corpus}: probe and sweep read one label a clip, and this corpus has "
            f'{task}. Say train.task = "classification" if its clips have classes too.'
        )
    table = Table.of(manifest, task, needed=())
    clip = {(c.id, c.split): c for c in manifest.clips}
    rated = [clip[key] for key in zip(table.ids, table.splits, strict=True)]
    groups = _groups_of([c.video_id for c in rated], [c.speaker for c in rated], table.splits)
    return Labelled(**vars(table), protocol=protocol, groups=groups)


def labelled_parts(config: Config, manifest: Manifest) -> list[Labelled]:
    """`labelled` for each part of the cross-validation that is to be trained; one without any."""
    how = config.evaluate.protocol, config.train.task
    return [labelled(divided(part, manifest), *how) for part in per_fold(config, manifest)]


@dataclass(frozen=True)
class Scale:
    """What turns pooled features into a probe's input: less the mean, over the deviation."""

    mean: NDArray[np.float32]
    """(width,) over training clips."""
    deviation: NDArray[np.float32]
    """(width,): `divisors`."""

    @classmethod
    def of(cls, pooled: NDArray[np.float32]) -> "Scale":
        """Of the rows that are not NaN."""
        known = pooled[~np.isnan(pooled[:, 0])].astype(np.float64)
        mean, deviation = known.mean(axis=0), known.std(axis=0)
        [whole] = divisors(mean[None], deviation[None])
        return cls(mean.astype(np.float32), whole.astype(np.float32))

    def __call__(self, pooled: NDArray[np.float32]) -> Matrix:
        """(clips, width); a clip without features is the mean clip."""
        return np.nan_to_num((pooled.astype(np.float64) - self.mean) / self.deviation)


@dataclass(frozen=True)
class Probe:
    """A fitted probe."""

    linear: Linear
    scales: tuple[Scale, ...]
    """An input each."""
    answers: Matrix
    """(clips, 1) scores or (clips, classes) probabilities, of every labelled clip."""
    scores: Mapping[Split, Mapping[str, float]]


def fit_probe(pooled: Sequence[NDArray[np.float32]], clips: Labelled) -> Probe:
    """Fit on the training clips that have any features; (clips, width) an input, joined.

    The penalty is the one with the lowest validation MAE (scores) or log loss (classes); the larger
    of equals. Raises ValueError without such clips.
    """
    train = clips.rows("train")
    scales = tuple(Scale.of(one[train]) for one in pooled)
    x = np.concatenate([scale(one) for scale, one in zip(scales, pooled, strict=True)], axis=1)
    there = ~np.logical_and.reduce([np.isnan(one[:, 0]) for one in pooled])
    used = train[there[train]]
    if not len(used):
        raise ValueError("no training clip has features")
    # with several inputs the clips that lack one of them move the mean; the fits want it at zero
    middle = x[used].mean(axis=0)
    if clips.classes:
        fits = softmax_regression(
            x[used] - middle, clips.labels[used].astype(np.int64), len(clips.classes)
        )
    else:
        fits = ridge(x[used] - middle, clips.labels[used])
    valid = clips.rows("valid")
    losses = [_loss(fit(x[valid] - middle), clips.labels[valid], clips.classes) for fit in fits]
    best = len(losses) - 1 - int(np.argmin(losses[::-1]))
    chosen = fits[best]
    linear = Linear(chosen.weights, chosen.offset - middle @ chosen.weights, chosen.penalty)
    answers = probabilities(linear(x)) if clips.classes else linear(x)
    rows = {split: clips.rows(split) for split in SPLITS}
    scores = {split: clips.scored(own, answers[own]) for split, own in rows.items()}
    return Probe(linear, scales, answers, scores)


def _loss(answers: Matrix, labels: Matrix, classes: Sequence[str]) -> float:
    if not len(labels):
        return 0.0
    if not classes:
        return float(np.abs(answers[:, 0] - labels).mean())
    own = probabilities(answers)[np.arange(len(labels)), labels.astype(np.int64)]
    return float(-np.log(np.maximum(own, 1e-300)).mean())


def _groups_of(
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
