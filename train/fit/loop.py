"""The one training loop: epochs over the training clips, the best one on validation kept."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...cache.runs import Epoch
from ...config import TrainConfig
from ...errors import RunError
from ..data.dataset import Selection
from ..data.spec_augment import hide
from ..distributed.ranks import SINGLE_PROCESS, Ranks
from ..layers.losses import task_loss
from ..models.shared.hooks import Contextual, Recipe, Remembers, Training
from ..models.shared.interface import Batch, FusionModel, Output
from .checkpoint import Checkpoint, EpochProgress, TrainState
from .early_stopping import BestEpoch, weights_of
from .optimizer import Stepper, rate_factors
from .scoring import loss_of, metrics_of
from .seeding import Streams, global_stream, stream
from .settings import Settings, resolve, stated

SCORING_BATCH = 128
"""Clips a batch where nothing is learned; clips of like length share one."""

REMEDY = (
    "A lower train.learning_rate or a train.clip_norm may help; "
    "`sedimental cache verify` finds damaged features."
)


Values = TypeVar("Values", NDArray[np.float64], NDArray[np.float32])


@dataclass(frozen=True)
class Scores:
    """A model's answers for some clips, in the order asked."""

    values: NDArray[np.float64]
    """(clips,) scores, or (clips, classes) unnormalised; (clips, names) of several labels a clip,
    dimensions in their units, emotions unnormalised."""
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
    on_epoch: Callable[[Epoch], None] = lambda _: None,
    checkpoint: Checkpoint | None = None,
    ranks: Ranks = SINGLE_PROCESS,
) -> BestEpoch:
    """Train `model` in place on the training clips of `data`; its last weights stay in it.

    A TrainConfig stands for its keys over the plain `Recipe`. `protocol` names the validation
    metrics of the history; `on_epoch` is called after each epoch, and for each that `checkpoint`
    brings back. All of `ranks` call this alike. Raises RunError naming epoch, batch and clips if
    the loss is no longer a number.
    """
    if isinstance(settings, TrainConfig):
        settings = resolve(Recipe(**stated(settings)), settings)
    kept = checkpoint or Checkpoint()
    if settings.loss == "ccc" and ranks.count > 1:
        raise RunError(
            'train.loss: "ccc" compares the clips of a batch, which several processes share. Train '
            "with one process, or with another loss."
        )
    begin(model, data, seed)
    ranks.join(model)
    track = BestEpoch(settings)
    flight = TrainState(model, Stepper(model, settings, data.labels.device, ranks), track, ranks)
    if kept.restore(flight):
        for epoch in track.history:
            on_epoch(epoch)
    while not track.finished:
        track.take(_epoch(flight, data, seed, protocol, kept), partial(weights_of, model))
        kept.at_epoch(flight)
        on_epoch(track.history[-1])
    return track


def begin(model: FusionModel, data: Selection, seed: int) -> None:
    """Tell a model that remembers clips what it is going to be trained on."""
    if isinstance(model, Remembers):
        rows = data.rows["train"].to(data.labels.device)
        with torch.no_grad():
            model.begin(Training(len(data.table.ids), rows, data.labels[rows], seed))


def shuffled(data: Selection, size: int, seed: int, epoch: int) -> tuple[Tensor, ...]:
    """The training clips of one epoch in batches of `size`: rows of the table."""
    rows = data.rows["train"]
    order = torch.randperm(len(rows), generator=stream(seed, "order", epoch))
    return torch.split(rows[order], size)


def _epoch(
    flight: TrainState, data: Selection, seed: int, protocol: str, kept: Checkpoint
) -> Epoch:
    """Train and validate once, or what is left of it."""
    settings, device = flight.stepper.settings, data.labels.device
    number = len(flight.track.history) + 1
    began = time.perf_counter() - (flight.within.seconds if flight.within else 0)
    batches = shuffled(data, settings.batch_size, seed, number)
    steps = math.ceil(len(batches) / settings.accumulate)
    before = [epoch.valid_loss for epoch in flight.track.history]
    factors = rate_factors(number, steps, settings, before)
    masking = stream(seed, "masking", number, device)
    ranks = flight.ranks
    with global_stream(seed, "dropout", number, device, ranks.rank):
        losses = _train(flight, data, batches, factors, Streams(masking, ranks), kept, began)
    refuse_divergence(losses, batches, number, data)
    valid_loss, metrics = validate(flight.model, data, settings, number, protocol, ranks)
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
    flight: TrainState,
    data: Selection,
    batches: Sequence[Tensor],
    factors: Sequence[float],
    streams: Streams,
    kept: Checkpoint,
    began: float,
) -> Tensor:
    """One pass from where `flight` stands; the loss of every batch, (batches,) on the CPU."""
    model, stepper, ranks = flight.model, flight.stepper, flight.ranks
    epoch = len(flight.track.history) + 1
    model.train()
    settings, every = stepper.settings, stepper.settings.accumulate
    remembers = model if isinstance(model, Remembers) else None
    # losses stay on the device until the epoch ends: reading one would wait for the GPU
    losses, start = torch.zeros(len(batches), device=data.labels.device), 0
    if flight.within is not None:
        start = flight.within.batches
        if ranks.lead:  # they are sums over all
            losses[:start] = flight.within.losses[:start]
        streams.restore(flight.within.streams)

    def within() -> EpochProgress:
        known = ranks.sum(losses).cpu()
        refuse_divergence(known, batches, epoch, data)  # nobody wants to go on from there
        return EpochProgress(number + 1, known, time.perf_counter() - began, streams.state())

    shares = [ranks.share(rows) for rows in batches]
    found = data.batches([share.rows for share in shares[start:]], previous_of(model))
    for number, plain in enumerate(found, start):
        share = shares[number]
        masking = streams.masking, (share.first, share.whole)
        batch = hide(plain, settings.mask_time, settings.mask_width, *masking)
        with stepper.autocast(), ranks.at(share):
            output = model(batch)
        loss = ranks.weighted(whole_loss(output, batch, settings), share)
        losses[number] = loss.detach()
        stepper.backward(loss)
        whole, ends = (number + 1) % every == 0, number + 1 == len(batches)
        dropped = settings.whole_groups and len(batches) >= every
        stepped = whole or (ends and not dropped)
        if stepped:
            stepper.step(factors[number // every])
        elif ends:
            stepper.forget()
        if remembers is not None:
            with torch.no_grad():
                remembers.after_step(*ranks.together(batch, output, share), epoch)
        if stepped:
            kept.at_step(flight, within)
    return ranks.sum(losses).cpu()


def whole_loss(output: Output, batch: Batch, settings: Settings) -> Tensor:
    """The task's own and all that the model adds, in fp32."""
    prediction = output.prediction
    if settings.precision != "fp32":
        prediction = prediction.float()
    loss = task_loss(prediction, batch.labels, settings.loss)
    for term in output.losses.values():
        loss = loss + term
    return loss


def validate(
    model: FusionModel,
    data: Selection,
    settings: Settings,
    epoch: int,
    protocol: str,
    ranks: Ranks = SINGLE_PROCESS,
) -> tuple[float, dict[str, float]]:
    """Loss and metrics on the validation clips; raises RunError if a prediction is not finite."""
    rows = data.rows["valid"]
    answers = predict(model, data, rows, ranks).values
    if not np.isfinite(answers).all():
        raise RunError(f"Epoch {epoch}, validation: a prediction is not finite. {REMEDY}")
    truth = data.table.labels[rows.numpy()]  # an index of one row is no number
    loss = loss_of(answers, rows.numpy(), data.table, settings.loss)
    return loss, metrics_of(answers, truth, data.table, protocol)


def predict(
    model: FusionModel,
    data: Selection,
    rows: Tensor,
    ranks: Ranks = SINGLE_PROCESS,
    representations: bool = False,
) -> Scores:
    """Score the clips `rows` (int64 rows of the table); dropout and masking are off.

    Each of `ranks` scores some of them, and has the scores of all in the end.
    """
    model.eval()
    order = data.lengths(rows).argsort(stable=True)  # clips of like length waste little padding
    parts = [order[rank :: ranks.count] for rank in range(ranks.count)]
    own = rows[parts[ranks.rank]]
    values, extras = list[Tensor](), dict[str, list[Tensor]]()
    vectors = dict[str, list[Tensor]]()
    with torch.inference_mode():
        batches = torch.split(own, SCORING_BATCH) if len(own) else ()
        for batch in data.batches(batches, previous_of(model)):
            output = model(batch)
            values.append(output.prediction)
            for name, extra in output.extras.items():
                extras.setdefault(name, []).append(extra)
            for name, vector in output.representations.items() if representations else ():
                vectors.setdefault(name, []).append(vector.float().cpu())
    found = ranks.gathered(
        (
            {name: _array(e) for name, e in {**extras, "": values}.items() if e},
            {name: torch.cat(v).numpy() for name, v in vectors.items()},
        )
    )
    back = torch.cat(parts).argsort().numpy()
    answers = _joined([said for said, _ in found], back)
    return Scores(
        values=data.table.restored(answers.pop("")),
        extras=answers,
        representations=_joined([seen for _, seen in found], back),
    )


def previous_of(model: FusionModel) -> int:
    """How many earlier clips of the same video the model reads with each clip."""
    return model.previous_clips if isinstance(model, Contextual) else 0


def _array(parts: list[Tensor]) -> NDArray[np.float64]:
    joined: NDArray[np.float64] = torch.cat(parts).cpu().double().numpy()
    return joined


def _joined(parts: Sequence[Mapping[str, Values]], order: NDArray[np.intp]) -> dict[str, Values]:
    """Of the clips of all processes, in `order`; a process without clips has said nothing."""
    return {name: np.concatenate([p[name] for p in parts if p])[order] for name in parts[0]}


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
