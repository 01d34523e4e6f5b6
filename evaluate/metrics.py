"""The field's numbers as pure functions of two arrays: what was rated, what was predicted.

Definitions are those of the metric code that CMU-MOSI, CMU-MOSEI and CH-SIMS papers share. Of
other packages numpy alone is imported, so that training picks its epoch by the very number that
stands in the table.

Degenerate cases: no clips, or a value that is not finite, makes `score` NaN; the
correlation with a constant is NaN; a class that is neither rated nor predicted has no F1 (NaN);
nothing here warns.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..cache.spec import Several
from ..config import LabelRange, label_range

Scores = NDArray[np.float64]
Classes = NDArray[np.int64]
Scheme = str | tuple[str, ...] | Several
"""How clips are scored: ``mosi``, ``sims``, a range of labels (``1..5``), the names of the classes
they fall into, or the dimensions or emotions of which each clip has a label."""
THRESHOLD = 0.5
"""Probability from which on an emotion is predicted to be there."""

RANGES: Mapping[str, tuple[float, float]] = {"mosi": (-3.0, 3.0), "sims": (-1.0, 1.0)}
"""Lowest and highest label of each published protocol."""
SIMS_EDGES_2 = (0.0,)
SIMS_EDGES_3 = (-0.1, 0.1)
SIMS_EDGES_5 = (-0.7, -0.1, 0.1, 0.7)


def score(labels: ArrayLike, predictions: ArrayLike, protocol: Scheme) -> dict[str, float]:
    """Every metric of `protocol`, in the field's keys and order, as fractions (not percent).

    `labels` and `predictions` are (clips,). ``mosi`` serves CMU-MOSI and CMU-MOSEI (labels in
    -3..3), ``sims`` CH-SIMS (-1..1), a range such as ``1..5`` others; under class names they are
    class numbers, see `score_classes`; of several labels a clip both are (clips, names), see
    `score_several`. Raises ValueError if the two differ in length or `protocol` is unknown. A
    prediction that is not finite makes every number NaN: a diverged model has no score, and hiding
    its bad clips would flatter it.
    """
    truth, guess = np.asarray(labels, np.float64), np.asarray(predictions, np.float64)
    if isinstance(protocol, Several):
        return score_several(truth, guess, protocol)
    if truth.shape != guess.shape or truth.ndim != 1:
        raise ValueError(f"labels {truth.shape}, predictions {guess.shape}: one a clip is needed.")
    if isinstance(protocol, tuple):
        if np.isfinite(truth).all() and np.isfinite(guess).all():
            return score_classes(truth.astype(np.int64), guess.astype(np.int64), protocol)
        return dict.fromkeys(score_classes([], [], protocol), float("nan"))
    measure = PROTOCOLS.get(protocol)
    if measure is None:
        own = label_range(protocol)
        if own is None:
            raise ValueError(
                f"evaluate.protocol: {protocol!r} is unknown. Known: mosi, sims, 1..5."
            )
        measure = partial(_score_range, own)
    if np.isfinite(truth).all() and np.isfinite(guess).all():
        return measure(truth, guess)
    return dict.fromkeys(measure(np.empty(0), np.empty(0)), float("nan"))


def score_classes(
    labels: ArrayLike, predictions: ArrayLike, names: Sequence[str]
) -> dict[str, float]:
    """Accuracy, weighted F1 and the F1 of each class, for corpora of two or more classes.

    `labels` and `predictions` are class numbers (clips,), indices into `names`. A class that is
    neither rated nor predicted has no F1: NaN.
    """
    truth, guess = np.asarray(labels, np.int64), np.asarray(predictions, np.int64)
    if truth.shape != guess.shape or truth.ndim != 1:
        raise ValueError(f"labels {truth.shape}, predictions {guess.shape}: one a clip is needed.")
    if truth.size and not 0 <= min(truth.min(), guess.min()) <= max(truth.max(), guess.max()) < len(
        names
    ):
        raise ValueError(f"A class number lies outside 0..{len(names) - 1}, the named classes.")
    return {
        "Accuracy": accuracy(truth, guess),
        "Weighted_F1": weighted_f1(truth, guess),
        **{f"F1_{name}": class_f1(truth, guess, number) for number, name in enumerate(names)},
    }


def score_several(truth: Scores, guess: Scores, several: Several) -> dict[str, float]:
    """The means over the columns, then the numbers of each column.

    Both are (clips, names), or empty. Of dimensions ``CCC`` and ``MAE``, then ``CCC_<name>``,
    ``Corr_<name>`` and ``MAE_<name>``; of emotions (labels above 0 are there, predictions are
    probabilities) ``Weighted_acc`` and ``F1``, then ``Weighted_acc_<name>`` and ``F1_<name>``, as
    papers on CMU-MOSEI print them. A mean is NaN where a column's number is.
    """
    names = several.names
    if not truth.size and not guess.size:
        truth = guess = np.empty((0, len(names)))
    if truth.shape != guess.shape or truth.shape[1:] != (len(names),):
        raise ValueError(
            f"labels {truth.shape}, predictions {guess.shape}: (clips, {len(names)}) are needed."
        )
    if not (np.isfinite(truth).all() and np.isfinite(guess).all()):
        truth = guess = np.empty((0, len(names)))
    parts: Mapping[str, Callable[[Scores, Scores], float]]
    if several.kind == "dimensions":
        parts = {"CCC": concordance, "Corr": correlation, "MAE": mean_absolute_error}
        lead = ("CCC", "MAE")
    else:
        parts, lead = {"Weighted_acc": weighted_accuracy, "F1": emotion_f1}, ("Weighted_acc", "F1")
    columns = list(zip(names, truth.T, guess.T, strict=True))
    each = {f"{key}_{name}": of(t, g) for name, t, g in columns for key, of in parts.items()}
    return {key: float(np.mean([each[f"{key}_{name}"] for name in names])) for key in lead} | each


def accuracy(truth: Classes, guess: Classes) -> float:
    """Share of clips whose class is right, (clips,) each; NaN without clips."""
    return float(np.mean(truth == guess)) if truth.size else float("nan")


def class_f1(truth: Classes, guess: Classes, number: int) -> float:
    """F1 of one class: 2 hits / (rated so + predicted so); NaN if it is neither."""
    either = np.sum(truth == number) + np.sum(guess == number)
    hits = np.sum((truth == number) & (guess == number))
    return float(2 * hits / either) if either else float("nan")


def weighted_f1(truth: Classes, guess: Classes) -> float:
    """F1 of each rated class, weighted by how often it was rated; NaN without clips.

    The order of the arguments matters: released code that swaps them weights by predictions.
    """
    if not truth.size:
        return float("nan")
    classes, counts = np.unique(truth, return_counts=True)
    each = np.array([class_f1(truth, guess, number) for number in classes])
    return float(counts @ each / truth.size)


def mean_absolute_error(truth: Scores, guess: Scores) -> float:
    """Mean distance of prediction and label, in label units; NaN without clips."""
    return float(np.mean(np.abs(guess - truth))) if truth.size else float("nan")


def correlation(truth: Scores, guess: Scores) -> float:
    """Pearson's r; NaN where either side is constant or fewer than two clips are given."""
    if truth.size < 2 or np.ptp(truth) == 0 or np.ptp(guess) == 0:
        return float("nan")
    x, y = (v - v.mean() for v in (truth, guess))
    x, y = x / np.abs(x).max(), y / np.abs(y).max()  # squares of tiny numbers would vanish
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1, 1))


def concordance(truth: Scores, guess: Scores) -> float:
    """Lin's concordance correlation coefficient, with population moments (clips,).

    NaN with fewer than two clips, or where both sides are one and the same constant.
    """
    if truth.size < 2:
        return float("nan")
    spread = truth.var() + guess.var() + (truth.mean() - guess.mean()) ** 2
    covariance = np.mean((truth - truth.mean()) * (guess - guess.mean()))
    return float(2 * covariance / spread) if spread > 0 else float("nan")


def weighted_accuracy(truth: Scores, guess: Scores) -> float:
    """(TP · N / P + TN) / 2N of an emotion, P clips having it and N not: the mean of both recalls.

    Tong et al. (ACL 2017), as papers on CMU-MOSEI have it. NaN where all clips have it, or none.
    """
    there, said = truth > 0, guess >= THRESHOLD
    if there.all() or not there.any():
        return float("nan")
    return float((np.mean(said[there]) + np.mean(~said[~there])) / 2)


def emotion_f1(truth: Scores, guess: Scores) -> float:
    """Weighted F1 of an emotion's two classes, there or not."""
    return weighted_f1((truth > 0).astype(np.int64), (guess >= THRESHOLD).astype(np.int64))


def rounded(values: Scores, limit: int) -> Classes:
    """Clip to [-limit, limit], then round half to even: 0.5 -> 0, 1.5 -> 2, 2.5 -> 2."""
    return np.rint(np.clip(values, -limit, limit)).astype(np.int64)


def binned(values: Scores, edges: Sequence[float]) -> Classes:
    """Number of the right-closed bin of each value: (-inf, e0], (e0, e1], …, (e_last, inf)."""
    return np.digitize(values, np.asarray(edges), right=True).astype(np.int64)


def polarity_with_neutral(truth: Scores, guess: Scores) -> tuple[Classes, Classes]:
    """Has0: every clip, non-negative (>= 0) against negative; a prediction of 0 is non-negative."""
    return (truth >= 0).astype(np.int64), (guess >= 0).astype(np.int64)


def polarity_without_neutral(truth: Scores, guess: Scores) -> tuple[Classes, Classes]:
    """Non0: clips rated 0 are left out; positive is > 0, so a prediction of 0 is negative."""
    kept = truth != 0
    return (truth[kept] > 0).astype(np.int64), (guess[kept] > 0).astype(np.int64)


def _score_mosi(truth: Scores, guess: Scores) -> dict[str, float]:
    has0, non0 = polarity_with_neutral(truth, guess), polarity_without_neutral(truth, guess)
    return {
        "Has0_acc_2": accuracy(*has0),
        "Has0_F1_score": weighted_f1(*has0),
        "Non0_acc_2": accuracy(*non0),
        "Non0_F1_score": weighted_f1(*non0),
        "Mult_acc_5": accuracy(rounded(truth, 2), rounded(guess, 2)),
        "Mult_acc_7": accuracy(rounded(truth, 3), rounded(guess, 3)),
        "MAE": mean_absolute_error(truth, guess),
        "Corr": correlation(truth, guess),
    }


def _score_sims(truth: Scores, guess: Scores) -> dict[str, float]:
    truth, guess = (
        np.clip(truth, -1, 1),
        np.clip(guess, -1, 1),
    )  # before everything, MAE and Corr too
    two = binned(truth, SIMS_EDGES_2), binned(guess, SIMS_EDGES_2)
    return {
        "Mult_acc_2": accuracy(*two),
        "Mult_acc_3": accuracy(binned(truth, SIMS_EDGES_3), binned(guess, SIMS_EDGES_3)),
        "Mult_acc_5": accuracy(binned(truth, SIMS_EDGES_5), binned(guess, SIMS_EDGES_5)),
        "F1_score": weighted_f1(*two),
        "MAE": mean_absolute_error(truth, guess),
        "Corr": correlation(truth, guess),
    }


def _score_range(own: LabelRange, truth: Scores, guess: Scores) -> dict[str, float]:
    two = binned(truth, (own.middle,)), binned(guess, (own.middle,))
    several = binned(truth, own.edges), binned(guess, own.edges)
    return {
        "Mult_acc_2": accuracy(*two),
        "F1_score": weighted_f1(*two),
        several_key(own): accuracy(*several),
        "MAE": mean_absolute_error(truth, guess),
        "Corr": correlation(truth, guess),
    }


def label_ends(protocol: str) -> tuple[float, float]:
    """Lowest and highest label of a protocol; raises ValueError for an unknown one."""
    own = label_range(protocol)
    if protocol not in RANGES and own is None:
        raise ValueError(f"evaluate.protocol: {protocol!r} is unknown. Known: mosi, sims.")
    return RANGES[protocol] if own is None else (own.low, own.high)


def several_key(own: LabelRange) -> str:
    """The metric of a range's classes; of two it is that of the middle."""
    return f"Mult_acc_{len(own.edges) + 1}"


PROTOCOLS: Mapping[str, Callable[[Scores, Scores], dict[str, float]]] = {
    "mosi": _score_mosi,
    "sims": _score_sims,
}
