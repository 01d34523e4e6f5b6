"""One number in a table of the page: its text, what stands beside it, and how its column sorts."""

import math
import re
from dataclasses import dataclass
from typing import Any

from ..protocols import Metric


@dataclass(frozen=True)
class Cell:
    """One number of a table: what is shown, and what the column is sorted by."""

    text: str
    order: str = ""
    """A number for sorting; empty: sorts last."""
    beside: str = ""
    """After the text, smaller: the spread over seeds."""
    below: str = ""
    """Under the text, smaller: the interval."""
    strong: bool = False
    """Whether it is the best of its column."""
    certain: bool = False
    """Whether it is a difference whose interval excludes zero."""
    wide: bool = False
    """Whether `beside` has three decimals: keeps the means of a column under each other."""


def plain_cell(metric: Metric, value: float) -> Cell:
    """`value` alone."""
    return Cell(minus(metric.show(value)), order(value))


def order(value: float) -> str:
    """What a cell with `value` is sorted by."""
    return repr(float(value)) if math.isfinite(value) else ""


def minus(text: Any) -> str:
    """Hyphens before digits as true minus signs, as wide as the plus and figures around them."""
    return re.sub(r"(?<![\w.])-(?=\d)", "\N{MINUS SIGN}", str(text))
