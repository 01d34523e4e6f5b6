"""One run in flight: all that changes while it trains, and so all that a checkpoint keeps."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ..distributed.ranks import SINGLE_PROCESS, Ranks
from ..models.shared.interface import FusionModel
from .early_stopping import BestEpoch
from .optimizer import Stepper


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
