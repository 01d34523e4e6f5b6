"""One run from first weights to scores, or the seeds of a stack in one pass."""

import time
from collections.abc import Sequence

from ..cache.runs import Epoch, Run
from ..config import Config
from ..errors import RunError
from ..progress import Progress
from .data.dataset import Selection
from .data.live_inputs import Reading, live_of
from .data.missing_features import undamaged
from .device import forget_peak
from .distributed.ranks import SINGLE_PROCESS, Ranks
from .distributed.sigterm import Notice, Preempted
from .fit.checkpoint import Checkpoint
from .fit.loop import fit
from .fit.seeding import stream
from .fit.stacked_seeds import fit_stacked
from .live_model import LiveModel
from .models import build
from .models.shared.interface import FusionModel
from .plan import Plan
from .record import finished_run
from .trackers import Tracking

TASK = "training"
"""The one task whose progress is told: epochs of all runs."""


def train_one(
    plan: Plan,
    data: Selection,
    config: Config,
    progress: Progress,
    checkpoint: Checkpoint | None = None,
    ranks: Ranks = SINGLE_PROCESS,
) -> tuple[Run, bytes]:
    """The run of `plan`, and its weights file (safetensors).

    Beside the model's weights the file holds ``inputs.<modality>.mean`` and ``.deviation``, by
    which features were scaled: enough to score a new clip.
    """
    began = time.perf_counter()
    model, protocol = built(plan, data), config.evaluate.protocol
    tracking = Tracking(config, plan, progress, ranks.lead)

    def on_epoch(epoch: Epoch) -> None:
        progress.advance(TASK)
        tracking.epoch(epoch)

    try:
        fitted = fit(model, data, plan.settings, plan.seed, protocol, on_epoch, checkpoint, ranks)
    except (RunError, Preempted) as fault:
        raise type(fault)(f"{plan.title}: {fault}") from fault
    progress.advance(TASK, plan.settings.epochs - len(fitted.history))  # if it stopped early
    run, weights = finished_run(
        plan, model, fitted, data, config, time.perf_counter() - began, ranks
    )
    tracking.finish(run.metrics["test"])
    return run, weights


def train_together(
    plans: Sequence[Plan], data: Selection, config: Config, progress: Progress, notice: Notice
) -> list[tuple[Run, bytes]]:
    """`train_one` for the seeds of one stack, in one pass over the data; it keeps no checkpoint."""
    began = time.perf_counter()
    models = [built(plan, data) for plan in plans]
    seeds, settings = [plan.seed for plan in plans], plans[0].settings

    def on_epoch() -> None:
        progress.advance(TASK)
        notice.raise_if_set(
            f"in {plans[0].title} and others, which begin anew; finished runs are kept"
        )

    try:
        fits = fit_stacked(models, data, settings, seeds, config.evaluate.protocol, on_epoch)
    except RunError as fault:
        raise RunError(f"{plans[0].title} and others: {fault}") from fault
    progress.advance(TASK, sum(settings.epochs - len(fitted.history) for fitted in fits))
    seconds = (time.perf_counter() - began) / len(plans)
    runs = [
        finished_run(plan, model, fitted, data, config, seconds)
        for plan, model, fitted in zip(plans, models, fits, strict=True)
    ]
    for plan, (run, _) in zip(plans, runs, strict=True):
        Tracking(config, plan, progress).finish(run.metrics["test"], run.history)
    return runs


def built(plan: Plan, data: Selection) -> FusionModel:
    """The model of `plan` with its first weights, on the device; live encoders in front of it."""
    forget_peak(data.labels.device)
    shapes = {m: source.shape for m, source in data.sources.items()}
    model = build(plan.model, plan.options, shapes, stream(plan.seed, "init"), data.table.heads)
    if live := live_of(plan.inputs):
        sources = {m: undamaged(source) for m, source in data.sources.items()}
        readings = {m: source for m, source in sources.items() if isinstance(source, Reading)}
        draws = stream(plan.seed, "init")
        encoders = {m: one.build(draws) for m, one in live.items()}
        model = LiveModel(model, encoders, readings, plan.tuning, plan.settings.learning_rate)
    model.to(data.labels.device)
    return model
