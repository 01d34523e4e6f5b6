"""Numbers printed in papers, to stand beside ours on the same corpus: those of published.csv.

There shares are in percent, MAE and Corr in label units, whatever scale the paper prints. CHERMA's
are on published features of all three modalities: nothing but the fusion model was trained.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

UNITS = ("MAE", "Corr")
"""Metrics that are no share."""


@dataclass(frozen=True)
class Published:
    """One line of a paper's results table."""

    system: str
    inputs: str
    """Modalities as letters."""
    training: str
    """``frozen`` or ``fine-tuned``: whether the encoders were frozen, as here, or trained along,
    which matters most for a fair reading."""
    source: str
    values: Mapping[str, float]
    """As `metrics.score` returns them: shares as fractions."""


def published_for(corpus: str) -> tuple[Published, ...]:
    """Published results on the corpus of that name; none for a corpus we know none for.

    >>> published_for("my-holiday-videos")
    ()
    """
    name = corpus.lower().replace("_", "").replace("-", "")
    known = ("mosei", "mosi", "sims", "urfunny", "mustard", "cherma")
    named = next((key for key in known if key in name), None)
    if named == "sims" and "v2" in name:
        return ()
    return tuple(line for key, line in _lines() if key == named)


@cache
def _lines() -> tuple[tuple[str, Published], ...]:
    """(corpus, line) of every line of the file."""
    text = (files(__package__) / "published.csv").read_text(encoding="utf-8")
    return tuple(map(_line, csv.DictReader(text.splitlines())))


def _line(row: dict[str, str]) -> tuple[str, Published]:
    corpus, system, inputs, training, source = list(row.values())[:5]
    values = {key: _value(key, text) for key, text in list(row.items())[5:] if text}
    return corpus, Published(system, inputs, training, source, values)


def _value(key: str, text: str) -> float:
    return float(text) if key in UNITS else round(float(text) / 100, 6)
