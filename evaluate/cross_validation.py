"""Runs of a cross-validation as one: every clip is scored once, by models that never saw its part.

Of each row and seed the runs of all parts are joined to one whose test clips are those of every
part, so that all that a report shows of clips is of the whole corpus. Its scores are means over the
parts with their spread, as the field prints them: of a part, the mean over seeds.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..cache.runs import Predictions, Run
from ..cache.spec import Split
from .metrics import Scheme, score
from .results import Row
from .statistics import Spread

Parts = Mapping[str, tuple[Run, ...]]
"""The runs of all parts by the digest of their configuration; others are not in it."""


def fold_of(run: Run) -> int | None:
    """The part that `run` was tested on; None where there are no parts."""
    return None if run.identity is None else run.identity.fold


def joined(runs: Sequence[Run]) -> list[Run]:
    """`runs` in order, those of one row and seed and of several parts as one."""
    found: dict[object, list[Run]] = defaultdict(list)
    for number, run in enumerate(runs):
        part = run.identity is not None and run.identity.fold is not None
        found[(run.identity.digest, run.seed) if run.identity and part else number].append(run)
    return [_one(own) if fold_of(own[0]) is not None else own[0] for own in found.values()]


def parts_of(runs: Sequence[Run]) -> Parts:
    """The runs of parts, by the digest of their configuration."""
    found: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        if run.identity is not None and run.identity.fold is not None:
            found[run.identity.digest].append(run)
    return {digest: tuple(own) for digest, own in found.items()}


def parts_behind(run: Run, parts: Parts) -> tuple[Run, ...]:
    """The runs of parts that `run` was joined of, with those of other seeds; none if it was not."""
    return parts.get(run.identity.digest, ()) if run.identity else ()


def parts_note(parts: Parts) -> str:
    """What a reader must know of the scores; empty without a cross-validation."""
    counts = {len({fold_of(run) for run in own}) for own in parts.values()}
    if not counts:
        return ""
    folds = " or ".join(map(str, sorted(counts)))
    return (
        f"Scores are means over {folds} folds with their spread (of a fold: the mean over seeds). "
        "Every clip is tested once, by models trained without its speaker or video; figures and "
        "single clips show all folds together."
    )


def over_parts(row: Row, parts: Sequence[Run], scheme: Scheme) -> Row:
    """`row` with its scores as means over parts; intervals over clips do not belong to those."""
    if not parts:
        return row
    return replace(row, test=_spread(parts, "test", scheme), valid=_spread(parts, "valid", scheme))


def _spread(parts: Sequence[Run], split: Split, scheme: Scheme) -> dict[str, Spread]:
    by_part: dict[int | None, list[dict[str, float]]] = defaultdict(list)
    for run in parts:
        by_part[fold_of(run)].append(score(*run.predictions.of(split), scheme))
    ordered = [by_part[part] for part in sorted(by_part, key=lambda k: k or 0)]
    keys = ordered[0][0]
    return {
        key: Spread(tuple(float(np.mean([one[key] for one in own])) for own in ordered))
        for key in keys
    }


def _one(runs: Sequence[Run]) -> Run:
    """The runs of all parts as one; what is of single epochs or weights is the first part's."""
    ordered = sorted(runs, key=lambda run: fold_of(run) or 0)
    first = ordered[0]
    kept: list[tuple[str, Split, int, int]] = []
    seen: set[tuple[str, Split]] = set()
    for part, run in enumerate(ordered):
        own = run.predictions
        for place, (clip, split) in enumerate(zip(own.ids, own.splits, strict=True)):
            # each clip is tested once; it is trained on in most parts, which the first stands for
            if (split == "train" and part) or (clip, split) in seen:
                continue
            seen.add((clip, split))
            kept.append((clip, split, part, place))
    labels, values = (
        np.array([getattr(ordered[part].predictions, name)[place] for *_, part, place in kept])
        for name in ("labels", "values")
    )
    shares = [run.predictions.probabilities for run in ordered]
    whole = all(one is not None for one in shares)
    predictions = Predictions(
        ids=tuple(clip for clip, *_ in kept),
        splits=tuple(split for _, split, *_ in kept),
        labels=labels,
        values=values,
        classes=first.predictions.classes,
        several=first.predictions.several,
        probabilities=np.array([shares[part][place] for *_, part, place in kept])  # type: ignore[index]
        if whole
        else None,
    )
    return replace(
        first,
        predictions=predictions,
        outputs={},
        seconds=sum(run.seconds for run in ordered),
        memory=max(run.memory for run in ordered),
    )
