"""`sedimental train`: light models on cached layers, a run a model, subset and seed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..console import bars, fail, out, print_json

if TYPE_CHECKING:
    from ..cache.runs import Run
    from ..config import Config

ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", help="The pipeline to run.", show_default=True)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Train runs again that are there with equal settings.")
]


def train_command(
    config: ConfigFile = Path("pipeline.toml"), fresh: Fresh = False, json: AsJson = False
) -> None:
    """Train the pipeline's models on the cached layers.

    A run that is there already with equal settings and features is not repeated. The epoch is
    chosen on the validation split; the test split is scored at that epoch alone.
    """
    from ..config import ConfigError, load_config
    from .models import option_faults

    try:
        checked = load_config(config, [option_faults])
    except ConfigError as faults:
        fail(str(faults), 2)
    runs = train_stage(checked, fresh)
    if json:
        return print_json([run_json(run) for run in runs])
    show_runs(runs)
    out().print(f"runs: {checked.experiment}", highlight=False, soft_wrap=True)


def train_stage(config: "Config", fresh: bool = False) -> "tuple[Run, ...]":
    """Train with progress on stderr; ends the command with a clear message on any fault."""
    from ..cache.errors import SedimentalError
    from ..config import ConfigError
    from .run import train

    try:
        with bars() as progress:
            return train(config, progress, fresh)
    except ConfigError as fault:
        fail(str(fault), 2)
    except SedimentalError as fault:
        fail(str(fault))
    except KeyboardInterrupt:
        fail("stopped; finished runs are kept, the next `train` goes on from there.", 130)


def show_runs(runs: "tuple[Run, ...]") -> None:
    """A line a run."""
    from rich.table import Table

    table = Table(
        "model", "inputs", "seed", "best epoch", "valid MAE", "test MAE", "test Corr", "s"
    )
    for run in runs:
        table.add_row(
            run.model,
            run.letters,
            str(run.seed),
            str(run.best_epoch),
            f"{run.metrics['valid']['MAE']:.3f}",
            f"{run.metrics['test']['MAE']:.3f}",
            f"{run.metrics['test']['Corr']:.3f}",
            f"{run.seconds:.1f}",
        )
    out().print(table)


def run_json(run: "Run") -> dict[str, object]:
    """What `--json` prints of one run."""
    return {
        "model": run.model,
        "modalities": run.letters,
        "seed": run.seed,
        "parameters": run.parameters,
        "best_epoch": run.best_epoch,
        "criterion": run.criterion,
        "seconds": round(run.seconds, 3),
        "metrics": {split: dict(values) for split, values in run.metrics.items()},
    }
