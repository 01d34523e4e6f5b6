"""`sedimental extract`: fill the stores, then say what is in them and what failed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..console import bars, err, fail, out, print_json

if TYPE_CHECKING:
    from ..config import Config
    from .outcome import ExtractResult

ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", help="The pipeline to run.", show_default=True)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
SHOWN = 10
"""Failed clips listed on the terminal; failures.csv has them all."""


def extract_command(
    config: ConfigFile = Path("pipeline.toml"),
    json: AsJson = False,
    encoders: Annotated[
        bool, typer.Option("--encoders", help="List the encoders known by name, and stop.")
    ] = False,
) -> None:
    """Run the frozen encoders over the corpus and keep every layer's hidden states.

    Resumes where it was stopped, makes nothing twice, and survives clips that cannot be read:
    they are listed in failures.csv and the command ends with exit code 3.
    """
    if encoders:
        return _list_encoders(json)
    result = extract_stage(load(config))
    if json:
        print_json(result_json(result))
    else:
        show_result(result)
    if result.failures:
        raise typer.Exit(3)


def load(path: Path) -> "Config":
    """The checked pipeline at `path`; ends the command with exit code 2 on any fault."""
    from ..config import ConfigError, load_config
    from .encoders.presets import encoder_faults

    try:
        return load_config(path, [encoder_faults])
    except ConfigError as faults:
        fail(str(faults), 2)


def extract_stage(config: "Config") -> "ExtractResult":
    """Extract with progress on stderr; ends the command with a clear message on any fault."""
    from ..cache.errors import ManifestError, SedimentalError
    from ..config import ConfigError
    from .run import extract

    try:
        with bars() as progress:
            return extract(config, progress)
    except (ConfigError, ManifestError) as fault:
        fail(str(fault), 2)
    except SedimentalError as fault:
        fail(str(fault))
    except KeyboardInterrupt:
        fail("stopped; every part that was written is kept, the next run goes on from there.", 130)


def show_result(result: "ExtractResult") -> None:
    """The table of stores and the failures, for people."""
    from rich.table import Table

    table = Table(title=f"features of {result.corpus}", title_justify="left")
    for name in ("store", "weights"):
        table.add_column(name)
    for name in ("clips", "new", "failed", "frames", "MB", "train", "valid", "test"):
        table.add_column(name, justify="right")
    for store in result.stores:
        table.add_row(
            store.path.name,
            store.weights
            if not store.weights.startswith("random")
            else f"untrained {store.weights}",
            str(store.held + store.new),
            str(store.new),
            str(store.failed),
            str(store.frames),
            f"{store.bytes / 1e6:.1f}",
            *(f"{have}/{of}" for have, of in store.coverage.values()),
        )
    out().print(table)
    if result.failures:
        for failure in result.failures[:SHOWN]:
            err().print(
                f"{failure.clip}  no {failure.modality} ({failure.stage}): {failure.reason}",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )
        if len(result.failures) > SHOWN:
            err().print(f"… and {len(result.failures) - SHOWN} more", highlight=False)
        for reason, count in result.reasons.items():
            err().print(f"{count:6d} x {reason}", highlight=False, markup=False)
        err().print(f"all of them: {result.failures_file}", highlight=False, soft_wrap=True)


def result_json(result: "ExtractResult") -> dict[str, object]:
    """What `--json` prints."""
    return {
        "corpus": result.corpus,
        "device": result.device,
        "seconds": round(result.seconds, 2),
        "stores": [vars(store) for store in result.stores],
        "failures": [vars(failure) for failure in result.failures],
        "failures_file": str(result.failures_file),
        "reasons": dict(result.reasons),
    }


def _list_encoders(json: bool) -> None:
    from rich.table import Table

    from .encoders.presets import PRESETS

    rows = [
        {
            "encoder": name,
            "modality": preset.modality,
            "hub": preset.hub,
            "weights": preset.weights,
        }
        for name, preset in PRESETS.items()
    ]
    if json:
        return print_json(rows)
    table = Table("modality", "encoder", "Hub id", "default weights")
    for row in sorted(rows, key=lambda r: str(r["modality"])):
        untrained = row["hub"] is None
        table.add_row(
            str(row["modality"]),
            str(row["encoder"]),
            str(row["hub"] or "-"),
            f"untrained ({row['weights']})" if untrained else "trained, from the Hub",
        )
    out().print(table)
    out().print("Any other Hub id or `save_pretrained` folder of these families works as well.")
