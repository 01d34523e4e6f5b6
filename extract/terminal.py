"""What extraction has to show on a terminal: tables and lines of text, printed by cli.py."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from textwrap import fill
from typing import TYPE_CHECKING

from rich.table import Table

from ..cache.spec import is_untrained
from ..cache.summary import size_text
from ..progress import duration_text

if TYPE_CHECKING:
    from .doctor import Diagnosis
    from .fetch import Fetched
    from .result import ExtractResult

CELL = 60
"""Characters of a line in a table of facts: it fits a terminal of 80."""
LONG = 600.0
"""Seconds from which on it is said how a run could be shorter."""


def store_table(result: "ExtractResult") -> Table:
    """A row a store: what it holds, what is new, what failed, coverage by split."""
    table = Table(title=f"features of {result.corpus}", title_justify="left")
    for name in ("store", "weights"):
        table.add_column(name, overflow="fold")
    for name in ("clips", "new", "failed", "frames", "size", "train", "valid", "test"):
        table.add_column(name, justify="right")
    for store in result.stores:
        untrained = is_untrained(store.weights)
        table.add_row(
            store.path.name,
            f"untrained {store.weights}" if untrained else store.weights,
            str(store.held + store.new),
            str(store.new),
            str(store.failed),
            str(store.frames),
            size_text(store.bytes),
            *(f"{have}/{of}" for have, of in store.coverage.values()),
        )
    return table


def stage_table(result: "ExtractResult") -> Table:
    """A row a stage: how busy it was, and how fast while it was."""
    title = f"{result.seconds:.1f} s on {result.device}, of which"
    table = Table(title=title, title_justify="left")
    table.add_column("stage")
    for name in ("threads", "busy s", "of the time", "items", "items/s"):
        table.add_column(name, justify="right")
    for stage in result.stages:
        table.add_row(
            stage.stage,
            str(stage.threads),
            f"{stage.busy:.1f}",
            f"{stage.share:.0%}",
            f"{stage.items:.0f} {stage.unit}",
            f"{stage.rate:.1f}",
        )
    return table


def diagnosis_tables(diagnosis: "Diagnosis") -> tuple[Table, ...]:
    """The corpus and the machine; the stores, where any encoder can be had."""
    about = Table(title=f"corpus {diagnosis.corpus}", title_justify="left", show_header=False)
    for label, value in _facts(diagnosis).items():
        about.add_row(label, value)
    stores = Table(title="stores", title_justify="left")
    stores.add_column("store, weights", overflow="fold")
    for name in ("there", "to do", "will\nfail", "size", "time"):
        stores.add_column(name, justify="right")
    for store in diagnosis.stores:
        stores.add_row(
            f"{store.path.name}\n{store.weights}",
            str(store.held),
            str(store.todo),
            str(store.failed),
            size_text(store.bytes),
            "-" if store.seconds is None else duration_text(store.seconds),
        )
    return (about, stores) if diagnosis.stores else (about,)


def _facts(diagnosis: "Diagnosis") -> Mapping[str, str]:
    splits = ", ".join(f"{count} {name}" for name, count in diagnosis.splits.items())
    facts = {"clips": f"{sum(diagnosis.splits.values())}: {splits}"}
    if diagnosis.listed:
        bad = f", {len(diagnosis.unreadable)} cannot be opened" if diagnosis.unreadable else ""
        lost = f" of {diagnosis.listed}" if diagnosis.media < diagnosis.listed else ""
        facts["media files"] = f"{diagnosis.media}{lost}{bad}"
    if (lengths := diagnosis.lengths) is not None:
        shortest, longest = f"{lengths.shortest:.1f}", f"{lengths.longest:.1f}"
        span = f"{shortest} to {longest} s, {lengths.mean:.1f} s on average"
        each = f"{longest} s" if shortest == longest else span
        facts["length"] = f"{duration_text(lengths.total)} in all; clips of {each}"
    facts["disk"] = f"{_needed(diagnosis)}{size_text(diagnosis.disk_free)} free"
    facts["device"] = f"{diagnosis.device} in {diagnosis.precision}, "
    facts["device"] += f"{diagnosis.workers} decoding threads"
    versions = ", ".join(f"{name} {v}" for name, v in diagnosis.versions.items())
    facts["versions"] = fill(versions, CELL, break_on_hyphens=False)
    if diagnosis.seconds is not None:
        facts["time"] = f"about {duration_text(diagnosis.seconds)}{faster_text(diagnosis)}"
    return facts


def _needed(diagnosis: "Diagnosis") -> str:
    """What is needed on disk, as far as it is known."""
    if diagnosis.unavailable and not diagnosis.stores:
        return ""
    least = "at least " if diagnosis.unavailable else ""
    return f"{least}{size_text(diagnosis.disk_needed)} needed, "


def faster_text(diagnosis: "Diagnosis") -> str:
    """The way to a shorter run, where it is long enough to mind."""
    if diagnosis.faster is None or (diagnosis.seconds or 0) < LONG:
        return ""
    return f', half of it with extract.precision = "{diagnosis.faster}"'


def plan_text(diagnosis: "Diagnosis") -> str:
    """The plan in a few lines: a line a store, then disk and device."""
    lines = [
        f"{store.path.name}: {store.todo} clips to do"
        + (f", {store.held} there" if store.held else "")
        + f"; about {store.frames} frames, {size_text(store.bytes)}; weights: {store.weights}"
        for store in diagnosis.stores
    ]
    facts = _facts(diagnosis)
    return "\n".join([*lines, f"disk: {facts['disk']}; device: {facts['device']}"])


def findings_text(diagnosis: "Diagnosis", errors: bool = True) -> str:
    """What is wrong, a line each, worst first; without `errors` the warnings alone."""
    levels = ("error", "warning", "note")
    found = sorted(diagnosis.findings, key=lambda f: levels.index(f.level))
    return "\n".join(f"{f.level}: {f.text}" for f in found if errors or f.level == "warning")


def diagnosis_json(diagnosis: "Diagnosis") -> dict[str, object]:
    """What `doctor --json` prints."""
    return asdict(diagnosis) | {"ok": not diagnosis.errors}


def fetched_table(found: "Sequence[Fetched]") -> Table:
    """A row an encoder: where its weights are, and how many."""
    table = Table("modality", "encoder", "weights", "commit", "parameters")
    for one in found:
        where = "cannot be had" if one.fault else one.weights
        count = f"{one.parameters / 1e6:.1f} M" if one.parameters else "-"
        table.add_row(one.modality, one.encoder, where, one.revision or "-", count)
    return table


def encoder_rows() -> list[dict[str, object]]:
    """The encoders known by name, by modality."""
    from .encoders.presets.table import PRESETS

    rows: list[dict[str, object]] = [
        {
            "encoder": name,
            "modality": preset.modality,
            "hub": preset.hub,
            "weights": preset.weights,
        }
        for name, preset in PRESETS.items()
    ]
    return sorted(rows, key=lambda row: str(row["modality"]))


def encoder_table() -> Table:
    """A row an encoder."""
    table = Table("modality", "encoder", "Hub id", "default weights")
    words = {"hub": "trained, from the Hub", "none": "none: computed from the signal"}
    for row in encoder_rows():
        weights = str(row["weights"])
        table.add_row(
            str(row["modality"]),
            str(row["encoder"]),
            str(row["hub"] or "-"),
            words.get(weights, f"untrained ({weights})"),
        )
    return table
