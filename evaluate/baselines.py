"""What a model must beat: the answer that needs no features, and the best linear probe."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..cache.runs import Run, list_runs, read_run
from ..cache.sweeps import Sweep, goodness, read_sweep


def floor(run: Run) -> Run:
    """`run` with every prediction replaced by the mean training label, or the commonest class."""
    train = run.predictions.of("train")[0]
    if not train.size:
        answer = float("nan")
    elif run.predictions.classes:
        answer = float(np.bincount(train.astype(np.int64)).argmax())
    else:
        answer = float(train.mean())
    values = np.full_like(run.predictions.values, answer)
    shares = run.predictions.probabilities
    changed = replace(
        run.predictions,
        values=values,
        probabilities=None if shares is None else _certain(values, shares.shape[1]),
    )
    return replace(run, modalities=(), predictions=changed, parameters=0, seconds=0.0, memory=0)


def best_probe(experiment: Path, like: Run) -> Run | None:
    """The probe of `experiment` that is best on validation, on the clips of `like`.

    None without a probe, or if the probes were scored on other clips (they are then out of date).
    """
    folder = experiment / "probe"
    found = read_sweep(folder)
    if found is None:
        return None
    points = {p.letters: p for p in found.points if _picked(found, p.letters, p.choice)}
    runs = [run for path in list_runs(folder) if (run := read_run(path)).letters in points]
    same = [run for run in runs if _clips(run) == _clips(like)]
    if not same:
        return None
    return max(same, key=lambda run: goodness(points[run.letters], found.criterion))


def probe_name(run: Run) -> str:
    """``ridge probe``; which modalities it reads stands beside it."""
    return f"{run.model} probe"


def sweeps_of(experiment: Path) -> tuple[Sweep, ...]:
    """The probe and the sweep of `experiment`, as far as there are any."""
    found = (read_sweep(experiment / name) for name in ("probe", "sweep"))
    return tuple(sweep for sweep in found if sweep is not None)


def _picked(found: Sweep, letters: str, choice: str) -> bool:
    picks: Sequence[str] = [
        layer for arm in found.picks.values() for m, layer in arm.items() if m[0].upper() == letters
    ]
    return choice == "picked" or choice in picks


def _clips(run: Run) -> tuple[tuple[str, ...], tuple[float, ...]]:
    own = run.predictions
    kept = [k for k, split in enumerate(own.splits) if split == "test"]
    return tuple(own.ids[k] for k in kept), tuple(own.labels[kept].tolist())


def _certain(values: NDArray[np.float64], classes: int) -> NDArray[np.float64]:
    known = np.nan_to_num(values).astype(np.int64)
    return np.eye(classes)[known]
