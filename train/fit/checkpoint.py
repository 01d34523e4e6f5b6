"""A run in flight on disk: one file, replaced at once, from which it goes on after being killed.

The file is safetensors; its header holds, as JSON, what is not a tensor, and a digest of that and
of all tensors: nothing is believed that was not written. It is written between two steps, where no
gradients are waiting: at the end of an epoch, or within a long one. What being killed may cost is
bounded by a time, and so is what writing costs: a run of seconds writes none.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...cache.runs import Epoch
from ...cache.store.atomic_write import clear_stale, fresh
from ..distributed.ranks import SINGLE_PROCESS, Ranks
from ..distributed.sigterm import GOES_ON, Notice, Preempted
from ..models.shared.interface import FusionModel
from .early_stopping import BestEpoch, weights_of
from .optimizer import Stepper

FORMAT = "sedimental-checkpoint-4"
EVERY = 5.0
"""Seconds of work that being killed may cost between epochs: quicker ones share a checkpoint."""
PATIENCE = 20.0
"""A checkpoint waits for this many times what the last one took to write: a twentieth of a run is
the most that all of them cost."""

KEEPING, ENDING = 1, 2


@dataclass(frozen=True)
class EpochProgress:
    """How far an epoch has come, between two steps; no gradients are waiting there."""

    batches: int
    """Of the epoch's batches, those that the weights have learned from."""
    losses: Tensor
    """(batches,) their losses, on the CPU."""
    seconds: float
    """What they took."""
    streams: Mapping[str, Tensor]
    """Where the random streams of the epoch stand: `seeding.Streams.state`."""


@dataclass
class TrainState:
    """A model, its optimizer and its history, and where in an epoch they stand."""

    model: FusionModel
    stepper: Stepper
    track: BestEpoch
    ranks: Ranks = SINGLE_PROCESS
    within: EpochProgress | None = None
    """None: between two epochs."""


class Checkpoint:
    """Where one run keeps its progress, and when; without a path it keeps nothing."""

    def __init__(
        self,
        path: Path | None = None,
        key: str = "",
        minutes: float = 10.0,
        notice: Notice | None = None,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`key` names all that decides the run's numbers: a file of another key is not read.

        Within an epoch it is written every `minutes` (0: never), and whenever `notice` comes. That
        a file is damaged, so that the run begins anew, is told to `note`.
        """
        self.note = note
        self.path, self.key, self.notice = path, key, notice or Notice()
        self._within = 60 * minutes or math.inf
        self._saved, self._cost = time.monotonic(), 0.0

    def at_step(self, flight: TrainState, within: Callable[[], EpochProgress]) -> None:
        """Between two steps of an epoch: keep everything if it is time; `within` says where.

        Raises Preempted, when all is kept, if we are asked to end.
        """
        if asked := self._asked(flight, self._within):
            flight.within = within()
            self._keep(flight, asked == ENDING)

    def at_epoch(self, flight: TrainState) -> None:
        """As `at_step`, after an epoch."""
        flight.within = None
        if asked := self._asked(flight, EVERY):
            self._keep(flight, asked == ENDING)

    def _asked(self, flight: TrainState, pause: float) -> int:
        """`KEEPING`, `ENDING` or 0, the same in all processes that train together."""
        own, waited = 0, time.monotonic() - self._saved
        if self.notice.came:
            own = ENDING
        elif self.path and flight.ranks.lead and waited >= max(pause, PATIENCE * self._cost):
            own = KEEPING
        return flight.ranks.most(own)

    def _keep(self, flight: TrainState, ending: bool) -> None:
        if flight.ranks.lead:
            self._save(flight)
        if ending:
            epochs, within = len(flight.track.history), flight.within
            where = f" and {within.batches} batches" if within else ""
            kept = "all is kept" if self.path else "nothing is kept"
            raise Preempted(f"stopped by SIGTERM after epoch {epochs}{where}; {kept}. {GOES_ON}")

    def _save(self, flight: TrainState) -> None:
        if self.path is None:
            return
        began = time.monotonic()
        optimizer, scaler = flight.stepper.state()
        track = flight.track
        groups = {"model": weights_of(flight.model), "best": track.state, "optimizer": optimizer}
        # criteria that like the same epoch share its weights, here as in memory
        rivals = {r.best_epoch: r.state for r in track.rivals.values()}
        rivals.pop(track.best_epoch, None)
        groups |= {f"rival.{epoch}": state for epoch, state in rivals.items()}
        head = {
            "format": FORMAT,
            "key": self.key,
            "history": [asdict(line) for line in track.history],
            "best_epoch": track.best_epoch,
            "lowest": track.lowest,
            "rivals": {n: [r.best_epoch, r.lowest] for n, r in track.rivals.items()},
            "scaler": scaler,
        }
        if (within := flight.within) is not None:
            head["within"] = {"batches": within.batches, "seconds": within.seconds}
            groups |= {"streams": within.streams, "losses": {"": within.losses}}
        tensors = {
            f"{group}.{name}": value.detach().cpu().contiguous()
            for group, values in groups.items()
            for name, value in values.items()
        }
        clear_stale(self.path.parent)  # what we were writing when we were killed
        with fresh(self.path) as temporary:
            text = json.dumps(head)
            save_file(tensors, temporary, {"sedimental": text, "blake2b": _digest(text, tensors)})
        self._saved = time.monotonic()
        self._cost = self._saved - began

    def restore(self, flight: TrainState) -> bool:
        """Put everything back as it was kept; False, and nothing is touched, if there is none."""
        here = self.path if flight.ranks.lead else None
        found = _read(here, self.key, self.note) if here else ({}, {})
        head = flight.ranks.from_lead(found[0])
        tensors = flight.ranks.tensors_from_lead(found[1])
        if not head:
            return False
        model = _below(tensors, "model")
        if model.keys() != flight.model.state_dict().keys():  # by other code of the same key
            return False
        flight.model.load_state_dict(model)
        flight.stepper.restore(_below(tensors, "optimizer"), head["scaler"])
        track = flight.track
        track.history = [Epoch(**line) for line in head["history"]]
        track.best_epoch, track.lowest = head["best_epoch"], head["lowest"]
        track.state = _below(tensors, "best")
        for name, rival in track.rivals.items():
            rival.best_epoch, rival.lowest = head["rivals"][name]
            rival.history = list(track.history)
            shared = rival.best_epoch == track.best_epoch
            rival.state = track.state if shared else _below(tensors, f"rival.{rival.best_epoch}")
        if "within" in head:
            streams = _below(tensors, "streams")
            flight.within = EpochProgress(
                **head["within"], losses=tensors["losses."], streams=streams
            )
        return True

    def clear(self) -> None:
        """Forget what was kept."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _read(
    path: Path, key: str, note: Callable[[str], None] = lambda _: None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Head and tensors; empty if the file is missing, damaged or of another run."""
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            text = about.get("sedimental", "{}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if about.get("blake2b") != _digest(text, tensors):
            raise ValueError("it is not what was written")
        head = json.loads(text)
        wanted = (head.get("format"), head.get("key")) == (FORMAT, key)
        return (head, tensors) if wanted else ({}, {})
    except FileNotFoundError:
        pass
    except (OSError, ValueError, SafetensorError) as fault:
        note(f"warning: {path}: damaged ({fault}); the run begins anew")
    return {}, {}


def _digest(head: str, tensors: Mapping[str, Tensor]) -> str:
    """32 hex digits over the head, and over name, type, shape and bytes of every tensor."""
    digest = hashlib.blake2b(head.encode(), digest_size=16)
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _below(tensors: Mapping[str, Tensor], group: str) -> dict[str, Tensor]:
    prefix = f"{group}."
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
