"""A run in flight on disk: one file, replaced at once, from which it goes on after being killed.

The file is safetensors; its header holds, as JSON, what is not a tensor. Random streams need no
place in it, because each epoch has streams of its own (seeding.py).
"""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..cache.durable import replace
from ..cache.runs import Epoch
from .models.base import FusionModel
from .optimising import Stepper
from .tracking import Track, weights_of

FORMAT = "sedimental-checkpoint-1"
EVERY = 5.0
"""Seconds of work that being killed may cost: epochs quicker than that share a checkpoint."""


class Checkpoint:
    """Where one run keeps its progress; without a path it keeps nothing."""

    def __init__(self, path: Path | None = None, key: str = "") -> None:
        """`key` names all that decides the run's numbers: a file of another key is not read."""
        self.path, self.key = path, key
        self._saved = time.monotonic()

    def save(self, model: FusionModel, stepper: Stepper, track: Track) -> None:
        """Keep everything, unless that was done less than `EVERY` seconds ago."""
        if self.path is None or time.monotonic() - self._saved < EVERY:
            return
        optimizer, scaler = stepper.state()
        groups = {"model": weights_of(model), "best": track.state, "optimizer": optimizer}
        # criteria that like the same epoch share its weights, here as in memory
        rivals = {r.best_epoch: r.state for r in track.rivals.values()}
        rivals.pop(track.best_epoch, None)
        groups |= {f"rival.{epoch}": state for epoch, state in rivals.items()}
        tensors = {
            f"{group}.{name}": value.detach().cpu().contiguous()
            for group, values in groups.items()
            for name, value in values.items()
        }
        head = {
            "format": FORMAT,
            "key": self.key,
            "history": [asdict(line) for line in track.history],
            "best_epoch": track.best_epoch,
            "lowest": track.lowest,
            "rivals": {n: [r.best_epoch, r.lowest] for n, r in track.rivals.items()},
            "scaler": scaler,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        replace(self.path, save(tensors, {"sedimental": json.dumps(head)}))
        self._saved = time.monotonic()

    def restore(self, model: FusionModel, stepper: Stepper, track: Track) -> bool:
        """Put everything back as it was kept; False, and nothing is touched, if there is none."""
        found = None if self.path is None else _read(self.path, self.key)
        if found is None:
            return False
        head, tensors = found
        model.load_state_dict(_below(tensors, "model"))
        stepper.restore(_below(tensors, "optimizer"), head["scaler"])
        track.history = [Epoch(**line) for line in head["history"]]
        track.best_epoch, track.lowest = head["best_epoch"], head["lowest"]
        track.state = _below(tensors, "best")
        for name, rival in track.rivals.items():
            rival.best_epoch, rival.lowest = head["rivals"][name]
            shared = rival.best_epoch == track.best_epoch
            rival.state = track.state if shared else _below(tensors, f"rival.{rival.best_epoch}")
        return True

    def clear(self) -> None:
        """Forget what was kept."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _read(path: Path, key: str) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Head and tensors; None if the file is missing, damaged or of another run."""
    try:
        with safe_open(path, framework="pt") as file:
            head = json.loads((file.metadata() or {}).get("sedimental", "{}"))
            if (head.get("format"), head.get("key")) != (FORMAT, key):
                return None
            return head, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, SafetensorError):
        return None


def _below(tensors: Mapping[str, Tensor], group: str) -> dict[str, Tensor]:
    prefix = f"{group}."
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
