"""What we ask of an operating system beyond plain files, wherever it or its file system lacks it.

To hint how a file will be read, or to sync a folder, is to ask a favour: it may be refused (CIFS,
VirtualBox), or not exist (macOS, Windows), and costs then speed or safety against a loss of power,
which is said once, never the work.
"""

import errno
import functools
import logging
import os
from pathlib import Path
from typing import Literal

REFUSED = frozenset(
    {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.ENOTTY}
)
"""How a file system says that it cannot do this at all; anything else is a fault."""


def write_at(descriptor: int, data: memoryview, offset: int) -> None:
    """Write all of `data` (bytes) at `offset`; the kernel may take it in several bites."""
    while data:
        if hasattr(os, "pwrite"):
            done = os.pwrite(descriptor, data, offset)
        else:  # Windows; whoever opened the descriptor has it for itself
            os.lseek(descriptor, offset, os.SEEK_SET)
            done = os.write(descriptor, data)
        data, offset = data[done:], offset + done


def read_at(descriptor: int, view: memoryview, offset: int) -> int:
    """Read bytes at `offset` into `view`; how many there were, 0 at the end of the file."""
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [view], offset)
    if hasattr(os, "pread"):
        found = os.pread(descriptor, len(view), offset)
    else:
        os.lseek(descriptor, offset, os.SEEK_SET)
        found = os.read(descriptor, len(view))
    view[: len(found)] = found
    return len(found)


def advise(descriptor: int, start: int, size: int, hint: Literal["RANDOM", "DONTNEED"]) -> None:
    """Hint at what happens next to `size` bytes (0: all) from `start`: speed, and nothing more."""
    try:
        os.posix_fadvise(descriptor, start, size, getattr(os, f"POSIX_FADV_{hint}"))
    except (AttributeError, OSError):
        return


def sync_file(path: Path) -> None:
    """Return when the bytes of the file at `path` are on the disk; OSError if they cannot be."""
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        sync_descriptor(descriptor)
    finally:
        os.close(descriptor)


def sync_descriptor(descriptor: int) -> None:
    """Return when what was written to an open file is on the disk."""
    _sync(descriptor, "files")


def _sync(descriptor: int, what: str) -> None:
    try:
        os.fsync(descriptor)
    except OSError as fault:
        if fault.errno not in REFUSED:
            raise
        say_once(f"{what} cannot be synced here: what was written last may be lost with the power.")


def sync_folder(path: Path) -> None:
    """Return when the names in the folder at `path` are on the disk, where that can be asked."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:  # Windows opens no folders; a folder without the right to list is rare
        return
    try:
        _sync(descriptor, "folders")
    finally:
        os.close(descriptor)


@functools.cache
def say_once(message: str) -> None:
    """A warning that a process gives a single time, on stderr unless `logging` is set up."""
    logging.getLogger("sedimental").warning("note: %s", message)
