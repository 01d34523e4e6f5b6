"""The `sedimental` command: the stages one by one, or all of a pipeline.toml with `run`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from .cache.cli import app as cache_app
from .command_line import EXTRACTING, ROWS, SWEEPING, TRAINING, WHOLE, App
from .console import (
    PIPELINE,
    AsJson,
    ConfigFile,
    PipelineFile,
    corpus_news,
    fail,
    out,
    pipeline,
    print_json,
    say,
    tell,
)
from .evaluate.cli import compare_command, report_command
from .evaluate.runs.cli import app as runs_app
from .extract.cli import CheckMedia, doctor_command, extract_command, faces_command, fetch_command
from .extract.face_strips import face_strips
from .extract.transcribe.cli import transcribe_command
from .installation import require_stack
from .pipeline_commands import explain_command, init_command, schema_command
from .predict_command import predict_command
from .train.cli import models_command, train_command, tune_command

app = App(rich_markup_mode="rich", pretty_exceptions_show_locals=False)


def _version(asked: bool) -> None:
    if asked:
        from . import __version__

        say(f"sedimental {__version__}")
        raise typer.Exit


STACK = {
    "run": ("torch", "torchvision"),
    "extract": ("torch", "torchvision"),
    "doctor": ("torch", "torchvision"),
    "fetch": ("torch", "torchvision"),
    "transcribe": ("torch",),
    "predict": ("torch", "torchvision"),
    "train": ("torch",),
    "models": ("torch",),
    "tune": ("torch",),
    "sweep": ("torch",),
    "robustness": ("torch",),
}
"""What a command is sure to load of the packages that have to belong together."""
HELP = {"-h", "--help", "--encoders"}
"""What is answered without any of it."""
TOGETHER = ("run", "extract", "sweep", "tune", "robustness")
"""What writes, and is not made to be started several times at once by a launcher."""


@app.callback()
def main(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print it and stop."),
    ] = False,
) -> None:
    """Multimodal sentiment from cached layers of frozen encoders.

    Extract every layer once, then train, sweep and report in seconds.
    """
    from .train.distributed.launcher import launched

    launch = launched()
    if launch is not None and context.invoked_subcommand in TOGETHER:
        if launch.rank > 0:  # the first tells; were this a fault too, the launcher would end it
            raise typer.Exit
        fail(
            f"{launch.world} processes were started to work together, which only `train` can; "
            f"start `{context.invoked_subcommand}` without torchrun. To extract on several "
            "machines, give each a --shard.",
            2,
        )
    if context.invoked_subcommand in STACK and not HELP & set(sys.argv):
        require_stack(*STACK[context.invoked_subcommand])
    context.obj = face_strips  # the report shows them, and evaluate knows nothing of media


@app.command(keys=WHOLE)
def run(
    config: ConfigFile = PIPELINE,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Train again what is there with equal settings.")
    ] = False,
    check: CheckMedia = "stat",
    json: AsJson = False,
) -> None:
    """Extract, train and report: the whole pipeline, each stage only as far as it is not done."""
    from .cache.failures import failed_text
    from .evaluate.cli import report_stage, show_report, show_sweeps, sweep_json
    from .evaluate.output.sweep_files import write_sweep_files
    from .extract.cli import extract_stage, result_json, show_result
    from .train.cli import end_with, run_json, sweep_stage, train_stage

    checked = pipeline(config, table=True)
    if checked.train.lacking:  # told before the hours of extraction, not after them
        fail(checked.train.lacking)
    extracted = extract_stage(checked, check=check)
    if not json:
        show_result(extracted)
    runs, failures = train_stage(checked, fresh)
    swept = sweep_stage(checked, fresh=fresh) if checked.sweep is not None else ()
    files = write_sweep_files(checked.experiment, swept) if swept else ()
    report, page = report_stage(checked, face_strips)
    if json:
        print_json(
            {
                "extract": result_json(extracted),
                "train": [run_json(r) for r in runs],
                "sweep": [sweep_json(each) for each in swept],
                "report": report.to_json(),
                "page": str(page),
            }
        )
    else:
        if swept:
            show_sweeps(swept, files)
        show_report(report, page)
    if extracted.failures and json:  # else told beside the stores
        tell(f"finished, but {failed_text(extracted.failures, extracted.failures_file)}")
    end_with(failures, [text for each in swept for text in each.failures])
    if extracted.failures:
        raise typer.Exit(3)


@app.command(keys=SWEEPING)
def sweep(
    config: ConfigFile = PIPELINE,
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Only the linear probe of every layer: an answer in seconds."),
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Train again what is there with equal settings.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Find the best layers: a linear probe of each, then models trained on each.

    The layer of a modality is picked on validation; its test score stands beside those of the last
    layer and of a weighted sum. A sweep that was stopped goes on where it was.
    """
    from .evaluate.cli import show_sweeps, sweep_json
    from .evaluate.output.sweep_files import write_sweep_files
    from .train.cli import end_with, sweep_stage

    checked = pipeline(config)
    corpus_news(checked, update=True)
    found = sweep_stage(checked, probe, fresh)
    files = write_sweep_files(checked.experiment, found)
    if json:
        print_json([sweep_json(each) for each in found])
    else:
        show_sweeps(found, files)
    end_with((), [text for each in found for text in each.failures])


@app.command(keys=TRAINING)
def robustness(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME...",
            help="Only these runs of the pipeline; unset: all.",
            autocompletion=ROWS,
        ),
    ] = None,
    config: ConfigFile = PIPELINE,
    rates: Annotated[
        str | None,
        typer.Option(
            help="Shares of frames to lose: first:last:step, or a list like 0,0.3,0.6. "
            "Default: those of the papers, 0:1:0.1 (CH-SIMS: 0:0.5:0.1)."
        ),
    ] = None,
    masks: Annotated[int, typer.Option(min=1, help="Random masks a run and rate.")] = 1,
    incomplete: Annotated[
        bool,
        typer.Option("--incomplete", help="Also train every run anew at each rate, as incomplete."),
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Test again what was tested with equal settings.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Score the trained runs again with features missing: frames at random, whole modalities.

    With --incomplete also what training on data as incomplete gains. The curves and their AUILC
    stand in the report.
    """
    from .evaluate.cli import missing_rates, report_stage
    from .evaluate.output.terminal import robustness_to_terminal
    from .train.cli import robustness_stage

    checked = pipeline(config)
    shares = missing_rates(rates, checked.evaluate.protocol)
    robustness_stage(checked, shares, masks, incomplete, fresh, names or ())
    report, page = report_stage(checked, face_strips)
    if json:
        return print_json({"robustness": report.to_json()["robustness"], "page": str(page)})
    out().print(robustness_to_terminal(report))
    say(f"report: {page}")


@app.command()
def cross(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME...", help="Only these runs of the pipeline; unset: all."),
    ] = None,
    on: Annotated[
        list[Path] | None,
        typer.Option(
            "--on",
            help="Pipeline of another corpus; may be given several times.",
            show_default="[evaluate] also",
        ),
    ] = None,
    config: ConfigFile = PIPELINE,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Ask again what was asked of the same clips.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Test the trained runs on the test clips of other corpora; the scores stand in the report.

    Their features must be extracted with the same encoders. Labels of another scale: scores are
    mapped linearly, which is said.
    """
    from .evaluate.cli import report_stage
    from .evaluate.output.terminal import cross_to_terminal
    from .train.cli import cross_stage

    checked = pipeline(config)
    others = [pipeline(PipelineFile(path)) for path in on or checked.evaluate.also]
    cross_stage(checked, others, fresh, names or ())
    report, page = report_stage(checked, face_strips)
    if json:
        return print_json({"cross": report.to_json()["cross"], "page": str(page)})
    for table in cross_to_terminal(report):
        out().print(table)
    say(f"report: {page}")


app.command("init")(init_command)
app.command("doctor", EXTRACTING)(doctor_command)
app.command("extract", EXTRACTING)(extract_command)
app.command("fetch")(fetch_command)
app.command("transcribe")(transcribe_command)
app.command("train", {**TRAINING, "stack": ("train.stack",)})(train_command)
app.command("models")(models_command)
app.command("tune", TRAINING)(tune_command)
app.command("predict")(predict_command)
app.command("report")(report_command)
app.command("compare")(compare_command)
app.command("explain")(explain_command)
app.command("schema")(schema_command)
app.add_typer(runs_app, name="runs")
cache_app.command("faces")(faces_command)  # it decodes media, which the cache itself never does
app.add_typer(cache_app, name="cache")
