"""How a stage tells what it is doing, without knowing who listens."""

from typing import Protocol


class Progress(Protocol):
    """Receives the advance of named tasks; a terminal draws bars from it, a test counts."""

    def start(self, task: str, total: int, unit: str = "clip") -> None:
        """Begin `task` with `total` units of work (or begin it anew)."""

    def advance(self, task: str, by: int = 1) -> None:
        """`by` more units of `task` are done."""

    def note(self, message: str) -> None:
        """One line worth the user's eye (a failed clip, a finished run)."""


class Silent:
    """The listener that hears nothing: the default of every function."""

    def start(self, task: str, total: int, unit: str = "clip") -> None:
        """Ignore."""

    def advance(self, task: str, by: int = 1) -> None:
        """Ignore."""

    def note(self, message: str) -> None:
        """Ignore."""
