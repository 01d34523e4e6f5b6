"""`sedimental report`: the table on the terminal and report.html beside the runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..console import fail, out, print_json

if TYPE_CHECKING:
    from ..config import Config, EvaluateConfig
    from .results import Report

ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", help="The pipeline to run.", show_default=True)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


def report_command(
    config: ConfigFile = Path("pipeline.toml"),
    explain: Annotated[
        bool, typer.Option("--explain", help="Say in words what each metric is, and stop.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Score the runs of this pipeline: mean and spread over seeds, and report.html.

    Metrics are computed anew from the predictions on disk, so this is quick and needs no torch.
    """
    from ..config import ConfigError, load_config

    try:
        checked = load_config(config)
    except ConfigError as faults:
        fail(str(faults), 2)
    if explain:
        return _explain(checked.evaluate, json)
    report, page = report_stage(checked)
    if json:
        print_json({**report.to_json(), "page": str(page)})
    else:
        show_report(report, page)


def report_stage(config: "Config") -> "tuple[Report, Path]":
    """Evaluate and write the report; ends the command with a clear message on any fault."""
    from ..cache.errors import SedimentalError
    from ..cache.manifest import read_manifest
    from .report import evaluate
    from .write import write_report

    try:
        manifest = read_manifest(config.corpus_cache / "manifest.jsonl")
        report = evaluate(config.experiment, config.evaluate, manifest)
        return report, write_report(config.experiment, report)
    except SedimentalError as fault:
        fail(str(fault))


def show_report(report: "Report", page: Path) -> None:
    """The table and its cautions, then where the page lies."""
    from .terminal import to_terminal

    console = out()
    console.print(to_terminal(report, console.width))
    console.print(f"report: {page}", highlight=False, soft_wrap=True)


def _explain(settings: "EvaluateConfig", json: bool) -> None:
    from rich.table import Table

    from .protocols import PROTOCOLS

    metrics = PROTOCOLS[settings.protocol].metrics
    if json:
        return print_json({metric.key: metric.words for metric in metrics})
    table = Table("metric", "what it is")
    for metric in metrics:
        table.add_row(metric.key, metric.words)
    out().print(table)
