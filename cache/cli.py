"""`sedimental cache`: look at stores, check them, change their format, remove them."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..command_line import STORES, App
from ..console import (
    PIPELINE,
    AsJson,
    ConfigFile,
    PipelineFile,
    bars,
    fail,
    out,
    places,
    print_json,
    say,
    tell,
)
from ..escape import for_terminal
from .exchange.cli import export_command, import_command

app = App(
    help="Feature stores: list, describe, verify and repair, convert, remove, import, export.",
)

app.command("import")(import_command)
app.command("export")(export_command)

StoreName = Annotated[
    str,
    typer.Argument(
        metavar="STORE",
        help="As `cache ls` names it, the beginning of that, or its folder.",
        show_default=False,
        autocompletion=STORES,
    ),
]


def _store(name: str, config: PipelineFile) -> Path:
    """The folder of the store called `name`."""
    from .store.names import named_store

    if Path(name).exists() or not config.path.exists():
        return Path(name)
    return named_store(name, places(config).cache.root)


@app.command()
def ls(
    config: ConfigFile = PIPELINE,
    root: Annotated[
        Path | None, typer.Option("--root", help="A cache root to list instead.")
    ] = None,
    json: AsJson = False,
) -> None:
    """List all stores of a cache: encoder, clips, frames, size, and whether each is complete."""
    from .store.store import list_stores
    from .summary import brief
    from .tables import stores_table

    lines = [brief(path) for path in list_stores(root or places(config).cache.root)]
    if json:
        print_json(lines)
        return
    out().print(stores_table(lines))
    for line in lines:
        if "fault" in line:
            tell(line["fault"], "red")


@app.command()
def info(store: StoreName, config: ConfigFile = PIPELINE, json: AsJson = False) -> None:
    """Describe one store: its encoder and settings, its clips per split, its layers' statistics."""
    from .summary import full
    from .tables import store_tables

    found = full(_store(store, config))
    if json:
        print_json(found)
    else:
        for table in store_tables(found):
            out().print(table)


@app.command()
def verify(
    store: StoreName,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Remove what is damaged, so that `extract` writes it anew."),
    ] = False,
    config: ConfigFile = PIPELINE,
    json: AsJson = False,
) -> None:
    """Read every byte of a store and compare it with its checksums. Exit code 1: it is damaged."""
    from .store.verify import verify as check
    from .summary import size_text
    from .tables import damage_table

    path = _store(store, config)
    with bars() as progress:
        verdict = check(path, repair, progress)
    found = [{"file": str(d.file), "what": d.what, "clips": d.clips} for d in verdict.damage]
    if json:
        print_json(
            {
                "path": str(path),
                "parts": verdict.parts,
                "intact_bytes": verdict.nbytes,
                "damage": found,
                "clips": verdict.clips,
                "repaired": verdict.repaired,
            }
        )
    elif found:
        out().print(damage_table(verdict))
        way_out = (
            "What was damaged is removed: `sedimental extract` writes the clips anew."
            if verdict.repaired
            else f"`sedimental cache verify --repair {path}` removes what is damaged."
        )
        say(f"{len(verdict.clips)} clips affected. {way_out}")
    else:
        intact = f"{verdict.parts} parts, {size_text(verdict.nbytes)}: every byte as written"
        say(f"{path}: {intact}")
    if found and not verdict.repaired:
        raise typer.Exit(1)


@app.command()
def convert(
    store: StoreName,
    to: Annotated[
        Literal["zarr", "hdf5"], typer.Option("--to", help="The format every part shall have.")
    ],
    into: Annotated[
        Path | None,
        typer.Option("--into", help="Write a copy below this folder and leave the store as it is."),
    ] = None,
    config: ConfigFile = PIPELINE,
    json: AsJson = False,
) -> None:
    """Give a store another format, bit for bit; `format` in pipeline.toml should follow."""
    from .store.convert import convert as change

    with bars() as progress:
        target = change(_store(store, config), to, into, progress)
    if json:
        print_json({"path": str(target), "format": to})
    else:
        say(f"{target}: every part is {to}")


@app.command()
def rm(
    store: StoreName,
    config: ConfigFile = PIPELINE,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: AsJson = False,
) -> None:
    """Remove a whole store. Its features can only come back by extracting again."""
    from .store.remove import refuse_foreign, remove_store
    from .summary import brief, size_text

    path = _store(store, config)
    refuse_foreign(path)
    line = brief(path)
    what = f"{line.get('clips', '?')} clips, {size_text(line.get('bytes', 0))}"
    if not yes and not typer.confirm(for_terminal(f"Remove {path} ({what})?"), err=True):
        fail("nothing was removed.")
    remove_store(path)
    if json:
        print_json({"removed": str(path), "bytes": line.get("bytes")})
    else:
        say(f"{path}: removed ({what})")
