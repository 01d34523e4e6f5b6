"""What lies behind the numbers of one model, computed from its runs: the papers' analyses.

Everything is on the test split. "The prediction" of a clip is the mean over seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...cache.manifest import Manifest
from ...cache.runs import Epoch, Run
from ..metrics import Scores
from ..protocols import CorpusProtocol
from ..statistics import video_groups
from .learned_weights import Gates, Mixtures, gates_of, mixtures_of

WORST = 12
"""Clips shown with their transcript."""


@dataclass(frozen=True)
class Variance:
    """Spread of values over all clips, and around the mean of each clip's video (UEGD, Table 4)."""

    name: str
    total: float
    """Population variance over clips, in squared label units."""
    intra: float
    """Mean squared distance from the mean of the own video; at most `total`."""


@dataclass(frozen=True)
class VideoTrack:
    """Labels and predictions along one video (UEGD, Fig. 4 and 5)."""

    video: str
    labels: Scores
    """(clips,) in table order."""
    tracks: Mapping[str, Scores]
    """Predictions (clips,) by row name."""


@dataclass(frozen=True)
class BadClip:
    """A clip that the model gets most wrong; label and prediction are scores or class numbers."""

    id: str
    text: str
    """Transcript; empty where no manifest was given."""
    label: float
    prediction: float
    deviation: float
    """Population standard deviation over seeds: of the prediction, or of `doubt`."""
    doubt: float
    """Distance of prediction and label; or 1 less the probability of the right class."""


@dataclass(frozen=True)
class RowFit:
    """How the predictions of one row fit the labels."""

    name: str
    labels: Scores
    """(test clips,)."""
    predictions: Scores
    """(test clips,), mean over seeds."""
    calibration: Scores
    """(bins, 3): mean prediction, mean label and number of clips, by equally filled bins."""
    confusion: NDArray[np.int64]
    """(classes, classes): clips by labelled (row) and predicted class, all seeds together."""


@dataclass(frozen=True)
class Analyses:
    """The rows looked at closely; `name` is the one that stands for all where one has to."""

    name: str
    gates: tuple[Gates, ...]
    """One of every model that weighs modalities: the row `name` if it does, else its best."""
    layers: Mixtures | None
    """Of the row `name` if it mixes layers, else of the best that does."""
    histories: Mapping[str, tuple[tuple[Epoch, ...], ...]]
    """Training history of each seed by row name."""
    best_epochs: Mapping[str, tuple[int, ...]]
    fits: tuple[RowFit, ...] = ()
    """The row `name`, then the others as they are ranked. This and what follows is empty where a
    clip has several labels."""
    variances: tuple[Variance, ...] = ()
    """The labels, then every row; none where no video has two clips."""
    video: VideoTrack | None = None
    worst: tuple[BadClip, ...] = ()


def analyse(
    name: str,
    rows: Mapping[str, Sequence[Run]],
    protocol: CorpusProtocol,
    manifest: Manifest | None = None,
    ranked: Sequence[str] = (),
) -> Analyses:
    """Look closely at the row `name` of `rows` (row name -> its runs, a seed each).

    Where it has no gates or no mixture of layers, the first of `ranked` that has them stands in.
    """
    runs = rows[name]
    ordered = {row: rows[row] for row in (name, *ranked, *rows)}
    ids, labels = scored_clips(runs[0])
    found = Analyses(
        name=name,
        gates=gates_of(ordered),
        layers=mixtures_of(ordered),
        histories={row: tuple(r.history for r in seeds) for row, seeds in rows.items()},
        best_epochs={row: tuple(r.best_epoch for r in seeds) for row, seeds in rows.items()},
    )
    if protocol.of_several:
        return found
    videos = {c.id: c.video_id for c in manifest.clips} if manifest else None
    groups = video_groups(ids, videos)
    # other rows stand beside this one only where they were scored on the same clips
    peers = {row: seeds for row, seeds in rows.items() if scored_clips(seeds[0])[0] == ids}
    means = {row: mean_prediction(seeds) for row, seeds in peers.items()}
    of_classes = protocol.of_classes
    return replace(
        found,
        fits=tuple(_fit(row, seeds, protocol) for row, seeds in ordered.items()),
        variances=()
        # numbers of classes have no distances, and a clip alone in its video none from its mean
        if of_classes or np.bincount(groups, minlength=1).max() < 2
        else (
            variance("labels", labels, groups),
            *(_mean_variance(row, seeds, groups) for row, seeds in peers.items()),
        ),
        video=None if of_classes else _longest_video(ids, labels, groups, means, videos),
        worst=_worst(ids, labels, runs, manifest),
    )


def _fit(name: str, runs: Sequence[Run], protocol: CorpusProtocol) -> RowFit:
    labels, mean = scored_clips(runs[0])[1], mean_prediction(runs)
    bins = np.empty((0, 3)) if protocol.of_classes else calibration(labels, mean)
    return RowFit(name, labels, mean, bins, _confusion(labels, runs, protocol))


def scored_clips(run: Run) -> tuple[tuple[str, ...], Scores]:
    """Ids and labels (clips,) of the test split."""
    pairs = zip(run.predictions.ids, run.predictions.splits, strict=True)
    ids = tuple(clip for clip, split in pairs if split == "test")
    return ids, run.predictions.of("test")[0]


def mean_prediction(runs: Sequence[Run]) -> Scores:
    """Predictions of the test clips, (clips,), mean over `runs`; of classes the likeliest."""
    if runs[0].predictions.classes:
        mean = np.mean([shares(run) for run in runs], axis=0)
        return np.asarray(mean.argmax(axis=1), np.float64)
    return np.asarray(np.mean([r.predictions.of("test")[1] for r in runs], axis=0))


def shares(run: Run) -> Scores:
    """Probability of each class for each test clip, (clips, classes)."""
    own = run.predictions
    kept = np.array([split == "test" for split in own.splits])
    if own.probabilities is not None:
        return np.asarray(own.probabilities[kept])
    return np.asarray(np.eye(len(own.classes))[own.values[kept].astype(np.int64)])


def variance(name: str, values: Scores, groups: NDArray[np.int64]) -> Variance:
    """Total and intra-video variance of `values` (clips,), videos numbered by `groups`."""
    if not values.size:
        return Variance(name, float("nan"), float("nan"))
    counts = np.bincount(groups)
    own = (np.bincount(groups, weights=values) / np.maximum(counts, 1))[groups]
    return Variance(name, float(np.var(values)), float(np.mean((values - own) ** 2)))


def calibration(labels: Scores, predictions: Scores, bins: int = 10) -> Scores:
    """(bins, 3): mean prediction, mean label, clips; bins of equal size along the predictions.

    Fewer bins where there are fewer than five clips for each.
    """
    order = np.argsort(predictions, kind="stable")
    parts = np.array_split(order, max(1, min(bins, labels.size // 5)))
    found = [(predictions[p].mean(), labels[p].mean(), p.size) for p in parts if p.size]
    return np.array(found, dtype=np.float64).reshape(-1, 3)


def _confusion(labels: Scores, runs: Sequence[Run], protocol: CorpusProtocol) -> NDArray[np.int64]:
    size = len(protocol.bins)
    table = np.zeros((size, size), dtype=np.int64)
    for run in runs:
        guess = run.predictions.of("test")[1]
        known = np.isfinite(guess) & np.isfinite(labels)
        cells = protocol.classes(labels[known]), protocol.classes(guess[known])
        np.add.at(table, cells, 1)
    return table


def _mean_variance(name: str, runs: Sequence[Run], groups: NDArray[np.int64]) -> Variance:
    """Mean over seeds: the variance of the mean prediction would be smaller than any seed's."""
    each = [variance(name, run.predictions.of("test")[1], groups) for run in runs]
    return Variance(
        name, float(np.mean([v.total for v in each])), float(np.mean([v.intra for v in each]))
    )


def _longest_video(
    ids: Sequence[str],
    labels: Scores,
    groups: NDArray[np.int64],
    means: Mapping[str, Scores],
    videos: Mapping[str, str] | None,
) -> VideoTrack | None:
    if not ids or np.bincount(groups).max() < 3:  # shorter ones have no course to speak of
        return None
    kept = groups == int(np.argmax(np.bincount(groups)))
    first = ids[int(np.argmax(kept))]
    name = (videos or {}).get(first) or first.split("$_$")[0]
    return VideoTrack(name, labels[kept], {row: p[kept] for row, p in means.items()})


def _worst(
    ids: Sequence[str], labels: Scores, runs: Sequence[Run], manifest: Manifest | None
) -> tuple[BadClip, ...]:
    texts = {c.id: c.text for c in manifest.clips} if manifest else {}
    mean = mean_prediction(runs)
    if runs[0].predictions.classes:
        own = np.arange(labels.size), labels.astype(np.int64)
        each = np.array([1 - shares(run)[own] for run in runs])
        doubt = each.mean(axis=0)
    else:
        each = np.array([run.predictions.of("test")[1] for run in runs])
        doubt = np.abs(mean - labels)
    deviation = each.std(axis=0)
    order = np.argsort(-doubt, kind="stable")[:WORST]
    return tuple(
        BadClip(
            ids[i],
            texts.get(ids[i], ""),
            float(labels[i]),
            float(mean[i]),
            float(deviation[i]),
            float(doubt[i]),
        )
        for i in order
    )
