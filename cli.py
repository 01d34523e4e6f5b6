"""The `sedimental` command: the stages one by one, or all of a pipeline.toml with `run`."""

from pathlib import Path
from typing import Annotated

import typer

from .cache.cli import app as cache_app
from .console import err, fail, out, print_json
from .evaluate.cli import report_command
from .extract.cli import extract_command
from .train.cli import train_command

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from . import __version__

        out().print(f"sedimental {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print it and stop."),
    ] = False,
) -> None:
    """Multimodal sentiment from cached layers of frozen encoders.

    Extract every layer once, then train, sweep and report in seconds.
    """


@app.command()
def run(
    config: Annotated[
        Path, typer.Option("--config", "-c", help="The pipeline to run.", show_default=True)
    ] = Path("pipeline.toml"),
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Train again what is there with equal settings.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on stdout.")
    ] = False,
) -> None:
    """Extract, train and report: the whole pipeline, each stage only as far as it is not done."""
    from .config import ConfigError, load_config
    from .evaluate.cli import report_stage, show_report
    from .extract.cli import extract_stage, result_json, show_result
    from .extract.encoders.presets import encoder_faults
    from .train.cli import run_json, train_stage
    from .train.models import option_faults

    try:
        checked = load_config(config, [encoder_faults, option_faults])
    except ConfigError as faults:
        fail(str(faults), 2)
    extracted = extract_stage(checked)
    if not json:
        show_result(extracted)
    runs = train_stage(checked, fresh)
    report, page = report_stage(checked)
    if json:
        print_json(
            {
                "extract": result_json(extracted),
                "train": [run_json(r) for r in runs],
                "report": report.to_json(),
                "page": str(page),
            }
        )
    else:
        show_report(report, page)
    if extracted.failures:
        err().print(
            f"finished, but {len(extracted.failures)} clip features are missing: "
            f"{extracted.failures_file}",
            highlight=False,
            soft_wrap=True,
        )
        raise typer.Exit(3)


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("pipeline.toml"),
    preset: Annotated[
        str, typer.Option(help="demo, csv (your own table), mosi or mosei.")
    ] = "demo",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a pipeline.toml to start from."""
    from .config import nearest

    here = Path(__file__).parent
    presets = {"demo": here / "pipeline.toml"} | {
        file.stem: file for file in sorted((here / "extract/corpora/presets").glob("*.toml"))
    }
    if preset not in presets:
        hint = nearest(preset, presets) or f" Known: {', '.join(presets)}."
        fail(f'--preset "{preset}": there is none of this name. {hint}', 2)
    if path.exists() and not force:
        fail(f"{path} is there already. Name another file, or replace it with --force.", 2)
    path.write_text(presets[preset].read_text(encoding="utf-8"), encoding="utf-8")
    out().print(f"wrote {path}: look at [corpus], then `sedimental run`.", highlight=False)


app.command("extract")(extract_command)
app.command("train")(train_command)
app.command("report")(report_command)
app.add_typer(cache_app, name="cache")
