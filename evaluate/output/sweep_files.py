"""A sweep as files to use elsewhere: figures, every layer as CSV, the comparison as Markdown."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from ...cache.store.atomic_write import replace
from ...cache.sweeps import Sweep
from ...escape import for_csv, for_markdown
from ..figures.layer_curves import sweep_figures
from ..layer_comparison import (
    comparisons,
    is_compared,
    layer_lines,
    metric_keys,
    protocol_of_sweep,
)
from .tables import spread_text


def write_sweep_files(experiment: str | Path, sweeps: Sequence[Sweep]) -> tuple[Path, ...]:
    """Write into the folder of the last of `sweeps` below `experiment`; returns the files.

    ``layers.csv`` (a row a layer: mean and deviation of every metric, fractions), ``layers.md``
    (the comparison) and a ``layers-<metric>.svg`` a figure.
    """
    folder = Path(experiment) / sweeps[-1].kind
    files = {"layers.csv": to_csv(sweeps[-1]), "layers.md": to_markdown(sweeps)}
    for drawing in sweep_figures(sweeps):
        files[f"layers-{drawing.key.removeprefix('sweep-')}.svg"] = alone(drawing.svg)
    return tuple(replace(folder / name, text) for name, text in files.items())


def to_csv(sweep: Sweep) -> str:
    """A row a single layer; each metric of each split as ``<split>_<key>_mean`` and ``_std``. Test
    is left empty but for the picked and the last layer (`is_compared`)."""
    keys = [m.key for m in protocol_of_sweep(sweep).metrics]
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    pairs = [(split, key) for split in ("valid", "test") for key in keys]
    heads = [f"{split}_{key}_{part}" for split, key in pairs for part in ("mean", "std")]
    table.writerow(["model", "modality", "layer", "seeds", "picked", *heads])
    for line in layer_lines(sweep):
        numbers: list[str] = []
        shown = is_compared(sweep, line)
        for split, key in pairs:
            spread = line.spread(split, key)
            kept = shown or split == "valid"
            numbers += [_field(spread.mean), _field(spread.std)] if kept else ["", ""]
        own = [
            for_csv(line.arm),
            line.letters,
            line.layers,
            len(line.point.seeds),
            int(line.picked),
        ]
        table.writerow([*own, *numbers])
    return out.getvalue()


def to_markdown(sweeps: Sequence[Sweep]) -> str:
    """The comparison of layers, mean ± deviation over seeds on test; picked lines in bold."""
    sweep = sweeps[-1]
    protocol, first = protocol_of_sweep(sweep), metric_keys(sweep)[0]
    metrics = protocol.leading
    heads = [for_markdown(m.key) + (" ↑" if m.higher else " ↓") for m in metrics]
    rows = [
        ["Inputs", "Model", "Layers", f"valid {for_markdown(first)}", *heads],
        ["---", "---", "---", *["---:"] * (len(metrics) + 1)],
    ]
    for line in comparisons(sweeps):
        seeds = line.point.count
        cells = [protocol.metric(first).show(line.spread("valid", first).mean)]
        cells += [spread_text(m, line.spread("test", m.key), seeds) for m in metrics]
        words = line.choice
        if words == "picked layers":
            words += f" {line.layers}"
        strong = "**" if line.picked and not line.linear else ""
        own = [line.letters, for_markdown(line.arm), words]
        rows.append([f"{strong}{text}{strong}" for text in [*own, *cells]])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def alone(svg: str) -> str:
    """A figure of the page as a file of its own: with its namespace, on white, in dark ink."""
    head = '<svg xmlns="http://www.w3.org/2000/svg" style="background:#fff;color:#1b1f24" '
    style = "<style>text{font-family:system-ui,sans-serif}</style>"
    first, rest = svg.split(">", 1)
    return first.replace("<svg ", head, 1) + ">" + style + rest + "\n"


def _field(value: float) -> str:
    return "" if value != value else repr(float(value))
