"""What a model must beat: the answer that needs no features, and the best linear probe."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cache.manifest import Manifest
from ..cache.runs import Run, Scored, list_runs, read_run, read_scores
from ..cache.sweeps import FILE, Point, Sweep, goodness, is_earlier, read_sweeps
from .cross_validation import joined, parts_behind, parts_of


def floor(run: Run) -> Run:
    """`run` with every prediction replaced by the mean training label, or the commonest class."""
    train = run.predictions.of("train")[0]
    answer: float | NDArray[np.float64]
    if not train.size:
        answer = float("nan")
    elif run.predictions.classes:
        answer = float(np.bincount(train.astype(np.int64)).argmax())
    else:
        answer = train.mean(axis=0)  # of several labels, each its own
    values = np.zeros_like(run.predictions.values) + answer
    shares = run.predictions.probabilities
    if shares is not None:
        shares = np.eye(shares.shape[1])[np.nan_to_num(values).astype(np.int64)]
    changed = replace(run.predictions, values=values, probabilities=shares)
    return replace(run, modalities=(), predictions=changed, parameters=0, seconds=0.0, memory=0)


def best_probe(
    experiment: Path, like: Run, sweeps: Sequence[Sweep]
) -> tuple[Run, tuple[Run, ...]] | None:
    """The probe of `experiment` that is best on validation, on the clips of `like`; and its runs
    of all parts, where the corpus is cross-validated.

    None without a probe among `sweeps`, or if none of its runs is on the table, the clips and the
    features of `like`.
    """
    found = next((sweep for sweep in sweeps if sweep.kind == "probe"), None)
    if found is None:
        return None
    points = {p.letters: p for p in found.points if _picked(found, p.letters, p.choice)}
    heads = {path: read_scores(path) for path in list_runs(experiment / "probe")}
    fitting = [
        path
        for path, head in heads.items()
        if head.letters in points and _is_of(head, found, points[head.letters], like)
    ]
    runs = [read_run(path) for path in fitting]
    same = [run for run in joined(runs) if _clips(run) == _clips(like)]
    if not same:
        return None
    best = max(same, key=lambda run: goodness(points[run.letters], found.criterion))
    return best, parts_behind(best, parts_of(runs))


def _is_of(head: Scored, found: Sweep, point: Point, like: Run) -> bool:
    """Whether a probe's run is the one that `point` tells of, on the table of `like`."""
    own, theirs = head.configuration, like.identity and like.identity.configuration
    if not own or not theirs:
        return not own and not theirs
    read = {m: (one["fingerprint"], *one["layers"]) for m, one in own["inputs"].items()}
    told = {m: (found.encoders[m].fingerprint, layer) for m, layer in point.layers.items()}
    return read == told and own["table"] == theirs["table"] and not _apart(own, [like])


def sweeps_of(
    experiment: Path, runs: Sequence[Run], manifest: Manifest | None
) -> tuple[Sweep, ...]:
    """The probe and the sweep of `experiment` that belong to `runs`, as far as there are any.

    They read the same corpus table and, of the modalities that `runs` read, the same features.
    """
    found = []
    for kind in ("probe", "sweep"):
        fitting = [s for s in read_sweeps(experiment / kind) if not stale_words(s, runs, manifest)]
        found += fitting[:1]
    return tuple(found)


def stale_sweeps(
    experiment: Path, runs: Sequence[Run], manifest: Manifest | None, kept: Sequence[Sweep]
) -> Iterator[str]:
    """A sentence for each of probe and sweep that is there and not in the report."""
    for kind, command in (("probe", "sedimental sweep --probe"), ("sweep", "sedimental sweep")):
        if any(sweep.kind == kind for sweep in kept):
            continue
        if is_earlier(experiment / kind / FILE):
            yield f"The {kind} is left out: an earlier version made it. `{command}` makes it anew."
        for sweep in read_sweeps(experiment / kind)[:1]:
            why = stale_words(sweep, runs, manifest)
            yield f"The {kind} is left out, out of date: {why}. `{command}` makes it anew."


def stale_words(sweep: Sweep, runs: Sequence[Run], manifest: Manifest | None) -> str:
    """Why a probe or sweep does not belong beside `runs`; empty: it does."""
    said = []
    known = manifest is not None and any(run.identity for run in runs)
    if known and manifest is not None and sweep.manifest != manifest.digest:
        said.append("it is of another state of the corpus table")
    for modality, encoder in sweep.encoders.items():
        read = {
            (one["fingerprint"], one["clips"])
            for run in runs
            if run.identity and (one := run.identity.configuration["inputs"].get(modality))
        }
        own = encoder.fingerprint, encoder.clips
        if read and own not in read:
            said.append(f"it read other {modality} features")
    return ", ".join(said)


def _apart(own: Mapping[str, Any], runs: Sequence[Run]) -> bool:
    """Whether features that both read are not the same."""
    for run in runs:
        theirs = run.identity.configuration["inputs"] if run.identity else {}
        for modality, one in own["inputs"].items():
            other = theirs.get(modality, one)
            if (one["fingerprint"], one["clips"]) != (other["fingerprint"], other["clips"]):
                return True
    return False


def _picked(found: Sweep, letters: str, choice: str) -> bool:
    picks: Sequence[str] = [
        layer for arm in found.picks.values() for m, layer in arm.items() if m[0].upper() == letters
    ]
    return choice == "picked" or choice in picks


def _clips(run: Run) -> tuple[tuple[str, ...], tuple[float, ...]]:
    own = run.predictions
    kept = [k for k, split in enumerate(own.splits) if split == "test"]
    return tuple(own.ids[k] for k in kept), tuple(own.labels[kept].tolist())
