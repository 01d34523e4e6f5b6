"""Predictions of new clips on the terminal: a line a clip, then what was missing."""

from typing import TYPE_CHECKING

from ...cache.spec import LETTERS
from ...escape import for_terminal
from ..prediction import Prediction
from ..protocols import protocol_of
from ..statistics import Spread
from .terminal import caution_lines, titled_table

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table


def prediction_to_terminal(found: Prediction) -> "Group":
    """The table and what a reader must know, as something rich can print."""
    from rich.console import Group
    from rich.text import Text

    lines = [
        Text(for_terminal(f"{clip.id}: no {modality}: {reason}"), style="yellow")
        for clip in found.clips
        for modality, reason in clip.missing.items()
    ]
    return Group(_table(found), *lines, *caution_lines(found.cautions))


def _table(found: Prediction) -> "Table":
    count = len(found.seeds)
    seeds = f"seed {found.seeds[0]}" if count == 1 else f"{count} seeds"
    about = "" if count == 1 else f"mean ± standard deviation over {seeds}"
    title = f"{found.row}, {seeds}, trained on {found.corpus}"
    table = titled_table(title, ("clip",), found.classes or ("score",), about)
    weighed = [m for m in found.modalities if any(m in clip.weights for clip in found.clips)]
    headed = [m for m in found.modalities if any(m in clip.alone for clip in found.clips)]
    kind = "there" if found.protocol == "emotions" else "class" if found.classes else "sentiment"
    table.add_column(kind, no_wrap=True)
    if not found.classes:
        finest = f"of {len(protocol_of(found.protocol).bins)}"
        table.add_column(finest, justify="right", no_wrap=True)
    table.add_column("from", no_wrap=True)
    heads = [f"weight {LETTERS[m]}" for m in weighed] + [f"{LETTERS[m]} alone" for m in headed]
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for clip in found.clips:
        numbers = [clip.probabilities.get(name) for name in found.classes] or [clip.score]
        table.add_row(
            for_terminal(clip.id),
            *(_number(spread, signed=not found.classes) for spread in numbers),
            clip.word or "",
            *([] if found.classes else [clip.level or ""]),
            "".join(LETTERS[m] for m in clip.used) or "nothing",
            *(f"{clip.weights[m]:.2f}" if m in clip.weights else "" for m in weighed),
            *(f"{clip.alone[m]:+.2f}" if m in clip.alone else "" for m in headed),
            style="" if clip.used else "dim",
        )
    return table


def _number(spread: Spread | None, signed: bool) -> str:
    """``+1.23 ± 0.04``; without a spread for one seed."""
    if spread is None:
        return ""
    mean = f"{spread.mean:+.2f}" if signed else f"{spread.mean:.2f}"
    return mean if len(spread.values) == 1 else f"{mean} ± {spread.std:.2f}"
