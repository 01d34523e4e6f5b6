"""`sedimental cache`: look at stores, check them, change their format, remove them."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..console import bars, err, fail, out, print_json

if TYPE_CHECKING:
    from rich.table import Table

app = typer.Typer(
    no_args_is_help=True,
    help="Feature stores: list, describe, verify and repair, convert, remove.",
)

StorePath = Annotated[Path, typer.Argument(help="Folder of the store.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


class Format(StrEnum):
    """What one part of a store is."""

    zarr = "zarr"
    hdf5 = "hdf5"


@app.command()
def ls(
    config: Annotated[
        Path, typer.Option("--config", "-c", help="The pipeline whose cache to list.")
    ] = Path("pipeline.toml"),
    root: Annotated[
        Path | None, typer.Option("--root", help="A cache root to list instead.")
    ] = None,
    json: Json = False,
) -> None:
    """List all stores of a cache: encoder, clips, frames, size, and whether each is complete."""
    from .store import list_stores
    from .summary import brief, size_text, weights_text

    lines = [brief(path) for path in list_stores(root or _cache_root(config))]
    if json:
        print_json(lines)
        return
    columns = [
        "corpus",
        "modality",
        "encoder",
        "weights",
        "layers",
        "clips",
        "frames",
        "size",
        "format",
        "state",
    ]
    table = _table(*columns, right={"layers", "clips", "frames", "size"})
    for line in lines:
        if "fault" in line:
            table.add_row(line["corpus"], "", line["store"], *[""] * 6, "[red]cannot be opened")
            err().print(line["fault"], style="red", markup=False, soft_wrap=True)
            continue
        table.add_row(
            line["corpus"],
            line["modality"],
            line["encoder"],
            weights_text(line),
            str(line["layers"]),
            str(line["clips"]) + (f" ({line['failed']} failed)" if line["failed"] else ""),
            str(line["frames"]),
            size_text(line["bytes"]),
            ", ".join(line["formats"]),
            "complete" if line["complete"] else "[yellow]incomplete",
        )
    out().print(table)


@app.command()
def info(path: StorePath, json: Json = False) -> None:
    """Describe one store: its encoder and settings, its clips per split, its layers' statistics."""
    from .errors import SedimentalError
    from .summary import full

    try:
        found = full(path)
    except SedimentalError as fault:
        fail(str(fault))
    if json:
        print_json(found)
    else:
        for table in _described(found):
            out().print(table)


@app.command()
def verify(
    path: StorePath,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Remove what is damaged, so that `extract` writes it anew."),
    ] = False,
    json: Json = False,
) -> None:
    """Read every byte of a store and compare it with its checksums. Exit code 1: it is damaged."""
    from .errors import SedimentalError
    from .summary import size_text
    from .verify import verify as check

    try:
        with bars() as progress:
            verdict = check(path, repair, progress)
    except SedimentalError as fault:
        fail(str(fault))
    if json:
        damage = [
            {"file": str(one.file), "what": one.what, "clips": one.clips} for one in verdict.damage
        ]
        print_json(
            {
                "path": str(path),
                "parts": verdict.parts,
                "intact_bytes": verdict.nbytes,
                "damage": damage,
                "clips": verdict.clips,
                "repaired": bool(damage) and verdict.repaired,
            }
        )
    else:
        _say_verdict(verdict, size_text(verdict.nbytes))
    if verdict.damage and not verdict.repaired:
        raise typer.Exit(1)


@app.command()
def convert(
    path: StorePath,
    to: Annotated[Format, typer.Option("--to", help="The format every part shall have.")],
    into: Annotated[
        Path | None,
        typer.Option("--into", help="Write a copy below this folder and leave the store as it is."),
    ] = None,
    json: Json = False,
) -> None:
    """Give a store another format, bit for bit; set [cache] format in pipeline.toml to match."""
    from .convert import convert as change
    from .errors import SedimentalError

    try:
        with bars() as progress:
            target = change(path, to.value, into, progress)
    except SedimentalError as fault:
        fail(str(fault))
    if json:
        print_json({"path": str(target), "format": to.value})
    else:
        out().print(f"{target}: every part is {to.value}", highlight=False, soft_wrap=True)


@app.command()
def rm(
    path: StorePath,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Remove a whole store. Its features can only come back by extracting again."""
    from .durable import explained, remove
    from .errors import SedimentalError
    from .records import STORE
    from .summary import brief, size_text

    if not (path / STORE).is_file():
        fail(f"{path}: no feature store here ({STORE} is missing); nothing was removed.")
    line = brief(path)
    what = f"{line.get('clips', '?')} clips, {size_text(line.get('bytes', 0))}"
    if not yes and not typer.confirm(f"Remove {path} ({what})?", err=True):
        fail("nothing was removed.")
    try:
        with explained(path):
            remove(path.resolve())
    except SedimentalError as fault:
        fail(str(fault))
    if json:
        print_json({"removed": str(path), "bytes": line.get("bytes")})
    else:
        out().print(f"{path}: removed ({what})", highlight=False, soft_wrap=True)


def _cache_root(config: Path) -> Path:
    from ..config import ConfigError, load_config

    try:
        return load_config(config).cache.root
    except ConfigError as faults:
        fail(str(faults), 2)


def _table(*columns: str, right: set[str] | None = None) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, justify="right" if column in (right or ()) else "left")
    return table


def _described(found: dict[str, Any]) -> "list[Table]":
    from .summary import size_text, weights_text

    head = _table("store", found["path"])
    spec = found["spec"]
    rows = {
        "encoder": f"{spec['modality']} {spec['encoder']} ({spec['source']})",
        "weights": weights_text(found),
        "revision": spec["revision"] or "-",
        "layers": f"{', '.join(spec['layers'])} (width {spec['width']}, {spec['dtype']})",
        "holds": f"{found['clips']} clips, {found['frames']} frames, {size_text(found['bytes'])} "
        f"in {found['parts']} parts ({', '.join(found['formats']) or 'empty'})",
        "state": "complete" if found["complete"] else "incomplete",
        "side arrays": ", ".join(found["side_arrays"]),
        "fingerprint": found["fingerprint"],
    }
    rows |= {f"  {key}": str(value) for key, value in spec["preprocessing"].items()}
    rows |= {f"  ({key})": str(value) for key, value in spec["recorded"].items()}
    for key, value in rows.items():
        head.add_row(key, value)
    tables = [head]
    if found["coverage"]:
        coverage = _table("split", "clips", "held", "failed", right={"clips", "held", "failed"})
        for split, count in found["coverage"].items():
            coverage.add_row(split, *(str(count[k]) for k in ("clips", "held", "failed")))
        tables.append(coverage)
    layers = _table("layer", "mean", "std", "largest", right={"mean", "std", "largest"})
    for name, one in found["statistics"].items():
        layers.add_row(name, *(f"{one[k]:.4g}" for k in ("mean", "std", "absmax")))
    tables.append(layers)
    if found["failures"]:
        failures = _table("failed clip", "reason")
        for clip, reason in found["failures"].items():
            failures.add_row(clip, reason)
        tables.append(failures)
    return tables


def _say_verdict(verdict: Any, size: str) -> None:
    if not verdict.damage:
        out().print(f"{verdict.path}: {verdict.parts} parts, {size}, every byte as it was written")
        return
    table = _table("file", "damage", "clips")
    for one in verdict.damage:
        clips = ", ".join(one.clips[:3]) + (
            f" and {n} more" if (n := len(one.clips) - 3) > 0 else ""
        )
        table.add_row(one.file.name, one.what, clips)
    out().print(table)
    out().print(
        f"{len(verdict.clips)} clips affected. "
        + (
            "What was damaged is removed: `sedimental extract` writes these clips anew."
            if verdict.repaired
            else f"`sedimental cache verify --repair {verdict.path}` removes what is damaged."
        ),
        soft_wrap=True,
    )
