"""One word of a clip, and when it was said. Light, as tables of clips carry it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """One word of a clip."""

    text: str
    start: float | None = None
    """Seconds from the clip's beginning; None: not known."""
    end: float | None = None
    begins: int = -1
    """Where it stands in the transcript, in characters; -1: nowhere."""
    ends: int = -1
