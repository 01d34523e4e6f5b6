"""One look of a model in all figures: its colour and dash, with a marker for what it reads.

A row of several modalities has its model's colour; a row of one has that of the modality, as its
letter in the tables. The dash is the model's in both: rows of up to seven models are all drawn
differently.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..results import Report
from .canvas import MODALITY_COLOURS, MODALITY_MARKERS, MODELS

DASHES: tuple[tuple[float, ...], ...] = (
    (),
    (5, 2),
    (1, 1.3),
    (6, 1.5, 1, 1.5),
    (9, 2.5),
    (3, 1.2),
    (5, 1.5, 1, 1.5, 1, 1.5),
)
"""In line widths, dash and gap by turns; () is a solid line."""


@dataclass(frozen=True)
class RowStyle:
    """How a row is drawn."""

    colour: str
    dashes: tuple[float, ...]
    marker: str

    @property
    def line(self) -> Any:
        """The dash as matplotlib takes it."""
        return (0, self.dashes) if self.dashes else "-"


def model_styles(report: Report) -> Mapping[str, RowStyle]:
    """The look of every model on several modalities, in the order of the table."""
    return {
        model: RowStyle(MODELS[number % len(MODELS)], DASHES[number % len(DASHES)], "o")
        for number, model in enumerate(dict.fromkeys(row.model for row in report.rows))
    }


def row_styles(report: Report) -> Mapping[str, RowStyle]:
    """The look of every row, by its name."""
    models = model_styles(report)
    return {
        row.name: RowStyle(
            MODALITY_COLOURS.get(row.letters, models[row.model].colour),
            models[row.model].dashes,
            MODALITY_MARKERS.get(row.letters, "o"),
        )
        for row in report.rows
    }
