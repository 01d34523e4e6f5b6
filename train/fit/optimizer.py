"""Steps of one model's weights: groups, rates, summed gradients, clipping, mixed precision."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from ...errors import RunError
from ..distributed.ranks import SINGLE_PROCESS, Ranks
from ..models.shared.hooks import Group, Grouped
from ..models.shared.interface import FusionModel
from .settings import Settings

NUMBERS: Mapping[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


def rate_factor(step: int, steps: int, warmup: float, schedule: str) -> float:
    """Share of the peak learning rate at `step` of `steps`, counted from 0.

    A straight rise over the first `warmup` share of the steps, then a half cosine down to zero
    (which the step after the last would reach), or no change.
    """
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    if schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))


def falls(losses: Sequence[float], patience: int) -> int:
    """How often the rate has fallen after epochs of these validation `losses`: whenever more than
    `patience` in a row were no better, by a ten-thousandth, than the best before.

    >>> falls([1.0, 0.9, 0.9, 0.9, 0.9, 0.8], patience=1)
    1
    """
    best, bad, count = math.inf, 0, 0
    for loss in losses:
        better = loss < best * (1 - 1e-4)
        best, bad = (loss, 0) if better else (best, bad + 1)
        if bad > patience:
            count, bad = count + 1, 0
    return count


def rate_factors(
    epoch: int, steps: int, settings: Settings, losses: Sequence[float] = ()
) -> list[float]:
    """Share of the peak learning rate at each of the `steps` of `epoch`, counted from 1.

    `losses` are the validation losses of the epochs before.
    """
    total, done = settings.epochs * steps, (epoch - 1) * steps
    drop = 0.1 ** sum(epoch >= start for start in settings.drops)
    if settings.plateau is not None:
        drop *= settings.plateau_factor ** falls(losses, settings.plateau)
    return [
        drop * rate_factor(done + s, total, settings.warmup, settings.schedule)
        for s in range(steps)
    ]


def groups_of(model: FusionModel) -> list[Group]:
    """The model's own groups, or one of all its trainable weights.

    Raises ValueError if the model's groups are not its trainable weights, each once.
    """
    weights = [p for p in model.parameters() if p.requires_grad]
    if not isinstance(model, Grouped):
        return [Group(tuple(weights))]
    groups = list(model.groups())
    listed = [id(p) for group in groups for p in group.parameters]
    if sorted(listed) != sorted(map(id, weights)):
        raise ValueError(
            f"{type(model).__name__}.groups(): {len(listed)} weights, of which "
            f"{len(set(listed) & set(map(id, weights)))} are among the model's {len(weights)}; "
            "each trainable weight belongs in exactly one group."
        )
    return [group for group in groups if group.parameters]


class Stepper:
    """An optimizer with what surrounds it: ``backward`` for each batch, ``step`` for each group."""

    def __init__(
        self,
        model: FusionModel,
        settings: Settings,
        device: torch.device,
        ranks: Ranks = SINGLE_PROCESS,
    ) -> None:
        """Raises RunError for fp16 without a GPU."""
        self.settings, self.device, self.ranks = settings, device, ranks
        groups = groups_of(model)
        self.weights: list[nn.Parameter] = [p for group in groups for p in group.parameters]
        self.rates = [group.rate * settings.learning_rate for group in groups]
        kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
        decays = [
            settings.weight_decay if g.weight_decay is None else g.weight_decay for g in groups
        ]
        self.optimizer = kind(
            [
                {"params": list(group.parameters), "lr": rate, "weight_decay": decay}
                for group, rate, decay in zip(groups, self.rates, decays, strict=True)
            ],
            fused=True,
        )
        if settings.precision == "fp16" and device.type != "cuda":
            raise RunError(
                'train.precision: "fp16" needs a GPU. "bf16" works here; "fp32" always does.'
            )
        self.scaler = GradScaler(device.type, enabled=settings.precision == "fp16")

    def autocast(self) -> torch.autocast:
        """The arithmetic of the forward pass, as a context."""
        number = NUMBERS.get(self.settings.precision)
        return torch.autocast(self.device.type, dtype=number, enabled=number is not None)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of `loss` to those of the batches since the last step.

        `clip_value` bounds the sum so far; where it is scaled, or a part of that of several
        processes, `step` does.
        """
        torch.autograd.backward(self.scaler.scale(loss))
        if not self.scaler.is_enabled() and self.ranks.count == 1:
            self._bound()

    def _bound(self) -> None:
        if self.settings.clip_value is not None:
            clip_grad_value_(self.weights, self.settings.clip_value)

    def forget(self) -> None:
        """Drop the gradients since the last step."""
        self.optimizer.zero_grad()

    def step(self, factor: float) -> None:
        """Move the weights at `factor` of their peak rates, and forget the gradients."""
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        self.ranks.sum_gradients(self.weights)
        if self.settings.clip_norm is not None or self.settings.clip_value is not None:
            self.scaler.unscale_(self.optimizer)
            self._bound()
        if self.settings.clip_norm is not None:
            clip_grad_norm_(self.weights, self.settings.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What `restore` needs: tensors by name, and plain values."""
        found = self.optimizer.state_dict()["state"]
        tensors = {f"{n}.{key}": value for n, own in found.items() for key, value in own.items()}
        return tensors, self.scaler.state_dict()

    def restore(self, tensors: Mapping[str, Tensor], scaler: Mapping[str, Any]) -> None:
        """Go on from where `state` was taken."""
        known = self.optimizer.state_dict()
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            number, _, key = name.partition(".")
            state.setdefault(int(number), {})[key] = value
        self.optimizer.load_state_dict({**known, "state": state})
        if scaler:
            self.scaler.load_state_dict(dict(scaler))
