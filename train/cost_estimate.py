"""What a run would cost with frozen encoders and with trained ones, told before it starts.

In mode "finetune" both are measured: a training step of some clips of middle length, and the same
with the encoders' work taken away. In mode "frozen" the encoders are not loaded; what training them
would take is estimated from their size and from how fast this machine multiplies matrices.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from ..cache.spec import Modality
from ..cache.summary import size_text
from .data.dataset import Corpus, Selection
from .fit.loop import previous_of
from .fit.optimizer import Stepper
from .layers.losses import task_loss
from .live_model import LiveModel
from .models.shared.hooks import Remembers, Training, WithinText
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


@dataclass(frozen=True)
class Cost:
    """Of one run with all its epochs."""

    weights: int
    """Trained."""
    bytes: int
    """Memory of weights, gradients, moments and what a step keeps."""
    seconds: float
    """Of training, if no epoch is saved by patience."""

    def __str__(self) -> str:
        return (
            f"{self.weights / 1e6:.3g} M weights, {size_text(self.bytes)}, "
            f"about {time_text(self.seconds)}"
        )


@dataclass(frozen=True)
class Comparison:
    """One run both ways."""

    frozen: Cost | None
    """None where the model works inside an encoder that is trained."""
    finetuned: Cost | None
    """None where no encoder in use can be trained."""
    extraction: float = 0.0
    """Seconds that frozen encoders need once, for all runs; 0 where they are done."""
    measured: bool = True
    """Whether `finetuned` was tried, or estimated."""


def compared(plan: Plan, model: FusionModel, data: Selection) -> Comparison:
    """Both costs of a run with live encoders, from steps of `model`, which are not taken."""
    assert isinstance(model, LiveModel)
    fused, trained = _weights(model.fusion, trained=True), _weights(model, trained=True)
    frozen_weights, epochs = _weights(model) - trained, plan.settings.epochs
    for count in (PROBED, plan.settings.batch_size):
        rows = _middle(data, count)
        with _undisturbed(data):
            _begin(model, data, plan.seed)
            batch = data.batch(rows, previous_of(model))
            whole, kept = _step(model, batch, plan)
            ready, reading = _read(model, batch)
            light, held = _step(model.fusion, ready, plan)
        if whole > WAIT:
            break
    share, size = len(data.rows["train"]) / len(rows), plan.settings.batch_size / len(rows)
    fixed = ADAM * trained + 4 * frozen_weights
    frozen = Cost(fused, int(ADAM * fused + held * size), light * share * epochs)
    return Comparison(
        frozen=None if isinstance(model.fusion, WithinText) else frozen,
        finetuned=Cost(trained, int(fixed + kept * size), whole * share * epochs),
        extraction=reading * len(data.table.ids) / len(rows),
    )


def expected(
    plan: Plan, model: FusionModel, data: Selection, encoders: Mapping[Modality, EncoderSize]
) -> Comparison:
    """The cost of a run on cached layers, and what training `encoders` as well would take."""
    rows = _middle(data, plan.settings.batch_size)
    with _undisturbed(data):
        _begin(model, data, plan.seed)
        seconds, kept = _step(model, data.batch(rows, previous_of(model)), plan)
    fused, epochs = _weights(model, trained=True), plan.settings.epochs
    steps = len(data.rows["train"]) / len(rows)
    frozen = Cost(fused, ADAM * fused + kept, seconds * steps * epochs)
    if not encoders:
        return Comparison(frozen, None, measured=False)
    added, held, work = 0, 0, 0.0
    for m, size in encoders.items():
        lengths = data.sources[m].length_here * size.frames
        longest = int(lengths[data.rows["train"]].max())
        added += size.weights
        held += 4 * KEPT * size.width * size.blocks * longest * len(rows)
        work += 6.0 * size.weights * float(lengths[data.rows["train"]].sum())
    tuned = Cost(
        fused + added,
        ADAM * (fused + added) + kept + held,
        frozen.seconds + work * epochs / _speed(data.labels.device),
    )
    return Comparison(frozen, tuned, measured=False)


def told(title: str, found: Comparison, live: Sequence[str]) -> str:
    """One line for the user."""
    if found.finetuned is None:
        return f"{title}: {found.frozen} a seed"
    names = " and ".join(live)
    once = f" after {time_text(found.extraction)} of extraction" if found.extraction else ""
    if found.measured:
        tuned = f"{title}: a seed with {names} fine-tuned: {found.finetuned}"
        return f"{tuned}; frozen: {found.frozen}{once}" if found.frozen is not None else tuned
    return (
        f"{title}: a seed on frozen encoders: {found.frozen}; "
        f"with {names} fine-tuned, by estimate: {found.finetuned}"
    )


def tell(
    plans: Sequence[Plan],
    corpus: Corpus,
    build: Callable[[Plan, Selection], FusionModel],
    sizes: Callable[[Modality], EncoderSize | None],
) -> Iterator[str]:
    """A line for each kind of run with live encoders among `plans`, or one for the first of all."""
    live = [plan for plan in plans if plan.finetuned]
    kinds = {(plan.model, plan.modalities): plan for plan in reversed(live or plans[:1])}
    for plan in reversed(kinds.values()):
        data = corpus.select(plan.modalities)
        model, title = build(plan, data), plan.title.rpartition(" seed ")[0]
        if plan.finetuned:
            yield told(title, compared(plan, model, data), list(plan.tuning))
        else:
            found = {m: size for m in plan.modalities if (size := sizes(m)) is not None}
            yield told(title, expected(plan, model, data, found), list(found))


def time_text(seconds: float) -> str:
    """Seconds in words.

    >>> time_text(0.4), time_text(75), time_text(4000), time_text(200000)
    ('1 s', '75 s', '67 min', '56 h')
    """
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.0f} h"


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


def _begin(model: Any, data: Selection, seed: int) -> None:
    rows = data.rows["train"].to(data.labels.device)
    if isinstance(model, Remembers):
        with torch.no_grad():
            model.begin(Training(len(data.table.ids), rows, data.labels[rows], seed))


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
