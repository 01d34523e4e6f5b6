"""`sedimental runs`: what was trained, by name; nothing else ever removes a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...command_line import ROWS, App
from ...console import (
    PIPELINE,
    AsJson,
    ConfigFile,
    PipelineFile,
    fail,
    out,
    pipeline,
    print_json,
    say,
    tell,
)
from ...escape import for_terminal

if TYPE_CHECKING:
    from ...config import Config
    from .listing import Configuration

app = App()
Name = Annotated[
    str,
    typer.Argument(
        help='A row ("uegd TAV"), or what `runs ls` calls it, or its beginning.',
        autocompletion=ROWS,
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.callback()
def main() -> None:
    """List, compare, check and remove trained runs."""


@app.command("ls")
def list_command(config: ConfigFile = PIPELINE, json: AsJson = False) -> None:
    """List every configuration that was trained, and whether it is that of pipeline.toml."""
    from rich.table import Table

    from ... import runs as listed
    from ...cache.summary import size_text

    checked = pipeline(config)
    found = listed(checked)
    if json:
        return print_json([one.to_json() for one in found])
    metric = _first_metric(found, checked)
    table = Table("run", "seeds", f"valid {metric}", f"test {metric}", "size", "pipeline.toml")
    for one in found:
        seeds = ", ".join(str(run.seed) for run in one.runs)
        if one.superseded:
            seeds += f" (+{len(one.superseded)} earlier)"
        scores = [f"{one.mean(split, metric):.3f}" for split in ("valid", "test")]
        said = STATES[one.state] + (f": {one.reason}" if one.reason else "")
        table.add_row(one.name, seeds, *scores, size_text(one.nbytes), said)
    out().print(table)
    if not found:
        say(f"{checked.experiment}: no runs here. `sedimental train` makes them.")


STATES = {
    "current": "these settings",
    "settings": "other settings",
    "stale": "out of date",
    "earlier": "of an earlier version",
    "damaged": "damaged",
    "unchecked": "not checked",
}


@app.command()
def show(name: Name, config: ConfigFile = PIPELINE, json: AsJson = False) -> None:
    """Show one configuration in full: its settings, its seeds and their scores."""
    from rich.table import Table

    from ...cache.runs import read_run
    from ...cache.runs.identity import flat

    found = [(folder, read_run(folder)) for folder in _asked_folders(name, config)]
    run = found[0][1]
    settings = flat(run.identity.configuration) if run.identity else {}
    if json:
        return print_json(
            {
                "folders": [str(folder) for folder, _ in found],
                "row": run.row,
                "digest": run.identity and run.identity.digest,
                "configuration": run.identity and run.identity.configuration,
                "environment": run.environment,
                "seeds": {
                    str(own.seed): {
                        "key": own.key,
                        "best_epoch": own.best_epoch,
                        "seconds": own.seconds,
                        "metrics": own.metrics,
                    }
                    for _, own in found
                },
            }
        )
    say(f"{run.row}, {found[0][0].parent}")
    table = Table("setting", "value")
    for key, value in (*settings.items(), *run.environment.items()):
        table.add_row(key, str(value))
    out().print(table)
    keys = list(run.metrics["test"])
    table = Table("seed", "best epoch", *(f"test {key}" for key in keys))
    for _, own in found:
        scores = [f"{own.metrics['test'][key]:.3f}" for key in keys]
        table.add_row(str(own.seed), str(own.best_epoch), *scores)
    out().print(table)


@app.command()
def diff(first: Name, second: Name, config: ConfigFile = PIPELINE, json: AsJson = False) -> None:
    """Say in which settings two configurations differ."""
    from rich.table import Table

    from ...cache.runs import read_scores
    from ...cache.runs.identity import differences

    folders = [_folders(name, config)[0] for name in (first, second)]
    ours, theirs = (read_scores(folder).configuration for folder in folders)
    found = differences(ours, theirs)
    names = [folder.parent.name for folder in folders]
    if json:
        return print_json({"first": names[0], "second": names[1], "differences": found})
    table = Table("setting", *names)
    for key, values in found.items():
        table.add_row(key, *("unset" if value is None else str(value) for value in values))
    if found:
        out().print(table)
    else:
        say(f"{names[0]} and {names[1]}: the same configuration")


@app.command()
def rm(
    names: Annotated[
        list[str], typer.Argument(help="Runs, as `runs ls` calls them.", autocompletion=ROWS)
    ],
    config: ConfigFile = PIPELINE,
    yes: Yes = False,
    json: AsJson = False,
) -> None:
    """Remove runs; only training brings them back."""
    folders = [folder for name in names for folder in _any_folders(name, config)]
    _remove(list(dict.fromkeys(folders)), yes, json)


@app.command()
def pack(
    name: Name,
    target: Annotated[Path, typer.Argument(metavar="OUT.zip", help="File to write.")],
    config: ConfigFile = PIPELINE,
) -> None:
    """Pack the seeds of one configuration, with a model card, into a file to hand on."""
    from ...cache.runs import read_run
    from ...cache.runs.pack import pack as packed
    from .card import model_card

    if target.suffix != ".zip":
        fail(f"{target}: name a file that ends in .zip.", 2)
    folders = _asked_folders(name, config)
    packed(folders, model_card([read_run(folder) for folder in folders]), target)
    say(f"packed: {target}, {folders[0].parent.name}, {len(folders)} seeds")


@app.command()
def unpack(
    source: Annotated[
        Path, typer.Argument(metavar="FILE.zip", help="What `runs pack` wrote.", exists=True)
    ],
    into: Annotated[Path, typer.Option(help="Folder to unpack below.")] = Path(),
) -> None:
    """Unpack runs that were packed elsewhere, each byte compared with its checksum."""
    from ...cache.runs.pack import unpack as unpacked

    folders = unpacked(source, into)
    say(f"unpacked: {folders[0].parent}, {len(folders)} seeds; `predict` takes that folder")


@app.command()
def prune(
    config: ConfigFile = PIPELINE,
    stale: Annotated[
        bool, typer.Option("--stale", help="Also runs on an older table or older features.")
    ] = False,
    other: Annotated[
        bool, typer.Option("--other", help="Also runs of other settings than pipeline.toml has.")
    ] = False,
    yes: Yes = False,
    json: AsJson = False,
) -> None:
    """Remove runs that were trained again since (--fresh), and whatever else is asked for."""
    from ... import runs as listed
    from ...cache.runs.folder import list_superseded
    from .listing import all_runs

    checked = pipeline(config)
    kinds = {kind for kind, asked in (("stale", stale), ("settings", other)) if asked}
    doomed = [p for p in all_runs(checked.experiment) if p in set(list_superseded(p.parent.parent))]
    if kinds:
        doomed += [
            path
            for one in listed(checked)
            if one.state in kinds and one.runs
            for path in sorted(one.folder.glob("seed-*"))
        ]
    _remove(list(dict.fromkeys(doomed)), yes, json)


@app.command()
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME...", help="Only these runs.", autocompletion=ROWS),
    ] = None,
    config: ConfigFile = PIPELINE,
    json: AsJson = False,
) -> None:
    """Read every byte of runs, sweeps and probes and compare it with the checksums.

    Exit code 1: something is damaged; each file is named with the way out.
    """
    from ...console import working
    from .check import check

    checked = pipeline(config)
    chosen = [folder for name in names or () for folder in _folders(name, config)]
    with working(f"reading {checked.experiment}"):
        found = check(checked.experiment, chosen if names else None)
    if json:
        print_json({"runs": found.runs, "files": found.files, "damages": found.damages})
    else:
        for line in found.damages:
            tell(line, style="red")
        said = f"{len(found.damages)} damaged" if found.damages else "all whole"
        say(f"{checked.experiment}: {found.files} files of {found.runs} runs read: {said}")
    if found.damages:
        raise typer.Exit(1)


@app.command()
def migrate(config: ConfigFile = PIPELINE, json: AsJson = False) -> None:
    """Take the runs of earlier versions over: the same files, with an identity and checksums."""
    from ...cache.runs.migrate import earlier_runs
    from ...cache.runs.migrate import migrate as take_over
    from ...errors import RunError

    checked, moved, faults = pipeline(config), dict[str, str](), list[str]()
    for folder in list(earlier_runs(checked.experiment)):
        try:
            moved[str(folder)] = str(take_over(folder))
        except RunError as fault:
            faults.append(str(fault))
    if json:
        print_json({"moved": moved, "faults": faults})
    else:
        for before, now in moved.items():
            say(f"{before} -> {now}")
        say(f"{checked.experiment}: {len(moved)} runs of earlier versions taken over")
    if faults:
        fail("\n".join(faults))


def _folders(name: str, config: PipelineFile) -> tuple[Path, ...]:
    from ...cache.runs.names import find_folders

    return find_folders(name, Path() if Path(name).is_dir() else pipeline(config).experiment)


def _asked_folders(name: str, config: PipelineFile) -> tuple[Path, ...]:
    """As `_folders`; of several configurations of a row that of pipeline.toml, as `predict` has it.

    Not for what removes runs, nor for what compares them.
    """
    from ... import runs as listed
    from ...cache.runs.names import find_folders

    if Path(name).is_dir():
        return _folders(name, config)
    checked = pipeline(config)

    def current(folders: Sequence[Path]) -> list[Path]:
        return [o.folder for o in listed(checked) if o.folder in folders and o.state == "current"]

    return find_folders(name, checked.experiment, current)


def _any_folders(name: str, config: PipelineFile) -> tuple[Path, ...]:
    """As `_folders`, and also a run that was trained again, by its whole name."""
    from ...cache.runs.folder import list_superseded

    experiment = pipeline(config).experiment
    exact = [p for p in list_superseded(experiment) if f"{p.parent.name}/{p.name}" == name]
    return tuple(exact) or _folders(name, config)


def _remove(folders: Sequence[Path], yes: bool, json: bool) -> None:
    from ...cache.summary import size_text
    from .listing import remove_runs, size_of

    size = sum(size_of(folder) for folder in folders)
    what = f"{len(folders)} run{'s' if len(folders) != 1 else ''}, {size_text(size)}"
    if folders and not yes:
        for folder in folders:
            tell(str(folder))
        if not typer.confirm(for_terminal(f"Remove these {what}?"), err=True):
            fail("nothing was removed.")
    remove_runs(folders)
    if json:
        return print_json({"removed": [str(folder) for folder in folders], "bytes": size})
    say(f"removed: {what}" if folders else "nothing to remove")


def _first_metric(found: "Sequence[Configuration]", config: "Config") -> str:
    known: dict[str, Any] = next((dict(r.metrics["test"]) for o in found for r in o.runs), {})
    return next((key for key in ("MAE", "Accuracy") if key in known), next(iter(known), "MAE"))
