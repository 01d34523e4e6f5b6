"""What each corpus family's papers print: which metrics, in which order, and what they mean."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..cache.spec import Several
from ..config import LabelRange, label_range
from .metrics import SIMS_EDGES_3, SIMS_EDGES_5, Scheme, binned, rounded, several_key


@dataclass(frozen=True)
class Metric:
    """One column of a results table."""

    key: str
    """The field's own name, as in result files."""
    label: str
    """As papers head the column: ``Acc-2``."""
    words: str
    """What it is, for a reader who does not know the field."""
    variant: str = ""
    """What tells two columns of one label apart: ``has0``, ``non0``, or nothing."""
    higher: bool = True
    """Whether a larger number is better."""
    percent: bool = True
    """Printed times 100 with one decimal; else as it is, with three."""

    def show(self, value: float) -> str:
        """`value` as printed in tables; an undefined number is ``n/a``."""
        if not np.isfinite(value):
            return "n/a"
        # "z": what rounds to zero has no sign
        return f"{100 * value:z.1f}" if self.percent else f"{value:z.3f}"


@dataclass(frozen=True)
class CorpusProtocol:
    """How one family of corpora is scored."""

    key: str
    corpora: str
    low: float
    high: float
    metrics: tuple[Metric, ...]
    bins: tuple[str, ...]
    """Names of the finest classes, lowest first: the axes of the confusion matrix."""
    first: str = "Corr"
    """Key of the metric that the summary leads with."""
    second: str = "MAE"
    floor: str = "mean predictor"
    """Name of the answer that needs no features."""
    floor_words: str = (
        "Answers every clip with the mean label of the training split. Its correlation is "
        "undefined."
    )
    scale: LabelRange | None = None
    """Range and classes of other labels than CMU's and CH-SIMS'."""

    @property
    def middle(self) -> float:
        """The score that is neither negative nor positive."""
        return self.scale.middle if self.scale else 0.0

    @property
    def of_several(self) -> bool:
        """Whether clips have several labels each."""
        return self.key in ("dimensions", "emotions")

    @property
    def of_classes(self) -> bool:
        """Whether clips fall into classes instead of having scores."""
        return self.key == "classes"

    def classes(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """Index into `bins` of each value, (clips,)."""
        if self.of_classes:
            return values.astype(np.int64)
        if self.key == "mosi":
            return rounded(values, 3) + 3
        if self.scale:
            return binned(values, self.scale.edges)
        return binned(np.clip(values, -1, 1), SIMS_EDGES_5)

    def polarity(self, value: float) -> str:
        """``negative``, ``neutral`` or ``positive``.

        Of MOSI by the whole number that the score rounds to, so that neutral is the middle one of
        its seven classes; of CH-SIMS by the edges of its Acc-3; of a range by its classes, of which
        a middle one is neutral.

        >>> [MOSI.polarity(v) for v in (-0.6, 0.5, 2.0)], SIMS.polarity(0.1)
        (['negative', 'neutral', 'positive'], 'neutral')
        """
        score = np.array([value])
        if self.scale:
            sign = np.sign(2 * self.classes(score) - len(self.scale.edges))
        else:
            mosi = self.key == "mosi"
            sign = np.sign(rounded(score, 3)) if mosi else binned(score, SIMS_EDGES_3) - 1
        return ("negative", "neutral", "positive")[int(sign[0]) + 1]

    @property
    def leading(self) -> tuple[Metric, ...]:
        """What a short table shows: not every F1."""
        return tuple(m for m in self.metrics if m.label != "F1" or m.key == self.first)

    def metric(self, key: str) -> Metric:
        """The metric of that key."""
        return next(m for m in self.metrics if m.key == key)


def protocol_of(scheme: Scheme) -> CorpusProtocol:
    """The protocol of that key, or of these classes."""
    if isinstance(scheme, Several):
        return _of_several(scheme)
    if isinstance(scheme, tuple):
        return _of_classes(scheme)
    return PROTOCOLS[scheme] if scheme in PROTOCOLS else _of_range(scheme)


@cache
def _of_several(several: Several) -> CorpusProtocol:
    listed, scores = ", ".join(several.names), several.kind == "dimensions"
    each = _DIMENSION if scores else _EMOTION
    lead = ("CCC", "MAE") if scores else ("Weighted_acc", "F1")
    named = (
        replace(m, key=f"{m.key}_{name}", variant=name, words=f"Of {name}. {m.words}")
        for name in several.names
        for m in each
    )
    means = (replace(m, words=f"Mean over {listed}. {m.words}") for m in each if m.key in lead)
    return CorpusProtocol(
        key=several.kind,
        corpora=f"clips rated on {listed}" if scores else f"clips with any of {listed}",
        low=-np.inf if scores else 0,
        high=np.inf if scores else 1,
        metrics=(*means, *named),
        bins=(),
        first=lead[0],
        second=lead[1],
        floor="mean predictor" if scores else "training shares",
        floor_words=(
            "Answers every clip with the mean labels of the training split."
            if scores
            else "Answers every clip with the share of training clips that have each emotion."
        ),
    )


@cache
def _of_classes(names: tuple[str, ...]) -> CorpusProtocol:
    of_each = (
        Metric(
            f"F1_{name}",
            "F1",
            f"F1 of the class {name}: the harmonic mean of its precision and its recall. Undefined "
            "where no clip is labelled or predicted so.",
            name,
        )
        for name in names
    )
    return CorpusProtocol(
        key="classes",
        corpora=f"clips of {len(names)} classes: {', '.join(names)}",
        low=0,
        high=len(names) - 1,
        metrics=(
            Metric(
                "Accuracy",
                "Acc-2" if len(names) == 2 else "Acc",
                "Share of clips whose class is right.",
            ),
            Metric("Weighted_F1", "F1", f"F1 of each class, {_AVERAGED}.", "weighted"),
            *of_each,
        ),
        bins=names,
        first="Weighted_F1",
        second="Accuracy",
        floor="most frequent class",
        floor_words="Answers every clip with the class that is most frequent in training.",
    )


@cache
def _of_range(name: str) -> CorpusProtocol:
    scale = label_range(name)
    if scale is None:
        raise ValueError(f"evaluate.protocol: {name!r} is unknown.")
    edges = [f"{edge:g}" for edge in scale.edges]
    count = len(edges) + 1
    two = Metric(
        "Mult_acc_2",
        "Acc-2",
        f"Share of clips in the right class of two: up to {scale.middle:g} and above.",
    )
    all_classes = Metric(
        several_key(scale),
        f"Acc-{count}",
        f"Share of clips in the right class of {count}, with edges at {', '.join(edges)}; each "
        "includes its upper edge.",
    )
    return CorpusProtocol(
        key=name,
        corpora=f"labels from {scale.low:g} to {scale.high:g}; no paper's protocol",
        low=scale.low,
        high=scale.high,
        metrics=(
            two,
            Metric("F1_score", "F1", f"{_F1}; classes as in Mult_acc_2."),
            *((all_classes,) if count > 2 else ()),
            *(metric for metric in MOSI.metrics if metric.key in ("MAE", "Corr")),
        ),
        bins=(*(f"<= {edge}" for edge in edges), f"> {edges[-1]}"),
        scale=scale,
    )


def explain(protocol: Scheme) -> str:
    """What every metric of `protocol` is, in words, a paragraph a metric."""
    chosen = protocol_of(protocol)
    lines = [
        f"{m.key} ({'higher' if m.higher else 'lower'} is better): {m.words}"
        for m in chosen.metrics
    ]
    return "\n".join([f"Protocol {chosen.key}: {chosen.corpora}.", *lines])


def _correlation(words: str) -> Metric:
    return Metric(
        "Corr", "Corr", f"Pearson correlation of labels and predictions{words}", percent=False
    )


def _mean_error(words: str) -> Metric:
    return Metric(
        "MAE",
        "MAE",
        f"Mean absolute difference of label and prediction, {words}",
        higher=False,
        percent=False,
    )


_AVERAGED = "averaged with the weights with which the classes occur among the labels"
_F1 = f"F1 of each of the two classes, {_AVERAGED}"
_DIMENSION = (
    Metric(
        "CCC",
        "CCC",
        "Lin's concordance correlation coefficient: 1 where predictions are the labels, less by "
        "bias and by another spread.",
        percent=False,
    ),
    _correlation("."),
    _mean_error("in label units."),
)
_EMOTION = (
    Metric(
        "Weighted_acc",
        "WA",
        "Mean of the shares that are right of the clips with the emotion and of those without it, "
        "predicted from a probability of one half on.",
    ),
    Metric(
        "F1",
        "F1",
        "F1 of the two classes, there and not there, averaged with the weights with which they "
        "occur among the labels.",
    ),
)

MOSI = CorpusProtocol(
    key="mosi",
    corpora="CMU-MOSI and CMU-MOSEI, labels from -3 to 3",
    low=-3,
    high=3,
    metrics=(
        Metric(
            "Has0_acc_2",
            "Acc-2",
            "Share of all clips on the right side of zero, where zero counts as not negative "
            "(≥ 0 against < 0), for labels and predictions alike.",
            "has0",
        ),
        Metric("Has0_F1_score", "F1", f"{_F1}; classes as in Has0_acc_2.", "has0"),
        Metric(
            "Non0_acc_2",
            "Acc-2",
            "Clips labelled exactly 0 are left out; of the others, the share on the right side of "
            "zero (> 0 against < 0). A prediction of exactly 0 counts as negative.",
            "non0",
        ),
        Metric("Non0_F1_score", "F1", f"{_F1}; classes as in Non0_acc_2.", "non0"),
        Metric(
            "Mult_acc_5",
            "Acc-5",
            "Label and prediction are clipped to -2..2 and rounded to whole numbers (halves to the "
            "even one); the share that agrees.",
        ),
        Metric(
            "Mult_acc_7",
            "Acc-7",
            "The same with -3..3. Never above Acc-5 of the same predictions.",
        ),
        _mean_error("in label units, without clipping."),
        _correlation(", without clipping. Undefined if all predictions are equal."),
    ),
    bins=("-3", "-2", "-1", "0", "1", "2", "3"),
)

SIMS = CorpusProtocol(
    key="sims",
    corpora="CH-SIMS, labels from -1 to 1",
    low=-1,
    high=1,
    metrics=(
        Metric(
            "Mult_acc_2",
            "Acc-2",
            "Share of clips in the right class of two: ≤ 0 and > 0. Zero belongs to the negative "
            "class, the other way round than on CMU-MOSI.",
        ),
        Metric(
            "Mult_acc_3",
            "Acc-3",
            "Three classes: up to -0.1, up to 0.1, above; each bin includes its upper edge.",
        ),
        Metric(
            "Mult_acc_5",
            "Acc-5",
            "Five classes with edges at -0.7, -0.1, 0.1 and 0.7; each bin includes its upper edge.",
        ),
        Metric("F1_score", "F1", f"{_F1}; classes as in Mult_acc_2."),
        _mean_error("both clipped to -1..1 first."),
        _correlation(", both clipped to -1..1 first. Undefined if all predictions are equal."),
    ),
    bins=("<= -0.7", "<= -0.1", "<= 0.1", "<= 0.7", "> 0.7"),
)

PROTOCOLS: Mapping[str, CorpusProtocol] = {"mosi": MOSI, "sims": SIMS}
