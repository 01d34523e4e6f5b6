"""What a run would cost with frozen encoders and with trained ones, told before it starts.

In mode "finetune" both are measured: a training step of some clips of middle length, and the same
with the encoders' work taken away. In mode "frozen" the encoders are not loaded; what training them
would take is estimated from their size and from how fast this machine multiplies matrices.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from ..cache.spec import Modality
from ..cache.summary import size_text
from ..progress import duration_text
from .data.dataset import Corpus, Selection
from .fit.loop import begin, previous_of
from .fit.optimizer import Stepper
from .layers.losses import task_loss
from .live_model import LiveModel
from .models.shared.hooks import WithinText
from .models.shared.interface import Batch, FusionModel
from .plan import Plan

PROBED = 4
"""Clips of the step that is tried with live encoders first."""
WAIT = 0.3
"""Seconds from which on that step tells enough; a quicker one is tried again with a whole batch."""
ADAM = 16
"""Bytes a trained weight takes: itself, its gradient, and Adam's two moments."""
KEPT = 17
"""Numbers that a Transformer block keeps for the way back, a frame and unit of width."""


class EncoderSize(Protocol):
    """What is known of an encoder without loading it."""

    @property
    def weights(self) -> int:
        """How many it has."""

    @property
    def blocks(self) -> int:
        """Transformer blocks."""

    @property
    def width(self) -> int:
        """Units of a frame."""

    @property
    def frames(self) -> int:
        """Its own frames for one that is cached."""


Sizes = Callable[[Any, Modality], EncoderSize | None]
"""The encoder of a cached input of a config, if it could be trained: extract.live."""


def tell(
    plans: Sequence[Plan],
    corpus: Corpus,
    build: Callable[[Plan, Selection], FusionModel],
    sizes: Callable[[Modality], EncoderSize | None],
) -> Iterator[str]:
    """A line for each model and subset that is fine-tuned; with none, for the first of all."""
    live = [plan for plan in plans if plan.finetuned]
    kinds = {(plan.model, plan.modalities): plan for plan in reversed(live or plans[:1])}
    for plan in reversed(kinds.values()):
        data = corpus.select(plan.modalities)
        model, title = build(plan, data), plan.title.rpartition(" seed ")[0]
        told = _measured(plan, model, data) if live else _by_size(plan, model, data, sizes)
        yield f"{title}: {told}"


def _measured(plan: Plan, model: FusionModel, data: Selection) -> str:
    """Both costs of a run with live encoders, from steps of `model`, which are not taken."""
    assert isinstance(model, LiveModel)
    fused, trained = _weights(model.fusion, trained=True), _weights(model, trained=True)
    frozen_weights, epochs = _weights(model) - trained, plan.settings.epochs
    for count in (PROBED, plan.settings.batch_size):
        rows = _middle(data, count)
        with _undisturbed(data):
            begin(model, data, plan.seed)
            batch = data.batch(rows, previous_of(model))
            whole, kept = _step(model, batch, plan)
            ready, reading = _read(model, batch)
            light, held = _step(model.fusion, ready, plan)
        if whole > WAIT:
            break
    share, size = len(data.rows["train"]) / len(rows), plan.settings.batch_size / len(rows)
    fixed = ADAM * trained + 4 * frozen_weights
    tuned = _cost(trained, int(fixed + kept * size), whole * share * epochs)
    text = f"a seed with {' and '.join(plan.tuning)} fine-tuned: {tuned}"
    if isinstance(model.fusion, WithinText):  # it works inside an encoder that is trained
        return text
    frozen = _cost(fused, int(ADAM * fused + held * size), light * share * epochs)
    extraction = duration_text(max(1, reading * len(data.table.ids) / len(rows)))
    return f"{text}; frozen: {frozen} after {extraction} of extraction"


def _by_size(
    plan: Plan,
    model: FusionModel,
    data: Selection,
    sizes: Callable[[Modality], EncoderSize | None],
) -> str:
    """The cost of a run on cached layers, and what training the encoders as well would take."""
    encoders = {m: size for m in plan.modalities if (size := sizes(m)) is not None}
    rows = _middle(data, plan.settings.batch_size)
    with _undisturbed(data):
        begin(model, data, plan.seed)
        seconds, kept = _step(model, data.batch(rows, previous_of(model)), plan)
    weights, epochs = _weights(model, trained=True), plan.settings.epochs
    steps = len(data.rows["train"]) / len(rows)
    seconds *= steps * epochs
    frozen = _cost(weights, ADAM * weights + kept, seconds)
    if not encoders:
        return f"{frozen} a seed"
    work = 0.0
    for m, size in encoders.items():
        lengths = data.sources[m].length_here[data.rows["train"]] * size.frames
        weights += size.weights
        kept += 4 * KEPT * size.width * size.blocks * int(lengths.max()) * len(rows)
        work += 6.0 * size.weights * float(lengths.sum())
    seconds += work * epochs / _speed(data.labels.device)
    return (
        f"a seed on frozen encoders: {frozen}; with {' and '.join(encoders)} fine-tuned, "
        f"by estimate: {_cost(weights, ADAM * weights + kept, seconds)}"
    )


def _cost(weights: int, held: int, seconds: float) -> str:
    """Of one run: trained weights; bytes of these, gradients, moments and what a step keeps; time
    of training, if no epoch is saved by patience."""
    time = duration_text(max(1, seconds))
    return f"{weights / 1e6:.3g} M weights, {size_text(held)}, about {time}"


def _middle(data: Selection, count: int) -> Tensor:
    """At most `count` training clips of middle length."""
    rows = data.rows["train"]
    order = rows[data.lengths(rows).argsort(stable=True)]
    first = max(0, (len(order) - count) // 2)
    return order[first : first + count]


def _step(model: Any, batch: Batch, plan: Plan) -> tuple[float, int]:
    """Seconds of one forward and backward pass, the second of two, and the bytes it keeps."""
    stepper = Stepper(model, plan.settings, batch.labels.device)
    model.train()
    seconds, kept = 0.0, 0
    for _ in range(2):
        began = time.perf_counter()
        with _counted() as held:
            with stepper.autocast():
                output = model(batch)
            loss = task_loss(output.prediction.float(), batch.labels, plan.settings.loss)
            for term in output.losses.values():
                loss = loss + term
        stepper.backward(loss)
        loss.detach().cpu()  # waits for a GPU
        seconds, kept = time.perf_counter() - began, sum(held.values())
    for weight in model.parameters():
        weight.grad = None
    return seconds, kept


@contextmanager
def _counted() -> Iterator[dict[int, int]]:
    """Collects the size of every storage that is kept for the way back, each once."""
    held: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            storage = tensor.untyped_storage()
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        yield held


@contextmanager
def _undisturbed(data: Selection) -> Iterator[None]:
    """Random numbers afterwards are those that would have come."""
    device = data.labels.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def _read(model: LiveModel, batch: Batch) -> tuple[Batch, float]:
    """`batch` as if every modality came from the cache, and the seconds of the encoders for it."""
    model.eval()
    began = time.perf_counter()
    with torch.no_grad():
        ready = _plain(model.read(batch))
    return ready, time.perf_counter() - began


def _plain(batch: Batch) -> Batch:
    return replace(
        batch,
        features={m: batch.features[m] for m in batch.features},
        reread={},
        previous=tuple(_plain(before) for before in batch.previous),
    )


def _weights(model: Any, trained: bool = False) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trained)


def _speed(device: torch.device) -> float:
    """Floating-point operations a second in the product of two matrices."""
    size = 512 if device.type == "cpu" else 4096
    one = torch.randn(size, size, device=device)
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        (one @ one)[0, 0].cpu()
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best
