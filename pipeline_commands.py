"""`sedimental init`, `explain` and `schema`: a pipeline.toml, and what may stand in it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .command_line import NAMES, PRESETS, presets
from .console import AsJson, fail, out, print_json, say
from .extract.transcribe.cli import with_table

if TYPE_CHECKING:
    from .explain import Entry


def init_command(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("pipeline.toml"),
    preset: Annotated[
        str,
        typer.Option(
            help=f"What to begin with; csv is a table of your own. {', '.join(presets())}.",
            autocompletion=PRESETS,
        ),
    ] = "demo",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    videos: Annotated[
        Path | None,
        typer.Option(help="Also write a table of the videos in this folder, without labels."),
    ] = None,
) -> None:
    """Write a pipeline.toml to start from, and beside it the schema that editors check it by."""
    from .cache.store.atomic_write import replace
    from .config import nearest
    from .schema import LINE, SCHEMA

    here = Path(__file__).parent
    preset = preset if videos is None else "csv"
    if preset not in presets():
        within = [name for name in presets() if f"-{name}" in preset]
        hint = nearest(within[0] if within else preset, presets())
        known = f" Known: {', '.join(presets())}."
        fail(f'--preset "{preset}": there is none of this name.{hint}{known}', 2)
    if path.exists() and not force:
        fail(f"{path} is there already. Name another file, or replace it with --force.", 2)
    folder = here if preset == "demo" else here / "extract/corpora/presets"
    text = (folder / f"{'pipeline' if preset == 'demo' else preset}.toml").read_bytes()
    if videos is not None:
        text = with_table(videos, path, text, force)
    replace(path, f"{LINE}\n".encode() + text)
    replace(path.with_name(SCHEMA), (here / SCHEMA).read_bytes())
    after = "look at [corpus], then `sedimental doctor` and `sedimental run`"
    after = after if videos is None else "`sedimental transcribe` comes next"
    told = f"wrote {path}: {after}. {SCHEMA} beside it is for editors."
    say(told)


def explain_command(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="A key (train.epochs, or epochs), a model (uegd), its option (uegd.hidden), an "
            "encoder (wavlm-large) or a metric (Non0_acc_2); without one all of them are listed.",
            autocompletion=NAMES,
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Say what a key, a model, an encoder or a metric is, and what may stand there."""
    from .config import nearest
    from .explain import everything, matching, names_of

    known = list(everything())
    if name is None:
        return _list(known, json)
    found = matching(name, known)
    if not found:
        hint = nearest(name, names_of(known)) or " `sedimental explain` lists what there is."
        fail(f"{name}: no key, model, option, encoder or metric.{hint}", 2)
    if json:
        return print_json([vars(entry) for entry in found])
    say("\n\n".join(map(_text, found)))


def schema_command(
    path: Annotated[
        Path | None, typer.Argument(help="File to write; without it, the schema is printed.")
    ] = None,
) -> None:
    """Write the JSON Schema of pipeline.toml, by which editors complete and check it."""
    from .cache.store.atomic_write import replace
    from .schema import as_text

    if path is None:
        return say(as_text())
    replace(path, as_text())
    say(f"wrote {path}: `#:schema ./{path.name}` in the first line of pipeline.toml names it.")


def _text(entry: "Entry") -> str:
    lines = [f"{entry.name}  ({entry.kind})", *entry.words.split("\n")]
    if entry.values:
        lines.append(f"value: {entry.values}; default: {entry.default}")
    lines += [f"{what}: {said}" for what, said in entry.facts.items() if said]
    return "\n  ".join(lines)


def _list(known: "Sequence[Entry]", json: bool) -> None:
    from rich.table import Table

    if json:
        return print_json([vars(entry) for entry in known])
    table = Table("kind", "name", "what it is", show_lines=False)
    for entry in known:
        if entry.kind != "option":  # two hundred; `explain MODEL` names its own
            table.add_row(entry.kind, entry.name, entry.words.split("\n")[0])
    out().print(table)
    say("`sedimental explain NAME` says more; options of a model are named as uegd.hidden.")
