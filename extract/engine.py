"""Who does the work of an extraction: this process, or others that it hands shares to."""

from dataclasses import dataclass
from typing import Protocol

from ..config import Config
from ..errors import SedimentalError
from ..progress import Progress
from .doctor import Diagnosis, diagnose
from .encoders.device import ComputeDevice
from .fill import fill
from .stage_times import Clock
from .survey import Survey


class EngineError(SedimentalError):
    """An engine that is not there, or has lost whoever could work."""


class Engine(Protocol):
    """Makes what a survey found lacking; `extract` surveys before, and takes stock after."""

    @property
    def device(self) -> str:
        """What it computes on, in a word."""

    def diagnose(self, found: Survey) -> Diagnosis:
        """What is about to be done and on what; what is in the way are its findings."""

    def fill(self, found: Survey, diagnosis: Diagnosis, clock: Clock, progress: Progress) -> None:
        """Extract what any store lacks, and leave in each work the clips that failed."""


@dataclass(frozen=True)
class LocalEngine:
    """The engine that is this process, with its device and its decoding threads."""

    config: Config
    estimates: bool = True
    """Whether it tells how long a large corpus will take."""

    @property
    def device(self) -> str:
        return str(ComputeDevice.of(self.config.extract).device)

    def diagnose(self, found: Survey) -> Diagnosis:
        return diagnose(found)

    def fill(self, found: Survey, diagnosis: Diagnosis, clock: Clock, progress: Progress) -> None:
        fill(found, clock, progress, diagnosis if self.estimates else None)
