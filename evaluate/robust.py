"""Scores of trained runs under missing features, read from what `sedimental robustness` left."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..cache.errors import RunError
from ..cache.runs import Run, run_folder
from .metrics import Scheme, Scores, score
from .robustness import auilc

FILE = "robustness.npz"
"""Beside run.json: predictions of the test clips under each loss of features."""


@dataclass(frozen=True)
class Curve:
    """One metric over missing rates, mean over seeds."""

    rates: tuple[float, ...]
    values: tuple[float, ...]
    deviations: tuple[float, ...]
    """Population standard deviation over seeds."""
    area: float
    """AUILC of `values`; NaN for fewer than two rates."""


@dataclass(frozen=True)
class Robustness:
    """What one row keeps of its scores as features go missing."""

    name: str
    curves: Mapping[str, Mapping[str, Curve]]
    """By what goes missing (``all``, or a modality's letter), then by metric."""
    drops: Mapping[str, Mapping[str, float]]
    """By modality letter: scores with that modality gone altogether, mean over seeds."""
    seeds: int


def read_robustness(
    experiment: Path, groups: Mapping[str, Sequence[Run]], scheme: Scheme
) -> tuple[Robustness, ...]:
    """What is known of each row of which every seed was tested; raises RunError for a bad file."""
    found = []
    for name, runs in groups.items():
        folders = [run_folder(experiment, r.model, r.modalities, r.seed, r.finetuned) for r in runs]
        each = [_read(folder / FILE, run) for folder, run in zip(folders, runs, strict=True)]
        if all(one is not None for one in each):
            known = [one for one in each if one is not None]
            found.append(_summary(name, runs, known, scheme))
    return tuple(found)


@dataclass(frozen=True)
class _Kept:
    cases: tuple[Mapping[str, Any], ...]
    """``kind`` (rate or drop), ``of`` (all or a letter), ``rate``."""
    values: Scores
    """(cases, masks, test clips)."""


def _read(file: Path, run: Run) -> _Kept | None:
    """None if there is no file, or one of another training of this run."""
    if not file.is_file():
        return None
    try:
        with np.load(file, allow_pickle=False) as data:
            head = json.loads(str(data["head"]))
            values = data["values"].astype(np.float64)
        if head["key"] != run.key:
            return None
        return _Kept(tuple(head["cases"]), values)
    except (OSError, ValueError, KeyError) as fault:
        raise RunError(
            f"{file}: cannot be read ({fault}). Remove it and `sedimental robustness` anew."
        ) from fault


def _summary(name: str, runs: Sequence[Run], kept: Sequence[_Kept], scheme: Scheme) -> Robustness:
    cases = [c for c in kept[0].cases if all(c in other.cases for other in kept)]
    scored = []
    for case in cases:
        seeds = []
        for run, one in zip(runs, kept, strict=True):
            labels = run.predictions.of("test")[0]
            masks = one.values[one.cases.index(case)]
            seeds.append(_mean([_scores(labels, answers, scheme) for answers in masks]))
        scored.append((case, seeds))
    curves: dict[str, dict[str, Curve]] = {}
    for of in dict.fromkeys(case["of"] for case in cases if case["kind"] == "rate"):
        own = sorted(
            ((c["rate"], s) for c, s in scored if c["kind"] == "rate" and c["of"] == of),
            key=lambda pair: pair[0],
        )
        curves[of] = {key: _curve(key, own) for key in own[0][1][0]}
    drops = {c["of"]: _mean(seeds) for c, seeds in scored if c["kind"] == "drop"}
    return Robustness(name, curves, drops, len(runs))


def _scores(labels: Scores, answers: Scores, scheme: Scheme) -> dict[str, float]:
    """As in the results table, but an answer that no longer varies has the correlation 0.

    It knows nothing, and the area under the curve must say so instead of being undefined. What
    differs by no more than rounding does not vary.
    """
    found = score(labels, np.round(answers, 5), scheme)
    if np.isfinite(answers).all() and np.isnan(found.get("Corr", 0.0)):
        found["Corr"] = 0.0
    return found


def _curve(key: str, own: Sequence[tuple[float, Sequence[Mapping[str, float]]]]) -> Curve:
    rates = tuple(rate for rate, _ in own)
    each = np.array([[one[key] for one in seeds] for _, seeds in own])
    values = tuple(each.mean(axis=1).tolist())
    area = auilc(rates, values) if len(rates) > 1 else float("nan")
    return Curve(rates, values, tuple(each.std(axis=1).tolist()), area)


def _mean(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {key: float(np.mean([one[key] for one in scores])) for key in scores[0]}
