"""SIGTERM, by which Slurm and most clouds announce that they want the machine back.

It ends nothing by itself: it is noted, and training ends at the next step, where all can be kept.
"""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from ...errors import SedimentalError

EXIT_CODE = 128 + signal.SIGTERM
"""143, as of any process that SIGTERM has ended."""
GOES_ON = "The same command goes on from there."


class Preempted(SedimentalError):
    """Training was asked to end before it was done; its message says what is kept."""

    code = EXIT_CODE


@dataclass
class Notice:
    """Whether we have been asked to end."""

    came: bool = False

    def raise_if_set(self, where: str) -> None:
        """Raises Preempted, for a place where there is nothing to be kept, if it came."""
        if self.came:
            raise Preempted(f"stopped by SIGTERM {where}. {GOES_ON}")


@contextmanager
def catch_sigterm() -> Iterator[Notice]:
    """Within, SIGTERM only sets the notice; a second one changes nothing.

    A process may hear it twice: from Slurm, and from the torchrun that Slurm told too.
    """
    notice = Notice()

    def note(number: int, frame: FrameType | None) -> None:
        notice.came = True

    with _handled([signal.SIGTERM], note):
        yield notice


@contextmanager
def raising_on_sigterm(outcome: str) -> Iterator[None]:
    """Within, SIGTERM and SIGHUP raise Preempted, so that what is temporary is removed.

    Its message ends with the `outcome`.
    """

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)  # a second one would interrupt the removal
        raise Preempted(f"stopped by {signal.Signals(number).name}; {outcome}")

    with _handled([getattr(signal, n) for n in ("SIGTERM", "SIGHUP") if hasattr(signal, n)], end):
        yield


@contextmanager
def _handled(
    numbers: Sequence[int], handler: Callable[[int, FrameType | None], None]
) -> Iterator[None]:
    """Within, `handler` has these signals.

    Python gives signals to the main thread alone: called from another one, none ever comes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
