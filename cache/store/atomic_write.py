"""How bytes come to lie on disk for good: temporary names, fsync, rename; errors that explain."""

import contextlib
import errno
import hashlib
import os
import platform
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from ...errors import StoreError

TEMPORARY = ".tmp-"
STALE_HOURS = 24.0
"""Age at which a temporary of another machine counts as abandoned."""


def write_at(descriptor: int, data: memoryview, offset: int) -> None:
    """Write all of `data` (bytes) at `offset`; the kernel may take it in several bites."""
    while data:
        done = os.pwrite(descriptor, data, offset)
        data, offset = data[done:], offset + done


def sync(path: Path) -> None:
    """Return when the file or folder at `path` (not what is in it) is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(path: Path) -> None:
    """Return when the file or the folder at `path`, with all that is in it, is on the disk."""
    for folder, _, files in os.walk(path, topdown=False):
        for name in files:
            sync(Path(folder, name))
        sync(Path(folder))
    if path.is_file():
        sync(path)


def replace(path: Path, data: bytes) -> None:
    """Write the file at `path` so that at any moment it is the old one or the new one, whole."""
    temporary = temporary_path(path.parent, path.name)
    try:
        temporary.write_bytes(data)
        sync(temporary)
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def remove(path: Path) -> None:
    """Take the file or folder at `path` away at once, then free its space."""
    doomed = temporary_path(path.parent, path.name)
    path.rename(doomed)
    sync(doomed.parent)
    _discard(doomed)


def temporary_path(folder: Path, name: str) -> Path:
    """A name in `folder` that no reader looks at and that tells who is writing it."""
    return folder / f"{TEMPORARY}{_host()}-{os.getpid()}-{secrets.token_hex(4)}-{name}"


def clear_stale(folder: Path) -> None:
    """Remove temporaries whose writer is dead: its process on this machine, else by their age."""
    for path in folder.glob(f"{TEMPORARY}*"):
        with contextlib.suppress(FileNotFoundError):  # another writer cleans too
            if _abandoned(path):
                _discard(path)


def _abandoned(path: Path) -> bool:
    if time.time() - path.stat().st_mtime > STALE_HOURS * 3600:
        return True
    host, _, rest = path.name.removeprefix(TEMPORARY).partition("-")
    process = rest.partition("-")[0]
    if host != _host() or not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except OSError:  # it lives, under another user
        return False
    return False


def _host() -> str:
    # the namespace of process ids too: containers may share a host name and a folder
    space = Path("/proc/self/ns/pid")
    known = f"{platform.node()} {space.readlink() if space.is_symlink() else ''}"
    return hashlib.blake2b(known.encode(), digest_size=4).hexdigest()


def _discard(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def fresh(path: Path) -> Iterator[Path]:
    """A temporary path to build a file or folder at; on leaving it becomes `path`, durably.

    What fails half-way is removed and leaves no trace at `path`.
    """
    temporary = temporary_path(path.parent, path.name)
    try:
        yield temporary
        sync_tree(temporary)
        temporary.rename(path)
    except BaseException:
        _discard(temporary)
        raise
    sync(path.parent)


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into a StoreError with the way out."""
    try:
        yield
    except OSError as fault:
        if isinstance(fault, StoreError):
            raise
        if fault.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            remedy = "Free some space and run the command again; all parts written so far are safe."
        elif fault.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            remedy = "Make the folder writable, or choose another with cache.root in pipeline.toml."
        else:
            remedy = "All parts written so far are safe; run the command again once that is fixed."
        why = os.strerror(fault.errno) if fault.errno else str(fault)  # HDF5 tells it at length
        raise StoreError(f"{path}: cannot be written: {why}. {remedy}") from fault
