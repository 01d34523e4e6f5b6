"""How a stage tells what it is doing, without knowing who listens."""

import logging
import os
import platform
import shlex
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

LOG = logging.getLogger("sedimental")
LOG_FOLDER = "logs"
LOG_AFTER = 10.0
"""Seconds of work from which on a command keeps a log: what is done at once writes nothing."""


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


class Lines:
    """Writes lines where bars cannot be drawn: of a task in work one every so many seconds.

    A task that is done sooner leaves no line.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        every: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write, self._every, self._clock = write, every, clock
        self._tasks: dict[str, _Task] = {}
        self._lock = threading.Lock()

    def start(self, task: str, total: int, unit: str = "clip") -> None:
        """Begin to count."""
        with self._lock:
            self._tasks[task] = _Task(task, total, unit, self._clock())

    def advance(self, task: str, by: int = 1) -> None:
        """Count, and write the task's line if it is due."""
        with self._lock:
            known, now = self._tasks[task], self._clock()
            known.done += by
            due = now - known.seen[-1][0] >= self._every
            ended = known.done >= known.total and now - known.began >= self._every
            line = known.line(now) if due or ended else ""
        if line:
            self._write(line)

    def note(self, message: str) -> None:
        """Write it."""
        self._write(message)


class _Task:
    def __init__(self, name: str, total: int, unit: str, began: float) -> None:
        self.name, self.total, self.unit, self.began = name, total, unit, began
        self.done = 0
        self.seen = deque([(began, 0)], maxlen=5)
        """When a line was due, and how much was done then: the rate is that of these minutes."""

    def line(self, now: float) -> str:
        """``training: 120 of 900 epochs (13 %), 2.1 epochs/s, 6 min left``."""
        then, before = self.seen[0]
        rate = (self.done - before) / max(now - then, 1e-9)
        self.seen.append((now, self.done))
        text = f"{self.name}: {self.done} of {self.total} {self.unit}s"
        text += f" ({self.done / self.total:.0%})" if self.total else ""
        if self.done >= self.total:
            return f"{text} in {duration_text(now - self.began)}"
        if rate <= 0:
            return text
        per, of = next((p, of) for p, of in ((1, "s"), (60, "min"), (3600, "h")) if _fits(rate, p))
        left = duration_text((self.total - self.done) / rate)
        return f"{text}, {rate * per:.1f} {self.unit}s/{of}, {left} left"


def _fits(rate: float, seconds: int) -> bool:
    return rate * seconds >= 1 or seconds == 3600


def duration_text(seconds: float) -> str:
    """Seconds in words.

    >>> duration_text(42), duration_text(754), duration_text(11_400)
    ('42 s', '13 min', '3 h 10 min')
    """
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


@contextmanager
def log_below(folder: Path | None, command: str = "") -> Iterator[None]:
    """Within, what is told goes to a file in `folder`/logs as well; None: to none."""
    if folder is None:
        yield
        return
    moment = time.strftime("%Y%m%d-%H%M%S")
    handler = _LateFile(folder / LOG_FOLDER / f"{command}-{moment}-{os.getpid()}.log")
    level = LOG.level
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    try:
        _begin()
        yield
        LOG.info("finished")
    except BaseException as fault:
        LOG.info("ended by %s: %s", type(fault).__name__, fault)
        raise
    finally:
        LOG.setLevel(level)
        LOG.removeHandler(handler)
        handler.close()


def _begin() -> None:
    from . import __version__

    LOG.info("%s", shlex.join(sys.argv))
    LOG.info("sedimental %s on %s, process %d", __version__, platform.node(), os.getpid())


class _LateFile(logging.Handler):
    """Keeps lines until a command has been at it for a while, then writes them and the next.

    Appended a line at a time, as it is read while it grows and after a crash. A disk that refuses
    it ends nothing: the log is then left.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path, self._began = path, time.monotonic()
        self._waiting: list[str] = []
        self._refused = False
        self.setFormatter(logging.Formatter("%(asctime)s  %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line or write it."""
        self._waiting += self.format(record).splitlines()
        if self._refused or time.monotonic() - self._began < LOG_AFTER:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write("".join(f"{line}\n" for line in self._waiting))
        except OSError:
            self._refused = True
        self._waiting = []
