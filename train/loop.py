"""The one training loop: epochs over the training clips, the best one on validation kept."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from ..cache.errors import RunError
from ..cache.runs import Epoch
from ..config import TrainConfig
from ..evaluate.metrics import score
from .data import Selection
from .masking import hide
from .models.base import FusionModel
from .seeding import global_stream, stream

CRITERION = "valid_loss"
"""What the kept epoch is lowest in: the mean L1 distance over validation clips."""
SCORING_BATCH = 128
"""Clips a batch where nothing is learned; clips of like length share one."""

REMEDY = (
    "A lower train.learning_rate or a train.clip_norm may help; "
    "`sedimental cache verify` finds damaged features."
)


@dataclass(frozen=True)
class Fit:
    """What training leaves: the best epoch, its weights, and how it got there."""

    best_epoch: int
    """Counted from 1."""
    state: Mapping[str, Tensor]
    """Weights after the best epoch, on the CPU."""
    history: tuple[Epoch, ...]


@dataclass(frozen=True)
class Scores:
    """A model's answers for some clips, in the order asked."""

    values: NDArray[np.float64]
    """(clips,)"""
    extras: Mapping[str, NDArray[np.float64]]
    """Named, (clips, …)."""


def task_loss(prediction: Tensor, labels: Tensor) -> Tensor:
    """Mean L1 distance, the loss of every paper's regression here (UEGD section 3.1)."""
    return functional.l1_loss(prediction, labels)


def rate_factor(step: int, steps: int, config: TrainConfig) -> float:
    """Share of the peak learning rate at `step` of `steps`, counted from 0.

    A straight rise over the first ``warmup`` share of the steps, then a half cosine down to zero
    (which the step after the last would reach), or no change.
    """
    rising = round(config.warmup * steps)
    if step < rising:
        return (step + 1) / rising
    if config.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))


def fit(
    model: FusionModel,
    data: Selection,
    config: TrainConfig,
    seed: int,
    protocol: str,
    on_epoch: Callable[[], None] = lambda: None,
) -> Fit:
    """Train `model` in place on the training clips of `data`; its last weights stay in it.

    `protocol` names the validation metrics of the history; `on_epoch` is called after each epoch.
    Raises RunError naming epoch, batch and clips if the loss is no longer a number.
    """
    rows, device = data.rows["train"], data.labels.device
    truth = data.table.labels[data.rows["valid"]]
    optimizer = torch.optim.Adam(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    steps = math.ceil(len(rows) / config.batch_size)  # of one epoch
    history: list[Epoch] = []
    best, lowest, state = 0, math.inf, dict[str, Tensor]()
    for epoch in range(1, config.epochs + 1):
        began = time.perf_counter()
        shuffled = rows[torch.randperm(len(rows), generator=stream(seed, "order", epoch))]
        batches = torch.split(shuffled, config.batch_size)
        done = (epoch - 1) * steps
        factors = [rate_factor(done + s, config.epochs * steps, config) for s in range(steps)]
        masking = stream(seed, "masking", epoch, device)
        with global_stream(seed, "dropout", epoch, device):
            losses = _train_epoch(model, data, batches, optimizer, factors, config, masking)
        _refuse_divergence(losses, batches, epoch, data)
        answers = predict(model, data, data.rows["valid"]).values
        valid_loss = float(np.abs(answers - truth).mean())
        if not math.isfinite(valid_loss):
            raise RunError(f"Epoch {epoch}, validation: a prediction is not finite. {REMEDY}")
        sizes = torch.tensor([len(batch) for batch in batches])
        history.append(
            Epoch(
                epoch=epoch,
                train_loss=float((losses * sizes).sum() / sizes.sum()),
                valid_loss=valid_loss,
                learning_rate=config.learning_rate * factors[-1],
                seconds=time.perf_counter() - began,
                valid=score(truth, answers, protocol),
            )
        )
        if valid_loss < lowest:
            best, lowest = epoch, valid_loss
            state = {k: v.detach().to("cpu", copy=True) for k, v in model.state_dict().items()}
        on_epoch()
        if config.patience is not None and epoch - best >= config.patience:
            break
    return Fit(best, state, tuple(history))


def _train_epoch(
    model: FusionModel,
    data: Selection,
    batches: tuple[Tensor, ...],
    optimizer: torch.optim.Optimizer,
    factors: list[float],
    config: TrainConfig,
    masking: torch.Generator,
) -> Tensor:
    """One pass; the loss of every batch, (batches,) on the CPU."""
    model.train()
    # losses stay on the device until the epoch ends: reading one would wait for the GPU
    losses = torch.zeros(len(batches), device=data.labels.device)
    for step, (index, factor) in enumerate(zip(batches, factors, strict=True)):
        batch = hide(data.batch(index), config.mask_time, config.mask_width, masking)
        output = model(batch)
        loss = task_loss(output.prediction, batch.labels)
        for term in output.losses.values():
            loss = loss + term
        losses[step] = loss.detach()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        if config.clip_norm is not None:
            clip_grad_norm_(model.parameters(), config.clip_norm)
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * factor
        optimizer.step()
    return losses.cpu()


def predict(model: FusionModel, data: Selection, rows: Tensor) -> Scores:
    """Score the clips `rows` (int64 rows of the table); dropout and masking are off."""
    model.eval()
    order = data.lengths(rows).argsort(stable=True)  # clips of like length waste little padding
    values, extras = list[Tensor](), dict[str, list[Tensor]]()
    with torch.inference_mode():
        for index in torch.split(rows[order], SCORING_BATCH):
            output = model(data.batch(index))
            values.append(output.prediction)
            for name, extra in output.extras.items():
                extras.setdefault(name, []).append(extra)
    back = order.argsort()
    return Scores(
        values=_array(values, back), extras={name: _array(e, back) for name, e in extras.items()}
    )


def _array(parts: list[Tensor], order: Tensor) -> NDArray[np.float64]:
    joined: NDArray[np.float64] = torch.cat(parts).cpu()[order].double().numpy()
    return joined


def _refuse_divergence(
    losses: Tensor, batches: tuple[Tensor, ...], epoch: int, data: Selection
) -> None:
    wrong = (~losses.isfinite()).nonzero().flatten().tolist()
    if wrong:
        first = wrong[0]
        clips = ", ".join(data.table.ids[row] for row in batches[first].tolist())
        raise RunError(
            f"Epoch {epoch}, batch {first + 1} of {len(batches)}: the loss is "
            f"{losses[first].item()}. Its clips: {clips}. {REMEDY}"
        )
