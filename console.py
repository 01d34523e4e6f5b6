"""What commands share: options, and how they write: results on stdout, the rest on stderr."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from .errors import SedimentalError, refusal
from .escape import for_terminal
from .installation import culprit, unloadable
from .progress import LOG, Lines, Progress, log_below

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.status import Status

    from .config import Config, Override
    from .plain_console import PlainConsole


@dataclass(frozen=True)
class PipelineFile:
    """Which pipeline.toml a command reads, and what counts instead of some of its keys."""

    path: Path
    overrides: "tuple[Override, ...]" = ()

    def __str__(self) -> str:
        """As it is named in messages."""
        return str(self.path)


PIPELINE = PipelineFile(Path("pipeline.toml"))
ConfigFile = Annotated[PipelineFile, typer.Option("--config", "-c", help="The pipeline to run.")]
"""`App` in commands.py gives every command with such an option `-o KEY=VALUE` as well."""
WIDE = 1000
"""Columns of what is no terminal: no cell of a table is cut or folded."""
STOPPED = "stopped; what was finished is kept, and the same command goes on from there."
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


def out() -> "PlainConsole":
    """The console of results."""
    from .plain_console import PlainConsole

    # A table piped into a file has whole names instead of being cut at 80 characters.
    return PlainConsole(sys.stdout, None if sys.stdout.isatty() else WIDE)


def err() -> "PlainConsole":
    """The console of progress, notes and faults."""
    from .plain_console import PlainConsole

    return PlainConsole(sys.stderr)


def say(text: str) -> None:
    """A line of the result on stdout, of any length."""
    out().print(text, soft_wrap=True)


def tell(text: str, style: str | None = None) -> None:
    """A line beside the result, on stderr."""
    if text:
        LOG.info("%s", text)
        err().print(text, soft_wrap=True, style=style)


def working(on: str) -> "Status":
    """What shows on a terminal that something goes `on` for a while."""
    from rich.text import Text

    return err().status(Text(on))


def print_json(value: object) -> None:
    """One JSON document on stdout; NaN becomes null, as JSON knows no NaN."""
    unicode = (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    text = json.dumps(_plain(value), indent=2, ensure_ascii=not unicode)
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        from .plain_console import to_nowhere

        to_nowhere(sys.stdout)


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and value != value:
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def fail(message: str, code: int = 1) -> NoReturn:
    """Say what is wrong on stderr and end with `code`: 1 failed, 2 bad command line or config."""
    from rich.text import Text

    LOG.info("error: %s", message)
    err().print(Text.assemble(("error:", "bold red"), f" {message}"), soft_wrap=True)
    raise typer.Exit(code)


@contextmanager
def exit_on_fault(stopped: str = STOPPED) -> Iterator[None]:
    """Turn whatever a user, a file or a disk can do into one message and an exit code.

    Every command runs within it; a command that says more when it is `stopped` by Ctrl-C opens one
    of its own.
    """
    try:
        yield
    except SedimentalError as fault:
        if fault.reported:
            raise typer.Exit(fault.code) from None
        fail(str(fault), fault.code)
    except ImportError as fault:
        if (module := culprit(fault)) == __package__:
            raise  # a slip of ours, no package that is missing
        fail(str(unloadable(module, fault)))
    except OSError as fault:
        fail(refusal(fault))
    except MemoryError:
        fail("there is not enough memory for this.")
    except KeyboardInterrupt:
        fail(stopped, 130)


class Commands(TyperGroup):
    """A group of commands of which none ends in a traceback over a fault that is not ours."""

    def main(self, *given: Any, **named: Any) -> Any:
        """Run as a process: on any stdout and stderr, also closed, full, or of few letters."""
        from .plain_console import prepare_streams, to_nowhere

        prepare_streams()
        try:
            with exit_on_fault():
                return super().main(*given, **named)
        except typer.Exit as end:
            sys.exit(end.exit_code)
        finally:
            for stream in (sys.stdout, sys.stderr):
                try:
                    stream.flush()
                except OSError:  # its command has said so, or nobody reads
                    to_nowhere(stream)

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        """Run the command that was asked for."""
        with exit_on_fault():
            return super().invoke(ctx)


def pipeline(file: PipelineFile, table: bool = False) -> "Config":
    """The pipeline in `file`, checked as a whole, with the corpus's `table` if need be.

    Raises ConfigError with every fault. Values that were understood though they are not written as
    their key wants them are told.
    """
    from .checks import load_config

    config = load_config(file.path, table, file.overrides)
    for note in config.notes:
        tell(f"note: {note}")
    return config


def places(file: PipelineFile) -> "Config":
    """The pipeline in `file` for a command that needs to know where things lie, and no more."""
    from .config import load_config

    return load_config(file.path, overrides=file.overrides)


def corpus_news(config: "Config", update: bool = False) -> tuple[str, ...]:
    """What changed in the corpus since its features were made, told; see `checks.news`."""
    from .checks import news

    found = tuple(news(config, update))
    for text in found:
        tell(f"warning: {text}")
    return found


class Bars:
    """Draws a Progress as bars with rate and time left, and logs its lines."""

    def __init__(self, bars: "RichProgress", lines: Lines) -> None:
        self._bars, self._lines = bars, lines
        self._tasks: dict[str, int] = {}

    def start(self, task: str, total: int, unit: str = "clip") -> None:
        """Show a bar for `task`, or begin it anew."""
        self._lines.start(task, total, unit)
        if task in self._tasks:
            self._bars.remove_task(self._tasks[task])  # type: ignore[arg-type]
        self._tasks[task] = self._bars.add_task(task, total=total, unit=unit)

    def advance(self, task: str, by: int = 1) -> None:
        """Move the bar of `task`."""
        self._lines.advance(task, by)
        self._bars.advance(self._tasks[task], by)  # type: ignore[arg-type]

    def note(self, message: str) -> None:
        """Print a line above the bars."""
        self._lines.note(message)
        self._bars.console.print(for_terminal(message), soft_wrap=True)


@contextmanager
def bars(folder: Path | None = None, command: str = "") -> Iterator[Progress]:
    """A Progress on stderr for as long as the block runs: bars on a terminal, else a line a minute.

    What is told meanwhile goes to a file in `folder`/logs as well.
    """
    with log_below(folder, command):
        if err().is_terminal:
            with _drawn() as found:
                yield found
        else:
            yield Lines(tell)


@contextmanager
def _drawn() -> Iterator[Bars]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: "object") -> Text:
            speed = getattr(task, "finished_speed", None) or getattr(task, "speed", None)
            unit = getattr(task, "fields", {}).get("unit", "")
            return Text(f"{speed:.1f} {unit}/s" if speed else f"- {unit}/s", style="cyan")

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err(), transient=False) as drawn:
        yield Bars(drawn, Lines(partial(LOG.info, "%s")))
