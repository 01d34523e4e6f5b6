"""`sedimental train`: light models on cached layers, a run a model, subset and seed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..console import (
    PIPELINE,
    AsJson,
    ConfigFile,
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
    from collections.abc import Sequence

    from ..cache.runs import Run
    from ..cache.sweeps import Sweep
    from ..config import Config

Fresh = Annotated[
    bool, typer.Option("--fresh", help="Train runs again that are there with equal settings.")
]

STOPPED = "stopped; finished runs are kept, the same command goes on from there."
METRICS_OF_CLASSES = ("Accuracy", "Weighted_F1")


def train_command(
    config: ConfigFile = PIPELINE,
    fresh: Fresh = False,
    json: AsJson = False,
) -> None:
    """Train the pipeline's models on cached layers, or with encoders that are trained along.

    A run that is there already with equal settings and features is not repeated. The epoch is
    chosen on the validation split; the test split is scored at that epoch alone.
    """
    from .models import preset_notes

    checked = pipeline(config)
    for note in preset_notes(checked.train.models, checked.train.preset):
        tell(f"note: {note}")
    runs, failures = train_stage(checked, fresh)
    if json and runs:
        print_json([run_json(run) for run in runs])
    elif runs:
        show_runs(runs)
        say(f"runs: {checked.experiment}")
    end_with(failures)


def end_with(failures: "Sequence[str]", silent: "Sequence[str]" = ()) -> None:
    """Count the runs that failed, if any did, and end with exit code 3.

    `failures` were told when they happened; those of a sweep are `silent`, and listed here.
    """
    if failures or silent:
        several = len(failures) + len(silent)
        said = f"finished, but {several} run{'' if several == 1 else 's'} failed"
        tell("\n".join([f"{said}:", *silent] if silent else [f"{said}, as told above"]))
        raise typer.Exit(3)


def train_stage(config: "Config", fresh: bool = False) -> "tuple[tuple[Run, ...], tuple[str, ...]]":
    """Train with progress on stderr; the finished runs, and the reasons of those that failed.

    Of several processes that a launcher has started one tells, and the others return no run.
    """
    from .. import train
    from ..errors import RunsFailedError
    from .distributed.launcher import launched

    launch = launched()
    with exit_on_fault(STOPPED):
        if launch is not None and launch.rank > 0:
            train(config, fresh=fresh)
            return (), ()
        with bars(config.experiment, "train") as progress:
            try:
                return train(config, progress, fresh), ()
            except RunsFailedError as fault:
                return fault.runs, fault.failures


def sweep_stage(
    config: "Config", probe_only: bool = False, fresh: bool = False
) -> "tuple[Sweep, ...]":
    """Probe, then sweep, with progress on stderr."""
    from .sweep.probe import probe

    with exit_on_fault(STOPPED), bars(config.experiment, "sweep") as progress:
        found = probe(config, progress, fresh)
        if probe_only:
            return (found,)
        from .sweep.sweep import sweep

        return found, sweep(config, progress, fresh)


def robustness_stage(
    config: "Config",
    rates: "Sequence[float]",
    masks: int,
    incomplete: bool = False,
    fresh: bool = False,
    names: "Sequence[str]" = (),
) -> "tuple[Path, ...]":
    """Test the trained runs with progress on stderr.

    `incomplete`: also train each anew at every rate.
    """
    from .. import robustness

    with exit_on_fault(STOPPED), bars(config.experiment, "robustness") as progress:
        found = robustness(config, rates, masks, incomplete, progress, fresh, names)
    if not found:
        fail("no run of this pipeline is trained yet. `sedimental train` makes them.")
    return found


def show_runs(runs: "tuple[Run, ...]") -> None:
    """A line a run."""
    from rich.table import Table

    first, second = ("MAE", "Corr") if "MAE" in runs[0].metrics["test"] else METRICS_OF_CLASSES
    table = Table(
        *("model", "inputs", "seed", "best epoch", f"valid {first}"),
        *(f"test {first}", f"test {second}", "s"),
    )
    for run in runs:
        table.add_row(
            run.label,
            run.letters,
            str(run.seed),
            str(run.best_epoch),
            f"{run.metrics['valid'][first]:.3f}",
            f"{run.metrics['test'][first]:.3f}",
            f"{run.metrics['test'][second]:.3f}",
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
        "finetuned": run.finetuned,
        "also": {
            name: {"best_epoch": rival.best_epoch, "metrics": rival.metrics}
            for name, rival in run.rivals.items()
        },
    }
