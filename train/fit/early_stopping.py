"""How far one run has come: its history, the epoch to keep, and when to stop."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from ...cache.runs import Epoch
from ..models.shared.interface import FusionModel
from .settings import Settings


@dataclass
class BestEpoch:
    """One run's progress, epoch by epoch."""

    settings: Settings
    history: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0
    """Counted from 1."""
    lowest: float = float("inf")
    """The criterion at the best epoch, turned so that less is better; infinite while it has been
    undefined in every epoch (the correlation of constant predictions is): until it has a value,
    the validation loss says which epoch is best."""
    state: Mapping[str, Tensor] = field(default_factory=dict)
    """Weights after the best epoch, on the CPU."""
    rivals: dict[str, "BestEpoch"] = field(default_factory=dict)
    """The same by the other criteria of `settings.also`."""

    def __post_init__(self) -> None:
        for name in self.settings.also:
            own = replace(self.settings, criterion=name, also=())
            self.rivals[name] = BestEpoch(own)

    def take(self, epoch: Epoch, weights: Callable[[], Mapping[str, Tensor]]) -> None:
        """Note a finished epoch, and keep the `weights` after it for every criterion it is best
        in."""
        tracks = (self, *self.rivals.values())
        best = [track for track in tracks if track.add(epoch)]
        kept = weights() if best else {}
        for track in best:
            track.state = kept

    def add(self, epoch: Epoch) -> bool:
        """Note a finished epoch; True if it is the best so far: its weights are to be kept."""
        least_loss = min((e.valid_loss for e in self.history), default=math.inf)
        self.history.append(epoch)
        to_minimise = self.settings.to_minimise(epoch.valid_loss, epoch.valid)
        if self.best_epoch and to_minimise >= self.lowest and not self._undefined(to_minimise):
            return False
        if self.best_epoch and self._undefined(to_minimise) and epoch.valid_loss >= least_loss:
            return False
        self.best_epoch, self.lowest = epoch.epoch, to_minimise
        return True

    def _undefined(self, to_minimise: float) -> bool:
        """Whether the criterion has no value now and never had one."""
        return math.isinf(to_minimise) and math.isinf(self.lowest)

    @property
    def finished(self) -> bool:
        """Whether no epoch is left, or none has been better for as long as the run waits."""
        done, patience = len(self.history), self.settings.patience
        waited = done - self.best_epoch
        return done >= self.settings.epochs or (patience is not None and waited >= patience > 0)

    @property
    def undefined(self) -> bool:
        """Whether the criterion had no value in any epoch, so that the validation loss chose."""
        return bool(self.best_epoch) and math.isinf(self.lowest)


def weights_of(model: "FusionModel | nn.Module") -> dict[str, Tensor]:
    """A copy of every weight and buffer by name, on the CPU."""
    return {k: v.detach().to("cpu", copy=True) for k, v in model.state_dict().items()}
