"""`sedimental train`: light models on cached layers, a run a model, subset and seed."""

from dataclasses import asdict
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
USUAL = (("MAE", "Corr"), ("Accuracy", "Weighted_F1"))


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


def tune_command(
    config: ConfigFile = PIPELINE,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Settings to try of each model; unset: train.tune.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Search a model's settings at random, on training and validation clips alone.

    Test clips are not read. Every trial is kept below ``tune``, and the same command goes on where
    it was stopped; the best one's settings are printed to paste.
    """
    from rich.table import Table

    from .. import tune

    checked = pipeline(config)
    with exit_on_fault(STOPPED), bars(checked.experiment, "tune") as progress:
        found = tune(checked, trials, progress)
    if json:
        print_json([asdict(search) | {"paste": search.snippet()} for search in found])
    for search in () if json else found:
        table = Table("trial", f"valid {search.criterion}", "best epoch", "s", "settings")
        for trial in search.trials:
            drawn = " ".join(f"{k}={v}" for k, v in trial.settings.items())
            table.add_row(
                f"{trial.number}{' *' if trial.number == search.best else ''}",
                "failed" if trial.failure else f"{trial.value:.4f}",
                str(trial.best_epoch),
                f"{trial.seconds:.1f}",
                drawn or "as pipeline.toml has it",
            )
        say(f"{search.model} {search.letters}; ranges: {search.source}, general ones ours")
        out().print(table)
        say(search.snippet())
    end_with((), [t.failure for search in found for t in search.trials if t.failure])


def models_command(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL...", help="Only these; unset: all.")
    ] = None,
    config: ConfigFile = PIPELINE,
    cite: Annotated[bool, typer.Option("--cite", help="Print their papers as BibTeX.")] = False,
    json: AsJson = False,
) -> None:
    """List the fusion models: paper, size on this pipeline's inputs, and what each needs.

    Without a pipeline.toml, or before its features are extracted, sizes are left out.
    """
    from rich.table import Table

    from ..config import known_model
    from ..model_table import MODELS
    from ..model_table import cite as bibtex

    asked = list(names or MODELS)
    for name in asked:
        try:
            known_model(name)
        except ValueError as fault:
            fail(str(fault), 2)
    if cite and not json:
        return say(bibtex(asked))
    from .. import models

    found = models(pipeline(config) if config.path.exists() or config != PIPELINE else None)
    rows = [row for row in found.rows if row.name in asked]
    if json:
        return print_json([row.to_json() for row in rows])
    table = Table("model", "paper", "year", "parameters", "needs")
    for row in rows:
        paper, count = row.model.paper, row.parameters
        table.add_row(
            row.name,
            paper.title if paper else "",
            str(paper.year) if paper else "",
            "" if count is None else f"{count:,}",
            ", ".join(row.model.needs),
        )
    out().print(table)
    if found.unknown:
        tell(f"parameters are not told: {found.unknown}")


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


def cross_stage(
    config: "Config", others: "Sequence[Config]", fresh: bool, names: "Sequence[str]"
) -> "tuple[Path, ...]":
    """Test the trained runs on other corpora with progress on stderr."""
    from .. import cross

    if not others:
        fail('no other corpus is named: say --on PIPELINE, or also = ["…"] in [evaluate].', 2)
    with exit_on_fault(STOPPED), bars() as progress:
        found = cross(config, others, progress, fresh, names)
    if not found:
        fail("no run of this pipeline is trained yet. `sedimental train` makes them.")
    return found


def show_runs(runs: "tuple[Run, ...]") -> None:
    """A line a run."""
    from rich.table import Table

    known = runs[0].metrics["test"]
    usual = next((pair for pair in USUAL if set(pair) <= known.keys()), None)
    first, second = usual or tuple(known)[:2]
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
