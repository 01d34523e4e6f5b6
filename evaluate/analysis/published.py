"""Numbers printed in papers, to stand beside ours on the same corpus.

Percentages are kept as fractions and MAE and Corr in label units, as `metrics.score` returns them,
whatever scale the paper prints. `training` says what matters most for a fair reading: whether the
encoders were frozen, as here, or trained along.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One line of a paper's results table."""

    system: str
    inputs: str
    """Modalities as letters."""
    training: str
    """``frozen`` or ``fine-tuned``."""
    source: str
    values: Mapping[str, float]


def published_for(corpus: str) -> tuple[Published, ...]:
    """Published results on the corpus of that name; none for a corpus we know none for.

    >>> published_for("my-holiday-videos")
    ()
    """
    name = corpus.lower().replace("_", "-")
    if "mosei" in name:
        return _MOSEI
    if "mosi" in name:
        return _MOSI
    if "sims" in name:
        return () if "v2" in name else _SIMS
    of_classes = (rows for key, rows in _CLASSES.items() if key in name.replace("-", ""))
    return next(of_classes, ())


_PAIRS = ("Has0_acc_2", "Non0_acc_2", "Has0_F1_score", "Non0_F1_score", "Mult_acc_5", "Mult_acc_7")
_UEGD = "UEGD paper, Tables 2 and 3 (mean of 5)"


def _row(
    system: str,
    training: str,
    source: str,
    mae: float,
    corr: float,
    *percent: float | None,
    inputs: str = "TAV",
) -> Published:
    """MAE, Corr, then Acc-2 has0, non0, F1 has0, non0, Acc-5, Acc-7 in percent."""
    shares = {k: round(v / 100, 6) for k, v in zip(_PAIRS, percent, strict=False) if v is not None}
    return Published(system, inputs, training, source, shares | {"MAE": mae, "Corr": corr})


_MOSI = (
    _row("UEGD, last layer", "frozen", _UEGD, 0.850, 0.715, 79.4, 80.8, 79.3, 80.8),
    _row("UEGD, best layers", "frozen", _UEGD, 0.828, 0.748, 82.0, 83.9, 82.1, 84.0),
    _row("UEGD, weighted sum", "frozen", _UEGD, 0.818, 0.749, 80.4, 82.3, 80.4, 82.3),
    _row("UEGD, best layer", "frozen", _UEGD, 0.821, 0.746, 81.8, 83.6, 81.8, 83.6, inputs="T"),
    _row("UEGD, best layer", "frozen", _UEGD, 1.098, 0.521, 70.0, 70.9, 70.0, 71.0, inputs="A"),
    _row("UEGD, best layer", "frozen", _UEGD, 1.650, -0.091, 44.9, 43.4, 41.5, 40.1, inputs="V"),
    _row(
        "GLoMo",
        "fine-tuned",
        "GLoMo paper (one seed)",
        0.718,
        0.782,
        84.1,
        86.7,
        83.9,
        86.6,
        None,
        48.3,
    ),
    _row("SUGRM, unaligned", "fine-tuned", "SUGRM paper", 0.703, 0.800, 84.4, 86.3, 84.3, 86.3),
    _row(
        "EMT, complete",
        "fine-tuned",
        "EMT-DLFR paper (mean of 5)",
        0.705,
        0.798,
        83.3,
        85.0,
        83.2,
        85.0,
        54.1,
        47.4,
    ),
    _row(
        "MMML",
        "fine-tuned",
        "MMML paper (mean of 3)",
        0.6429,
        0.838,
        85.91,
        88.16,
        85.85,
        88.15,
        56.08,
        48.25,
        inputs="TA",
    ),
)

_MOSEI = (
    _row("UEGD, last layer", "frozen", _UEGD, 0.519, 0.776, 82.5, 85.8, 82.8, 85.7),
    _row("UEGD, best layers", "frozen", _UEGD, 0.506, 0.790, 82.4, 86.1, 82.7, 86.0),
    _row("UEGD, weighted sum", "frozen", _UEGD, 0.510, 0.785, 82.3, 85.7, 82.7, 85.6),
    _row("UEGD, best layer", "frozen", _UEGD, 0.540, 0.760, 81.7, 85.4, 82.2, 85.3, inputs="T"),
    _row("UEGD, best layer", "frozen", _UEGD, 0.605, 0.666, 77.4, 80.4, 77.9, 80.3, inputs="A"),
    _row("UEGD, best layer", "frozen", _UEGD, 0.766, 0.424, 70.4, 72.2, 71.0, 71.8, inputs="V"),
    _row(
        "GLoMo",
        "fine-tuned",
        "GLoMo paper (one seed)",
        0.539,
        0.771,
        83.7,
        86.5,
        84.0,
        86.4,
        None,
        55.0,
    ),
    _row("SUGRM, unaligned", "fine-tuned", "SUGRM paper", 0.544, 0.748, 83.7, 84.4, 83.6, 84.0),
    _row(
        "EMT, complete",
        "fine-tuned",
        "EMT-DLFR paper (mean of 5)",
        0.527,
        0.774,
        83.4,
        86.0,
        83.7,
        86.0,
        56.3,
        54.5,
    ),
    _row(
        "MMML",
        "fine-tuned",
        "MMML paper, Table 1 (mean of 3)",
        0.5174,
        0.7908,
        86.32,
        86.73,
        86.23,
        86.49,
        57.32,
        54.95,
        inputs="TA",
    ),
)


def _sims(
    system: str, source: str, mae: float, corr: float, *percent: float, inputs: str = "TAV"
) -> Published:
    """MAE, Corr, then Acc-2, Acc-3, Acc-5 and F1 in percent."""
    keys = ("Mult_acc_2", "Mult_acc_3", "Mult_acc_5", "F1_score")
    shares = {k: round(v / 100, 6) for k, v in zip(keys, percent, strict=True)}
    return Published(system, inputs, "fine-tuned", source, shares | {"MAE": mae, "Corr": corr})


_SIMS = (
    _sims("EMT, complete", "EMT-DLFR paper", 0.396, 0.623, 80.1, 67.4, 43.5, 80.1),
    _sims("MMML", "MMML paper", 0.332, 0.7326, 82.93, 69.37, 49.38, 82.9, inputs="TA"),
    _sims("MMML, text only", "MMML paper", 0.4265, 0.594, 79.21, 65.06, 42.02, 79.14, inputs="T"),
)

_CHERMA_F1 = {
    "F1_anger": 0.7748,
    "F1_disgust": 0.5088,
    "F1_fear": 0.7492,
    "F1_happy": 0.8173,
    "F1_neutral": 0.7013,
    "F1_sad": 0.8133,
    "F1_surprise": 0.7063,
}
_CLASSES: Mapping[str, tuple[Published, ...]] = {
    "urfunny": (
        Published("GLoMo", "TAV", "fine-tuned", "GLoMo paper (one seed)", {"Accuracy": 0.7495}),
    ),
    "mustard": (
        Published(
            "GLoMo",
            "TAV",
            "fine-tuned",
            "GLoMo paper (one seed; 68 test clips that it does not name)",
            {"Accuracy": 0.8386},
        ),
    ),
    # on published features of all three modalities: nothing but the fusion model was trained
    "cherma": (
        Published(
            "GLoMo",
            "TAV",
            "frozen",
            "GLoMo paper (one seed)",
            {"Weighted_F1": 0.7362, **_CHERMA_F1},
        ),
    ),
}
