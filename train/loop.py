"""The one training loop: epochs over the training clips, the best one on validation kept."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..cache.errors import RunError
from ..cache.runs import Epoch
from ..config import TrainConfig
from .checkpoint import Checkpoint
from .data import Selection
from .masking import hide
from .models.base import FusionModel
from .models.hooks import Contextual, Recipe, Remembers, Training
from .optimising import Stepper, rate_factors
from .seeding import global_stream, stream
from .settings import Settings, resolve, stated
from .tasks import loss_of, metrics_of, task_loss
from .tracking import Fit, Track, weights_of

SCORING_BATCH = 128
"""Clips a batch where nothing is learned; clips of like length share one."""

REMEDY = (
    "A lower train.learning_rate or a train.clip_norm may help; "
    "`sedimental cache verify` finds damaged features."
)


@dataclass(frozen=True)
class Scores:
    """A model's answers for some clips, in the order asked."""

    values: NDArray[np.float64]
    """(clips,) scores, or (clips, classes) unnormalised."""
    extras: Mapping[str, NDArray[np.float64]]
    """Named, (clips, …)."""
    representations: Mapping[str, NDArray[np.float32]]
    """Named, (clips, width); empty unless asked for."""


def fit(
    model: FusionModel,
    data: Selection,
    settings: Settings | TrainConfig,
    seed: int,
    protocol: str,
    on_epoch: Callable[[], None] = lambda: None,
    checkpoint: Checkpoint | None = None,
) -> Fit:
    """Train `model` in place on the training clips of `data`; its last weights stay in it.

    A TrainConfig stands for its keys over the plain `Recipe`. `protocol` names the validation
    metrics of the history; `on_epoch` is called after each epoch, and for each that `checkpoint`
    brings back. Raises RunError naming epoch, batch and clips if the loss is no longer a number.
    """
    if isinstance(settings, TrainConfig):
        settings = resolve(Recipe(**stated(settings)), settings)
    kept = checkpoint or Checkpoint()
    rows = data.rows["train"]
    if isinstance(model, Remembers):
        told = Training(len(data.table.ids), rows.to(data.labels.device), _labels(data), seed)
        with torch.no_grad():
            model.begin(told)
    stepper, track = Stepper(model, settings, data.labels.device), Track(settings)
    if kept.restore(model, stepper, track):
        for _ in track.history:
            on_epoch()
    while not track.finished:
        epoch = _epoch(model, data, stepper, len(track.history) + 1, seed, protocol)
        track.take(epoch, partial(weights_of, model))
        kept.save(model, stepper, track)
        on_epoch()
    return track.fit


def shuffled(data: Selection, size: int, seed: int, epoch: int) -> tuple[Tensor, ...]:
    """The training clips of one epoch in batches of `size`: rows of the table."""
    rows = data.rows["train"]
    order = torch.randperm(len(rows), generator=stream(seed, "order", epoch))
    return torch.split(rows[order], size)


def _labels(data: Selection) -> Tensor:
    return data.labels[data.rows["train"].to(data.labels.device)]


def _epoch(
    model: FusionModel, data: Selection, stepper: Stepper, number: int, seed: int, protocol: str
) -> Epoch:
    """Train and validate once; `number` counts from 1."""
    began, settings, device = time.perf_counter(), stepper.settings, data.labels.device
    batches = shuffled(data, settings.batch_size, seed, number)
    factors = rate_factors(number, math.ceil(len(batches) / settings.accumulate), settings)
    masking = stream(seed, "masking", number, device)
    with global_stream(seed, "dropout", number, device):
        losses = _train(model, data, batches, stepper, factors, masking, number)
    refuse_divergence(losses, batches, number, data)
    valid_loss, metrics = validate(model, data, settings, number, protocol)
    sizes = torch.tensor([len(batch) for batch in batches])
    return Epoch(
        epoch=number,
        train_loss=float((losses * sizes).sum() / sizes.sum()),
        valid_loss=valid_loss,
        learning_rate=settings.learning_rate * factors[-1],
        seconds=time.perf_counter() - began,
        valid=metrics,
    )


def _train(
    model: FusionModel,
    data: Selection,
    batches: Sequence[Tensor],
    stepper: Stepper,
    factors: Sequence[float],
    masking: torch.Generator,
    epoch: int,
) -> Tensor:
    """One pass; the loss of every batch, (batches,) on the CPU."""
    model.train()
    settings, every = stepper.settings, stepper.settings.accumulate
    remembers = model if isinstance(model, Remembers) else None
    # losses stay on the device until the epoch ends: reading one would wait for the GPU
    losses = torch.zeros(len(batches), device=data.labels.device)
    for number, whole in enumerate(data.batches(batches, previous_of(model))):
        batch = hide(whole, settings.mask_time, settings.mask_width, masking)
        with stepper.autocast():
            output = model(batch)
        prediction = output.prediction
        if settings.precision != "fp32":
            prediction = prediction.float()
        loss = task_loss(prediction, batch.labels, settings.loss)
        for term in output.losses.values():
            loss = loss + term
        losses[number] = loss.detach()
        stepper.backward(loss)
        if (number + 1) % every == 0 or number + 1 == len(batches):
            stepper.step(factors[number // every])
        if remembers is not None:
            with torch.no_grad():
                remembers.after_step(batch, output, epoch)
    return losses.cpu()


def validate(
    model: FusionModel, data: Selection, settings: Settings, epoch: int, protocol: str
) -> tuple[float, dict[str, float]]:
    """Loss and metrics on the validation clips; raises RunError if a prediction is not finite."""
    rows = data.rows["valid"]
    answers = predict(model, data, rows).values
    if not np.isfinite(answers).all():
        raise RunError(f"Epoch {epoch}, validation: a prediction is not finite. {REMEDY}")
    truth = data.table.labels[rows.numpy()]  # an index of one row is no number
    loss = loss_of(answers, truth, settings.loss)
    return loss, metrics_of(answers, truth, data.table, protocol)


def predict(
    model: FusionModel, data: Selection, rows: Tensor, representations: bool = False
) -> Scores:
    """Score the clips `rows` (int64 rows of the table); dropout and masking are off."""
    model.eval()
    order = data.lengths(rows).argsort(stable=True)  # clips of like length waste little padding
    values, extras = list[Tensor](), dict[str, list[Tensor]]()
    vectors = dict[str, list[Tensor]]()
    with torch.inference_mode():
        batches = torch.split(rows[order], SCORING_BATCH)
        for batch in data.batches(batches, previous_of(model)):
            output = model(batch)
            values.append(output.prediction)
            for name, extra in output.extras.items():
                extras.setdefault(name, []).append(extra)
            for name, vector in output.representations.items() if representations else ():
                vectors.setdefault(name, []).append(vector.float().cpu())
    back = order.argsort()
    return Scores(
        values=_array(values, back),
        extras={name: _array(e, back) for name, e in extras.items()},
        representations={name: torch.cat(v)[back].numpy() for name, v in vectors.items()},
    )


def previous_of(model: FusionModel) -> int:
    """How many earlier clips of the same video the model reads with each clip."""
    return model.previous_clips if isinstance(model, Contextual) else 0


def _array(parts: list[Tensor], order: Tensor) -> NDArray[np.float64]:
    joined: NDArray[np.float64] = torch.cat(parts).cpu()[order].double().numpy()
    return joined


def refuse_divergence(
    losses: Tensor, batches: Sequence[Tensor], epoch: int, data: Selection
) -> None:
    """Raises RunError naming the first batch whose loss (batches,) is not a number."""
    wrong = (~losses.isfinite()).nonzero().flatten().tolist()
    if wrong:
        first = wrong[0]
        clips = ", ".join(data.table.ids[row] for row in batches[first].tolist())
        raise RunError(
            f"Epoch {epoch}, batch {first + 1} of {len(batches)}: the loss is "
            f"{losses[first].item()}. Its clips: {clips}. {REMEDY}"
        )
