"""`sedimental extract`, `doctor`, `cache faces`: fill the stores, and see what goes in."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..console import (
    PIPELINE,
    AsJson,
    ConfigFile,
    PipelineFile,
    bars,
    exit_on_fault,
    fail,
    out,
    pipeline,
    print_json,
    say,
    tell,
)

if TYPE_CHECKING:
    from ..config import Config
    from .doctor import Diagnosis
    from .engine import Engine
    from .result import ExtractResult

STOPPED = "stopped; every part that was written is kept, the next run goes on from there."
CheckMedia = Annotated[
    Literal["stat", "full"],
    typer.Option(
        help="How media files are compared with what they were: read as a whole where size or "
        "times moved (stat), or every one of them (full).",
    ),
]


def extract_command(
    config: ConfigFile = PIPELINE,
    json: AsJson = False,
    encoders: Annotated[
        bool, typer.Option("--encoders", help="List the encoders known by name, and stop.")
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="i/n",
            help="Take the i-th of n shares of the clips: start n of these, on any machines.",
        ),
    ] = None,
    engine: Annotated[
        Literal["here", "ray"],
        typer.Option(
            help="Who works: this process, or Ray actors, one on every GPU that Ray sees.",
        ),
    ] = "here",
    actors: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="With --engine ray: so many actors.",
            show_default="one a GPU; without GPUs one for 8 processors",
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help='With --engine ray: a running cluster, "auto" or host:port.',
            show_default="RAY_ADDRESS, else a cluster of this machine alone",
        ),
    ] = None,
    check: CheckMedia = "stat",
) -> None:
    """Run the frozen encoders over the corpus and keep every layer's hidden states.

    Resumes where it was stopped, makes nothing twice, and survives clips that cannot be read:
    they are listed in failures.csv and the command ends with exit code 3.
    """
    if encoders:
        return _list_encoders(json)
    if engine == "ray" and shard:
        fail(
            "--shard and --engine ray: Ray deals out all the shares itself. Take one of them away.",
            2,
        )
    if engine != "ray" and (actors or address):
        fail("--actors and --address are about --engine ray, which was not asked for.", 2)
    checked = load(config)
    if engine == "ray":
        from .ray.engine import RayEngine

        with RayEngine(checked, address, actors) as chosen:
            result = extract_stage(checked, quiet=json, engine=chosen, check=check)
    else:
        result = extract_stage(checked, shard, quiet=json, check=check)
    if json:
        print_json(result_json(result))
    else:
        show_result(result)
    if result.failures:
        raise typer.Exit(3)


def doctor_command(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE...",
            help="Only say what these files of features are, by their SHA-256.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    config: ConfigFile = PIPELINE,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe/--no-probe",
            help="Load the encoders and try them on a clip, to tell how long the run will take.",
        ),
    ] = True,
    check: CheckMedia = "stat",
    json: AsJson = False,
) -> None:
    """Check corpus, media, weights, disk and device before anything runs.

    Exit code 1: the extraction cannot succeed as things are. 2: the pipeline or the table of the
    corpus is wrong.
    """
    if files:
        from ..cache.corpus.official_files import told

        lines = [told(path) for path in files]
        return print_json(lines) if json else say("\n".join(lines))
    from .doctor import examine
    from .terminal import diagnosis_json, diagnosis_tables, findings_text

    checked = load(config)
    with bars() as progress:
        diagnosis = examine(checked, probe, check=check, progress=progress)
    if json:
        print_json(diagnosis_json(diagnosis))
    else:
        for table in diagnosis_tables(diagnosis):
            out().print(table)
        tell(findings_text(diagnosis) or "nothing is in the way")
    if diagnosis.errors:
        raise typer.Exit(1)


def fetch_command(config: ConfigFile = PIPELINE, json: AsJson = False) -> None:
    """Download weights and tokenizers of the pipeline's encoders, for nodes without a network.

    Each is loaded once, as the extraction will. Exit code 1: one of them cannot be had.
    """
    from .encoders.loading import merged
    from .fetch import fetch
    from .terminal import fetched_table

    checked = pipeline(config)
    with bars() as progress:
        fetched = fetch(checked, progress)
    if json:
        print_json([vars(encoder) | {"fault": str(encoder.fault or "")} for encoder in fetched])
    else:
        out().print(fetched_table(fetched))
    if faults := merged([encoder.fault for encoder in fetched if encoder.fault]):
        fail("\n".join(faults))


def faces_command(
    config: ConfigFile = PIPELINE,
    into: Annotated[
        Path | None,
        typer.Option(help="Folder for the sheets.", show_default="beside the stores"),
    ] = None,
    per_sheet: Annotated[int, typer.Option(min=1, help="Clips on one sheet, a row each.")] = 24,
    clips: Annotated[
        int | None,
        typer.Option(min=1, help="Show so many clips, taken evenly from the corpus."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Draw contact sheets of the face crops that a vision encoder was given, for the eye.

    A row a clip; frames without a face are marked. Shows the clips whose faces were found already.
    """
    from .contact_sheets import contact_sheets, faces_text

    checked = load(config)
    with bars() as progress:
        sheets = contact_sheets(checked, into, per_sheet, clips, progress)
    if json:
        print_json([vars(sheet) for sheet in sheets])
    else:
        for sheet in sheets:
            say(
                f"{sheet.path}: {len(sheet.clips)} clips, {sheet.frames} frames, "
                f"{sheet.without} without a face"
            )
        say(faces_text(sheets))


def load(file: PipelineFile) -> "Config":
    """The checked pipeline in `file`; raises ConfigError."""
    return pipeline(file, table=True)


def extract_stage(
    config: "Config",
    shard: str | None = None,
    quiet: bool = False,
    engine: "Engine | None" = None,
    check: Literal["stat", "full"] = "stat",
) -> "ExtractResult":
    """Extract with progress on stderr.

    The plan is shown before anything is loaded, on stderr, unless `quiet`. Without an `engine` it
    is this process that works.
    """
    from .run import extract
    from .shards import Shard

    share = Shard.parse(shard) if shard else None
    with exit_on_fault(STOPPED), bars(config.corpus_cache, "extract") as progress:
        announce = None if quiet else _announce
        return extract(config, progress, share, announce, engine=engine, check=check)


def _announce(diagnosis: "Diagnosis") -> None:
    from .terminal import findings_text, plan_text

    tell(plan_text(diagnosis))
    tell(findings_text(diagnosis, errors=False))


def show_result(result: "ExtractResult") -> None:
    """The tables of stores and of stages, and the failures, for people."""
    from ..cache.failures import failed_text
    from .terminal import stage_table, store_table

    out().print(store_table(result))
    if result.stages:
        out().print(stage_table(result))
    for store in result.stores:
        if store.truncated:
            tell(f"{store.truncated} texts were cut at max_length ({store.encoder})")
    if result.stores and all(s.weights.startswith("imported") for s in result.stores):
        tell("every store is imported: there is nothing to extract")
    if result.noted:
        tell(f"{len(result.noted)} clips are not quite whole: gaps or a missing end, told above")
    if result.failures:
        for reason, count in result.reasons.items():
            tell(f"{count:6d} x {reason}")
        tell(failed_text(result.failures, result.failures_file))


def result_json(result: "ExtractResult") -> dict[str, object]:
    """What `--json` prints."""
    return {
        "corpus": result.corpus,
        "device": result.device,
        "seconds": round(result.seconds, 2),
        "stores": [vars(store) for store in result.stores],
        "stages": [vars(stage) | {"rate": stage.rate} for stage in result.stages],
        "failures": [vars(failure) for failure in result.failures],
        "failures_file": str(result.failures_file),
        "reasons": dict(result.reasons),
        "noted": {clip: list(notes) for clip, notes in result.noted.items()},
    }


def _list_encoders(json: bool) -> None:
    from .terminal import encoder_rows, encoder_table

    if json:
        return print_json(encoder_rows())
    out().print(encoder_table())
    say("Any other Hub id or `save_pretrained` folder of these families works as well.")
