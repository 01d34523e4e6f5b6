"""A log file a command: what it told, and how far it was each minute."""

import logging
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOG = logging.getLogger("sedimental")
FOLDER = "logs"
AFTER = 10.0
"""Seconds of work from which on a command keeps a log: what is done at once writes nothing."""


@contextmanager
def log_below(folder: Path | None, command: str = "") -> Iterator[None]:
    """Within, what is told goes to a file in `folder`/logs as well; None: to none."""
    if folder is None:
        yield
        return
    moment = time.strftime("%Y%m%d-%H%M%S")
    handler = _LateFile(folder / FOLDER / f"{command}-{moment}-{os.getpid()}.log")
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
        if self._refused or time.monotonic() - self._began < AFTER:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write("".join(f"{line}\n" for line in self._waiting))
        except OSError:
            self._refused = True
        self._waiting = []
