"""A sweep on the terminal: the layers side by side, the comparison, and the lines to paste."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...cache.spec import LETTERS
from ...cache.sweeps import Sweep
from ..layer_comparison import (
    Line,
    comparisons,
    is_compared,
    layer_lines,
    metric_keys,
    protocol_of_sweep,
    recommendation_words,
)
from .tables import spread_text
from .terminal import titled_table

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text


def to_terminal(sweeps: Sequence[Sweep]) -> "Group":
    """Everything about the last of `sweeps`; a probe beside it adds its rows to the comparison."""
    from rich.console import Group
    from rich.text import Text

    sweep = sweeps[-1]
    tables = [layer_table(sweep, arm) for arm in sweep.arms]
    if sweep.kind == "sweep" or len(sweep.encoders) > 1:
        tables.append(comparison_table(sweeps))
    best = sweep.best_arm()
    words = recommendation_words(sweep, best)
    by = "folds" if sweep.kind == "probe" else "validation"
    picked = f"Layers picked on {by} by {sweep.criterion}"
    said = f"Best of all that was tried, by validation. {words}" if words else f"{picked}."
    of = f" of {best}" if len(sweep.arms) > 1 else ""
    lead = f"{said} To paste into pipeline.toml{of}:"
    return Group(*tables, Text(TIES, style="dim"), Text(lead, style="dim"), Text(sweep.lines(best)))


TIES = (
    "~ as good as the best within its standard error; of such layers the middle one is picked. "
    "Test is shown of the picked, the last and the weighted alone."
)


def layer_table(sweep: Sweep, arm: str) -> "Table":
    """A row a layer; the validation and test scores of each modality beside each other."""
    from rich.text import Text

    first, second = metric_keys(sweep)
    lines = [line for line in layer_lines(sweep) if line.point.arm == arm]
    held = "folds" if sweep.kind == "probe" else "valid"
    heads = ["layer"]
    for letter in map(LETTERS.get, sweep.encoders):
        heads += [f"{letter} {held}\n{first}", f"{letter} test\n{first}", f"test\n{second}"]
    table = titled_table(f"{lines[0].arm} by layer, each modality alone", (), heads)
    names = dict.fromkeys(n for e in sweep.encoders.values() for n in e.layers)
    for name in names:
        cells: list[Text] = []
        for modality in sweep.encoders:
            own = [n for n in lines if n.point.choice == name and n.letters == LETTERS[modality]]
            cells += _layer_cells(sweep, own[0], first, second) if own else [Text("")] * 3
        table.add_row(name, *cells)
    return table


def _layer_cells(sweep: Sweep, line: Line, first: str, second: str) -> "list[Text]":
    """Held out with its error, and, of the picked and the last layer alone, two test scores."""
    from rich.text import Text

    protocol, error = protocol_of_sweep(sweep), line.point.error
    mean = protocol.metric(first).show(line.held_out(first).mean)
    beside = "" if error is None else f" ± {protocol.metric(first).show(error)}"
    style = "bold" if line.picked else ""
    found = [Text(f"{'~' if line.tied else ''}{mean}{beside}", style=style)]
    for key in (first, second):
        shown = is_compared(sweep, line)
        text = protocol.metric(key).show(line.spread("test", key).mean) if shown else ""
        found.append(Text(text, style=style))
    return found


def comparison_table(sweeps: Sequence[Sweep]) -> "Table":
    """A row a choice of layers, as in Tables 3 and 2 of UEGD."""
    from rich.text import Text

    sweep = sweeps[-1]
    protocol, keys = protocol_of_sweep(sweep), metric_keys(sweep)
    title = "test scores of the picked layers, beside the last and the weighted sum"
    numbers = [f"valid\n{keys[0]}", *(f"test\n{key}" for key in keys)]
    table = titled_table(title, ("inputs", "model", "layers"), numbers)
    for line in comparisons(sweeps):
        seeds = line.point.count
        cells = [spread_text(protocol.metric(k), line.spread("test", k), seeds) for k in keys]
        valid = protocol.metric(keys[0]).show(line.spread("valid", keys[0]).mean)
        style = "dim" if line.linear else "bold" if line.picked else ""
        row = (line.letters, line.arm, _choice(line), valid, *cells)
        table.add_row(*(Text(cell, style=style) for cell in row))
    return table


def _choice(line: Line) -> str:
    return f"{line.choice} {line.layers}" if line.choice == "picked layers" else line.choice
