"""Pickles of others, read without running anything that is in them."""

import os
from pathlib import Path
from typing import IO, Any

from .limits import DEFAULT, Limits, PickleRefusedError, refusing
from .machine import Machine

DAMAGED = (
    EOFError,
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)


def load_plain(path: Path, limits: Limits = DEFAULT) -> Any:
    """What the pickle at `path` holds, if that is containers, text, numbers and arrays of them.

    Nothing is ever looked up, so that no function the file names can run. Raises
    PickleRefusedError naming the first thing refused, or what is wrong with the file. OrderedDict
    and defaultdict come as dict, bytearray as bytes, numpy's scalars as Python's. Each string of
    Python 2 is UTF-8 where it is that, else Latin-1. Arrays hold the very bytes that were read and
    cannot be written to: a large file is in memory once.
    """
    try:
        with path.open("rb") as file:
            return read_plain(file, str(path), os.fstat(file.fileno()).st_size, limits)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise PickleRefusedError(f"{path}: no such file. Check the path.") from None
    except OSError as fault:
        raise PickleRefusedError(f"{path}: cannot be read: {fault.strerror}.") from None


def read_plain(file: IO[bytes], name: str, size: int, limits: Limits = DEFAULT) -> Any:
    """The same of an open file with `size` bytes left; `name` says it in errors."""
    try:
        with refusing(
            f"{name}: not a pickle of plain data",
            "Nothing of it was run; make sure that it is the published file.",
        ):
            return Machine(file, size, limits).run()
    except DAMAGED as fault:
        raise PickleRefusedError(
            f"{name}: a damaged pickle ({type(fault).__name__}). Fetch the file again."
        ) from None
