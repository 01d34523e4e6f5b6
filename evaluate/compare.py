"""Whether one result is really better than another: paired tests on the same test clips."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cache.manifest import Manifest
from ..cache.runs import Run, read_run
from ..cache.runs.identity import differences, variants
from ..cache.runs.names import Current, find_folders
from ..cache.spec import Several
from ..config import Config, EvaluateConfig, label_range
from ..errors import RunError
from ..result_table import ResultTable
from .analysis.analysis import mean_prediction, scored_clips
from .cross_validation import joined
from .metrics import THRESHOLD, Scheme, Scores, polarity_without_neutral
from .selection import Planned, current_of, manifest_of
from .statistics import (
    FEWEST_GROUPS,
    Difference,
    McNemar,
    Spread,
    mcnemar,
    paired_bootstrap,
    spreads,
    video_groups,
)

OF_MODELS = ("options.", "settings.")
"""Begin the settings that no two models have in common."""


@dataclass(frozen=True)
class Side:
    """One of the two results: the seeds of one model on one choice of inputs."""

    name: str
    seeds: tuple[int, ...]
    test: Mapping[str, Spread]


@dataclass(frozen=True, repr=False)
class Comparison(ResultTable):
    """The first result beside the second, on the test clips that both answered."""

    first: Side
    second: Side
    differences: Mapping[str, Difference]
    """First minus second, by metric."""
    apart: Mapping[str, tuple[Any, Any]]
    """Settings in which the two differ, those of different models left out: key -> both values."""
    mcnemar: McNemar
    """Of the hits on `question`, each side answering with the mean over its seeds."""
    question: str
    """What a hit is: ``Non0_acc_2``, ``Mult_acc_2`` or ``Accuracy``."""
    scheme: Scheme
    clips: int
    videos: int
    left_out: int
    """Test clips that only one of the two answered."""
    resamples: int

    @property
    def title(self) -> str:
        """The two, and on what."""
        return f"{self.first.name} against {self.second.name} on {self.clips} test clips"

    def records(self) -> Sequence[Mapping[str, Any]]:
        """A row a metric: both means, and the difference."""
        return [
            {
                "metric": key,
                self.first.name: self.first.test[key].mean,
                f"{self.second.name} ": self.second.test[key].mean,
                **vars(difference),
            }
            for key, difference in self.differences.items()
        ]

    @property
    def drawn_over(self) -> str:
        """What the bootstrap draws."""
        return "videos" if self.videos >= FEWEST_GROUPS else "clips"


def compare(
    first: str,
    second: str,
    experiment: Path,
    settings: EvaluateConfig | None = None,
    manifest: Manifest | None = None,
    current: Current | None = None,
) -> Comparison:
    """Compare two results, each a row's name (``uegd TAV``) or a folder of runs.

    A folder is one run's (``…/seed-1111``) or holds runs of one configuration. Of several
    configurations of a row, `current` knows which is meant. Without `settings` the protocol is that
    of the runs; without bootstrap in them, 1000 resamples are drawn. Raises RunError naming what
    cannot be found or compared.
    """
    a, b = find_runs(first, experiment, current), find_runs(second, experiment, current)
    settings = settings or EvaluateConfig.model_validate(
        {"protocol": a[0].protocol} if a[0].protocol else {}
    )
    kinds = {(run.predictions.classes, run.predictions.several) for run in (*a, *b)}
    if len(kinds) > 1:
        raise RunError(f"{first} and {second}: one predicts other classes than the other, or none.")
    scheme: Scheme = a[0].predictions.classes or a[0].predictions.several or settings.protocol
    ids = [scored_clips(run)[0] for run in (*a, *b)]
    shared = set(ids[0]).intersection(*ids[1:])
    if not shared:
        raise RunError(f"{first} and {second}: no test clip was answered by both.")
    order = [clip for clip in ids[0] if clip in shared]
    labels = _of(a[0], order)[0]
    if any(not np.array_equal(_of(run, order)[0], labels) for run in (*a, *b)):
        raise RunError(
            f"{first} and {second}: trained with other labels of the same clips. Train both again "
            "on the present corpus table."
        )
    videos = {clip.id: clip.video_id for clip in manifest.clips} if manifest else None
    groups, resamples = video_groups(order, videos), settings.bootstrap or 1000
    ours, theirs = ([_of(run, order)[1] for run in runs] for runs in (a, b))
    names, apart = _named(a[0], b[0])
    folders = Path(first).is_dir() and Path(second).is_dir()
    if first != second and (folders or names[0] == names[1]):
        names = _tails(first, second)
    question, hits = _hits(labels, [_joint(runs, order) for runs in (a, b)], scheme)
    return Comparison(
        first=_side(names[0], a, labels, ours, scheme),
        second=_side(names[1], b, labels, theirs, scheme),
        apart=apart,
        differences=paired_bootstrap(labels, ours, theirs, scheme, groups, resamples),
        mcnemar=mcnemar(*hits),
        question=question,
        scheme=scheme,
        clips=len(order),
        videos=int(groups.max()) + 1,
        left_out=len(set().union(*ids)) - len(order),
        resamples=resamples,
    )


def compare_of_pipeline(
    first: str, second: str, config: Config, planned: Planned | None = None
) -> Comparison:
    """`compare` within the experiment of `config`, with its protocol and its corpus's videos; what
    the pipeline asks for of several configurations `planned` says."""
    manifest = manifest_of(config)
    current = current_of(config, manifest, planned)
    return compare(first, second, config.experiment, config.evaluate, manifest, current)


def find_runs(name: str, experiment: Path, current: Current | None = None) -> tuple[Run, ...]:
    """The runs that `name` means; raises RunError where that is none, or several rows."""
    found = [read_run(folder) for folder in find_folders(name, experiment, current)]
    return tuple(joined(found))  # of a cross-validation each seed's parts are one


def _named(a: Run, b: Run) -> tuple[tuple[str, str], dict[str, tuple[Any, Any]]]:
    """What the two are called, unlike each other where they are; and in what they differ."""
    ours, theirs = (run.identity.configuration if run.identity else {} for run in (a, b))
    own = OF_MODELS if a.model != b.model else ()
    found = {
        key: values
        for key, values in differences(ours, theirs).items()
        if not key.startswith((*own, "model")) and not key.endswith((".fingerprint", ".clips"))
        if a.modalities == b.modalities or not key.startswith("inputs.") or None not in values
    }
    if a.row != b.row or not found:
        return (a.row, b.row), found
    first, second = variants([ours, theirs])
    return (f"{a.row} ({first})", f"{b.row} ({second})"), found


def _tails(first: str, second: str) -> tuple[str, str]:
    """What two folders, or names, are called beside each other: without what both begin with.

    >>> _tails("runs/demo/uegd-T-1a", "runs/demo/uegd-T-2b"), _tails("a/x", "a/x/seed-1")
    (('uegd-T-1a', 'uegd-T-2b'), ('x', 'x/seed-1'))
    """
    ours, theirs = Path(first).parts, Path(second).parts
    shared = 0
    while shared < min(len(ours), len(theirs)) - 1 and ours[shared] == theirs[shared]:
        shared += 1
    return str(Path(*ours[shared:])), str(Path(*theirs[shared:]))


def _side(
    name: str, runs: Sequence[Run], labels: Scores, answers: Sequence[Scores], scheme: Scheme
) -> Side:
    seeds = tuple(run.seed for run in runs)
    return Side(name, seeds, spreads(labels, answers, scheme))


def _of(run: Run, order: Sequence[str]) -> tuple[Scores, Scores]:
    """Labels and predictions of these test clips, (clips,) each."""
    row = {clip: k for k, clip in enumerate(scored_clips(run)[0])}
    kept = [row[clip] for clip in order]
    labels, answers = run.predictions.of("test")
    return labels[kept], answers[kept]


def _joint(runs: Sequence[Run], order: Sequence[str]) -> Scores:
    ids = scored_clips(runs[0])[0]
    row = {clip: k for k, clip in enumerate(ids)}
    if any(scored_clips(run)[0] != ids for run in runs):
        return np.asarray(np.mean([_of(run, order)[1] for run in runs], axis=0))
    return mean_prediction(runs)[[row[clip] for clip in order]]


def _hits(
    labels: Scores, answers: Sequence[Scores], scheme: Scheme
) -> tuple[str, list[NDArray[np.bool_]]]:
    if isinstance(scheme, Several):  # a hit is a clip that is nearer than a half in all columns
        near = [np.abs(labels - guess).max(axis=1) < THRESHOLD for guess in answers]
        return f"all {scheme.kind} within one half", near
    if isinstance(scheme, tuple):
        return "Accuracy", [labels == guess for guess in answers]
    if scheme == "sims":
        return "Mult_acc_2", [(labels > 0) == (guess > 0) for guess in answers]
    if own := label_range(scheme):
        return "Mult_acc_2", [(labels > own.middle) == (guess > own.middle) for guess in answers]
    pairs = [polarity_without_neutral(labels, guess) for guess in answers]
    return "Non0_acc_2", [truth == guess for truth, guess in pairs]
