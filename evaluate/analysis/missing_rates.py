"""Scores of trained runs under missing features, read from what `sedimental robustness` left."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...cache.checksums import DamagedError, without_checksum
from ...cache.runs import Run, folder_of, list_runs, read_run, read_scores
from ...cache.runs.folder import is_earlier
from ...cache.runs.identity import differences
from ...errors import RunError
from ..auilc import auilc
from ..metrics import Scheme, Scores, score

APART = {
    "missing_rate",
    "special_tokens",
    "options.missing_rate",
    "options.special_tokens",
    "stack",
}
"""In what a run on incomplete data may differ from that on whole data; seeds with different masks
are never stacked."""
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
    incomplete: Mapping[str, Curve] = field(default_factory=dict)
    """By metric: trained anew at each rate on data as incomplete; empty if that was not done."""
    special_tokens: str = ""
    """What became of [CLS] and [SEP] of text, in words; empty for a row without text."""


SPECIAL: Mapping[str, str] = {
    "": "",
    "missing": "[CLS] and [SEP] missing as words",
    "mean": "[CLS] the mean of the words left",
    "keep": "[CLS] and [SEP] kept, which have read every word",
    "unknown": "words [UNK] before a live encoder, [CLS] and [SEP] kept",
}
"""What may become of special tokens, by `special_tokens` of what `sedimental robustness` wrote."""


def read_robustness(
    experiment: Path, groups: Mapping[str, Sequence[Run]], scheme: Scheme
) -> tuple[Robustness, ...]:
    """What is known of each row of which every seed was tested, in every part of a
    cross-validation; raises RunError for a bad file."""
    found = []
    for name, runs in groups.items():
        folders = [folder_of(experiment, run) for run in runs]
        each = [_read(folder / FILE, run) for folder, run in zip(folders, runs, strict=True)]
        known = [one for one in each if one is not None]
        kinds = {one.special for one in known}
        if len(known) == len(runs) and len(kinds) == 1:  # one protocol, or no mean over seeds
            kind = kinds.pop()
            own = _trained_incomplete(experiment / "incomplete", runs, scheme, kind)
            row = _summary(name, runs, known, scheme)
            found.append(replace(row, incomplete=own, special_tokens=SPECIAL[kind]))
    return tuple(found)


def special_words(rows: Sequence[Robustness]) -> str:
    """What became of special tokens: once if it is the same of all `rows`, else row by row."""
    kinds: dict[str, list[str]] = {}
    for row in rows:
        if row.special_tokens:
            kinds.setdefault(row.special_tokens, []).append(row.name)
    if len(kinds) <= 1:
        return next(iter(kinds), "none is read")
    return "; ".join(f"{words} ({', '.join(names)})" for words, names in kinds.items())


@dataclass(frozen=True)
class _Kept:
    cases: tuple[Mapping[str, Any], ...]
    """``kind`` (rate or drop), ``of`` (all or a letter), ``rate``."""
    values: Scores
    """(cases, masks, test clips)."""
    special: str
    """A key of `SPECIAL`."""


def _read(file: Path, run: Run) -> _Kept | None:
    """None if there is no file, or one of another training of this run, or by the protocol of an
    earlier version, which stands in no table beside this one."""
    if not file.is_file():
        return None
    try:
        with np.load(io.BytesIO(without_checksum(file)), allow_pickle=False) as data:
            head = json.loads(str(data["head"]))
            values = data["values"].astype(np.float64)
        if head["key"] != run.key or head.get("special_tokens") not in SPECIAL:
            return None
        return _Kept(tuple(head["cases"]), values, str(head["special_tokens"]))
    except DamagedError as fault:
        raise RunError(f"{fault} `sedimental robustness` makes it anew.") from fault
    except (OSError, ValueError, KeyError) as fault:
        raise RunError(
            f"{file}: cannot be read ({fault}). `sedimental robustness --fresh` makes it anew."
        ) from fault


def _summary(name: str, runs: Sequence[Run], kept: Sequence[_Kept], scheme: Scheme) -> Robustness:
    cases = [c for c in kept[0].cases if all(c in other.cases for other in kept)]
    scored = []
    for case in cases:
        found = []
        for run, one in zip(runs, kept, strict=True):
            labels = run.predictions.of("test")[0]
            masks = one.values[one.cases.index(case)]
            found.append(_mean([_scores(labels, answers, scheme) for answers in masks]))
        scored.append((case, _over_parts(runs, found)))
    curves: dict[str, dict[str, Curve]] = {}
    for of in dict.fromkeys(case["of"] for case in cases if case["kind"] == "rate"):
        own = sorted(
            ((c["rate"], s) for c, s in scored if c["kind"] == "rate" and c["of"] == of),
            key=lambda pair: pair[0],
        )
        curves[of] = {key: _curve(key, own) for key in own[0][1][0]}
    drops = {c["of"]: _mean(seeds) for c, seeds in scored if c["kind"] == "drop"}
    return Robustness(name, curves, drops, len({run.seed for run in runs}))


def _over_parts(
    runs: Sequence[Run], scores: Sequence[Mapping[str, float]]
) -> Sequence[Mapping[str, float]]:
    """`scores` of `runs`; of a cross-validation the mean over seeds of each part."""
    parts: dict[int | None, list[Mapping[str, float]]] = {}
    for run, own in zip(runs, scores, strict=True):
        fold = None if run.identity is None else run.identity.fold
        parts.setdefault(fold, []).append(own)
    return scores if None in parts else [_mean(own) for own in parts.values()]


def _trained_incomplete(
    folder: Path, runs: Sequence[Run], scheme: Scheme, special: str
) -> dict[str, Curve]:
    """Scores of the same models trained at each missing rate, those on whole data at rate 0; of
    the runs whose special tokens went the way `special` alone."""
    points: list[tuple[float, Sequence[Mapping[str, float]]]] = []
    for path in folder.glob("rate-*"):
        own = [_same_but_incomplete(path, run, special) for run in runs]
        trained = [run for run in own if run is not None]
        rates = {float(run.config["missing_rate"]) for run in trained}
        if len(trained) == len(runs) and len(rates) == 1:
            own_scores = [_test_scores(run, scheme) for run in trained]
            points.append((rates.pop(), _over_parts(trained, own_scores)))
    if not points:
        return {}
    whole = (0.0, _over_parts(runs, [_test_scores(run, scheme) for run in runs]))
    ordered = sorted([whole, *points], key=lambda point: point[0])
    return {key: _curve(key, ordered) for key in whole[1][0]}


def _same_but_incomplete(folder: Path, run: Run, special: str) -> Run | None:
    """The run below `folder` that differs from `run` in nothing but its missing rate."""
    if run.identity is None:
        return None
    for path in list_runs(folder):
        if path.name != folder_of(folder, run).name or is_earlier(path):
            continue
        other = read_scores(path)
        apart = differences(run.identity.configuration, other.configuration)
        told = other.configuration.get("special_tokens")
        if told is None or (special not in ("", "unknown") and told != special):
            continue
        if "missing_rate" in apart and apart.keys() <= APART:
            return read_run(path)
    return None


def _test_scores(run: Run, scheme: Scheme) -> dict[str, float]:
    return _scores(*run.predictions.of("test"), scheme)


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
