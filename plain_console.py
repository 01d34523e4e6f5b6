"""A terminal on which text is text: no markup, no emoji codes, no control characters of others."""

import os
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from .escape import for_terminal


class PlainConsole(Console):
    """A rich console whose strings mean what they say; styles come as Text and Table alone."""

    def __init__(self, file: TextIO, width: int | None = None) -> None:
        # the file is named, as rich takes one that it finds itself for UTF-8
        super().__init__(file=file, width=width, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **how: Any) -> Text:
        """`text` with its control characters written out."""
        return super().render_str(for_terminal(text, keep="\n"), **how)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """The same of what came as Text: no segment but rich's own steers the terminal."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(for_terminal(segment.text, keep="\n"), segment.style)

    def on_broken_pipe(self) -> None:
        """Nobody reads any more (`| head`): the work goes on, and the rest goes nowhere."""
        to_nowhere(self.file)


def to_nowhere(stream: Any) -> None:
    """Let what is still written to `stream` vanish."""
    try:
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, stream.fileno())
        os.close(descriptor)
    except (OSError, ValueError, AttributeError):
        return


def prepare_streams() -> None:
    """See to it that stdout and stderr are there, and take any text, whatever their encoding."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed before we began (`>&-`)
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
