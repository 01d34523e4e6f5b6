"""`sedimental transcribe` and `init --videos`: from raw videos to a table with texts."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ...console import (
    PIPELINE,
    AsJson,
    ConfigFile,
    PipelineFile,
    bars,
    exit_on_fault,
    fail,
    places,
    print_json,
    say,
    tell,
)

STOPPED = "stopped; what was transcribed stands in the table, the next run goes on from there."
SHOWN = 10
"""Clips that failed, listed on the terminal."""


def transcribe_command(
    model: Annotated[
        str,
        typer.Option(help="A Whisper: a Hub id (openai/whisper-small), or a folder."),
    ] = "openai/whisper-small",
    table: Annotated[
        Path | None,
        typer.Option(
            help="The table to fill.", exists=True, dir_okay=False, show_default="corpus.path"
        ),
    ] = None,
    config: ConfigFile = PIPELINE,
    language: Annotated[
        str | None,
        typer.Option(help="A code like en, zh or de.", show_default="found out by the model"),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Commit, tag or branch of the model on the Hub.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Windows of 30 s that are heard at once.")] = 8,
    again: Annotated[
        Literal["none", "machine", "all"],
        typer.Option(help="Texts that are replaced: none, those of machines, or all of them."),
    ] = "none",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
    json: AsJson = False,
) -> None:
    """Fill the empty texts of a table by Whisper, with word times where the model gives them.

    Rows that are filled say so: text_source = machine. Texts of people are never overwritten
    unasked. Resumes where it was stopped; exit code 3 if a clip could not be listened to.
    """
    from ...config import ConfigError, ExtractConfig
    from ..encoders.device import ComputeDevice
    from .recogniser import Recogniser
    from .run import pieces, transcribe
    from .sheet import Sheet

    path = table or _table(config)
    sheet = Sheet.read(path)
    todo = pieces(sheet, again)
    if not todo[0]:
        return say(f"{path}: nothing to do: {todo[1]} texts of people, {todo[2]} of machines.")
    try:
        settings = ExtractConfig(device=device)
    except ValueError:
        raise ConfigError(f"--device {device}: should be auto, cpu, cuda or cuda:1.") from None
    recogniser = Recogniser(model, revision, language, ComputeDevice.of(settings))
    with exit_on_fault(STOPPED), bars() as progress:
        result = transcribe(sheet, todo, recogniser, batch, progress)
    if json:
        print_json({**vars(result), "table": str(result.table)})
    else:
        times = "with word times" if recogniser.timed else "without word times"
        human = f"{result.human} texts of people stay."
        say(f"{path}: {result.done} clips transcribed, {times}; {human}")
        if result.silent:
            tell(f"nothing said in {len(result.silent)}: {', '.join(result.silent[:SHOWN])}")
    if result.failures:
        for name, reason in result.failures[:SHOWN] if not json else ():
            tell(f"{name}  not transcribed: {reason}")
        tell(f"{len(result.failures)} of {len(todo[0])} clips could not be listened to")
        raise typer.Exit(3)


def _table(config: PipelineFile) -> Path:
    """The table of [corpus]; ends the command where it is none that can be filled."""
    corpus = places(config).corpus
    if corpus.kind != "csv" or corpus.path is None:
        fail(
            f'{config}: corpus.kind = "{corpus.kind}" is not a table of your own. Name one by '
            "--table; `sedimental init --videos FOLDER` writes one of raw videos.",
            2,
        )
    return corpus.path


def with_table(folder: Path, pipeline: Path, text: bytes, force: bool) -> bytes:
    """Write the table of the videos in `folder` beside `pipeline`; `text`, the pipeline for tables,
    over it.

    A table that is there is replaced only if it is to `force`. Raises ManifestError for a folder
    without videos.
    """
    from ...cache.store.atomic_write import replace
    from .videos import table_of

    table = pipeline.parent / f"{folder.resolve().name or 'videos'}.csv"
    if table.exists() and not force:
        fail(f"{table} is there already. Move it, or replace it with --force.", 2)
    data, count = table_of(folder, table)
    replace(table, data)
    say(f"wrote {table}: {count} {'file' if count == 1 else 'files'}, no labels.")
    named = f'path = "{table.name}"'
    return text.decode().replace('path = "labels.csv"\nname = "mine"', named).encode()
