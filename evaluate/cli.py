"""`sedimental report`: the table on the terminal and report.html beside the runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..command_line import ROWS
from ..console import (
    PIPELINE,
    AsJson,
    ConfigFile,
    fail,
    out,
    pipeline,
    places,
    print_json,
    say,
    tell,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..cache.sweeps import Sweep
    from ..config import Config
    from .results import Report

    Faces = Callable[[Config, Sequence[str]], Mapping[str, bytes]]
    """Draws face crops of clips; the command line hands it over, as media are not this stage's."""


def report_command(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME...",
            help='Only these: a row ("uegd TAV"), or what `runs ls` calls it, or its beginning.',
            autocompletion=ROWS,
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also runs of other settings than pipeline.toml has.")
    ] = False,
    config: ConfigFile = PIPELINE,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say in words what each metric is, and stop.")
    ] = False,
    mmsa: Annotated[
        bool,
        typer.Option("--mmsa", help="Also write results/normal/<corpus>.csv as MMSA lays it out."),
    ] = False,
    no_faces: Annotated[
        bool, typer.Option("--no-faces", help="Leave face crops of clips out of the report.")
    ] = False,
    no_text: Annotated[
        bool, typer.Option("--no-text", help="Leave transcripts of clips out of the report.")
    ] = False,
    predictions: Annotated[
        Path | None,
        typer.Option(help="Also write every clip as each run predicts it: .csv or .parquet."),
    ] = None,
    figures: Annotated[
        bool, typer.Option("--figures", help="Also write each figure as PNG and PDF.")
    ] = False,
    live: Annotated[
        bool,
        typer.Option("--live", help="Serve it to this machine's browser, anew as runs finish."),
    ] = False,
    port: Annotated[int, typer.Option(help="For --live; 0: a free one.", min=0, max=65535)] = 0,
    json: AsJson = False,
) -> None:
    """Score the runs of this pipeline: mean and spread over seeds, and report.html.

    Metrics are computed anew from the predictions on disk. Shown are the runs of the settings that
    pipeline.toml has, on the corpus table as it is now; whatever else is there is named.
    """

    checked = pipeline(config)
    if explain:
        return _explain(checked, json)
    if predictions is not None:
        from ..cache.table_file import check_table

        check_table(predictions, "--predictions")
    faces = None if no_faces else context.obj
    if live:
        from .live import LiveReport

        def made() -> Path:
            return report_stage(checked, faces, names or (), everything, not no_text, figures)[1]

        served = LiveReport(checked.experiment, made, port)
        say(f"live report: {served.loopback.url} (Ctrl-C ends it)")
        return served.serve()
    report, page = report_stage(checked, faces, names or (), everything, not no_text, figures)
    table = None
    if mmsa:
        from .output.mmsa import write_mmsa

        table = write_mmsa(checked.experiment, report)
    if predictions is not None:
        from .output.prediction_files import write_report_predictions

        write_report_predictions(predictions, checked.experiment, report)
    if json:
        return print_json({**report.to_json(), "page": str(page), "mmsa": table and str(table)})
    show_report(report, page)
    if table is not None:
        say(f"mmsa: {table}")


def compare_command(
    first: Annotated[
        str,
        typer.Argument(
            help='A row ("uegd TAV"), or a folder of runs.', metavar="A", autocompletion=ROWS
        ),
    ],
    second: Annotated[str, typer.Argument(help="What to compare it with.", metavar="B")],
    config: ConfigFile = PIPELINE,
    json: AsJson = False,
) -> None:
    """Test whether A is better than B: paired bootstrap over videos, McNemar on Acc-2.

    Both are scored on the test clips that both answered; a difference whose interval excludes zero
    is more than the choice of clips explains.
    """
    if not config.path.exists() and all(Path(name).is_dir() for name in (first, second)):
        from .compare import compare

        found = compare(first, second, Path())  # folders say all but which clips are of one video
    else:
        from .. import compare as compare_runs

        found = compare_runs(first, second, places(config))
    if json:
        from .json_values import plain

        return print_json({**plain(found), "drawn_over": found.drawn_over})
    from .output.terminal import comparison_to_terminal

    out().print(comparison_to_terminal(found))


def report_stage(
    config: "Config",
    faces: "Faces | None" = None,
    names: "Sequence[str]" = (),
    everything: bool = False,
    text: bool = True,
    figures: bool = False,
) -> "tuple[Report, Path]":
    """Evaluate and write the report, its worst clips with what `faces` draws of them, and with
    `figures` each figure in files of its own.

    With `evaluate.private` without the faces and, as without `text`, without the transcripts.
    """
    from dataclasses import replace

    from .. import evaluate
    from .output.write import write_report

    report = evaluate(config, names, everything)
    for one in report.news:
        tell(f"warning: {one}")
    if config.evaluate.private or not text:
        report = report.without_text
    if faces is not None and not config.evaluate.private:
        shown = [clip.id for clip in report.analyses.worst]
        report = replace(report, faces=faces(config, shown))
    return report, write_report(config.experiment, report, figures)


def show_report(report: "Report", page: Path) -> None:
    """The table and its cautions, then where the page lies."""
    from .output.terminal import to_terminal

    console = out()
    console.print(to_terminal(report, console.width))
    say(f"report: {page}")


def show_sweeps(sweeps: "Sequence[Sweep]", files: "Sequence[Path]") -> None:
    """The layers side by side, the comparison, the lines to paste, and where the figures lie."""
    from .output.sweep_terminal import to_terminal

    out().print(to_terminal(sweeps))
    names = ", ".join(file.name for file in files)
    say(f"{sweeps[-1].kind}: {files[0].parent} ({names})")


def sweep_json(sweep: "Sweep") -> dict[str, object]:
    """What `--json` prints of one sweep or probe."""
    from .json_values import plain

    return {**plain(sweep), "inputs": sweep.lines()}


def missing_rates(text: str | None, protocol: str) -> "tuple[float, ...]":
    """What `--rates` means: ``0:1:0.1`` (both ends included), ``0,0.5``, or the protocol's own."""
    from .auilc import RATES

    if text is None:
        return RATES.get(protocol, RATES["mosi"])
    try:
        if ":" in text:
            first, last, step = (float(part) for part in text.split(":"))
            count = round((last - first) / step) + 1
            found = [round(first + k * step, 10) for k in range(count)]
        else:
            found = [float(part) for part in text.split(",")]
    except (ValueError, ZeroDivisionError):
        found = []
    if not found or not all(0 <= rate <= 1 for rate in found):
        fail(f'--rates "{text}": say first:last:step or a list like 0,0.3,0.6, within 0 and 1.', 2)
    return tuple(dict.fromkeys(found))


def _explain(config: "Config", json: bool) -> None:
    from rich.table import Table

    from .protocols import protocol_of
    from .report import scheme_of

    metrics = protocol_of(scheme_of(config.experiment, config.evaluate)).metrics
    if json:
        return print_json({metric.key: metric.words for metric in metrics})
    table = Table("metric", "what it is")
    for metric in metrics:
        table.add_row(metric.key, metric.words)
    out().print(table)
