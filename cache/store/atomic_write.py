"""How everything is written: under a temporary name, synced, renamed. There is no other way.

A name is at any moment what it was before, or the new file or folder, whole; of two writers of one
name one wins. What fails, or is killed, leaves a hidden temporary at most, which the next writer in
that folder sweeps up.
"""

import contextlib
import errno
import hashlib
import os
import platform
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from ...errors import SedimentalError, StoreError, remedy
from .file_system import sync_file, sync_folder

TEMPORARY = ".tmp-"
STALE_HOURS = 24.0
"""Age at which a temporary of another machine counts as abandoned."""
_OURS = re.compile(rf"{re.escape(TEMPORARY)}[^-]+-\d+-.+", re.DOTALL)
_TAIL = 60
"""Characters of a name that its temporary keeps: some systems take 255 bytes and no more."""
_THERE = (errno.EEXIST, errno.ENOTEMPTY, errno.EISDIR, errno.ENOTDIR)

Existing = Literal["replace", "keep"]


@contextlib.contextmanager
def fresh(path: Path, existing: Existing = "replace") -> Iterator[Path]:
    """A temporary path to build a file or a folder at; on leaving, it becomes `path`, durably.

    What lies at `path` already is replaced, or kept, whichever the caller wants; another's folder
    may be both gone and not yet replaced for a moment. Folders above are made. What fails half-way
    leaves no trace. Raises OSError that names `path` for what the system refuses.
    """
    temporary = temporary_path(path.parent, path.name)
    made: list[Path] = []
    try:
        with naming(path, temporary):
            made = make_folder(path.parent)
            yield temporary
            sync_tree(temporary)
            _take_place(temporary, path, existing)
            sync_folder(path.parent)
    except BaseException:
        _discard(temporary)
        for folder in reversed(made):
            with contextlib.suppress(OSError):  # others may be in it by now
                folder.rmdir()
        raise
    _discard(temporary)  # where what was there is kept


def replace(path: Path, data: bytes | str) -> Path:
    """Write the file at `path`; text as UTF-8, as it stands. Returns `path`.

    A file that holds `data` already is left alone, so that nothing need be writable then.
    """
    if not holds(path, data):
        with fresh(path) as temporary:
            temporary.write_bytes(_bytes(data))
    return path


def holds(path: Path, data: bytes | str) -> bool:
    """Whether the file at `path` is there with exactly these bytes."""
    data = _bytes(data)
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


def remove(path: Path) -> None:
    """Take the file or folder at `path` away at once, then free its space; follows no links."""
    doomed = temporary_path(path.parent, path.name)
    path.rename(doomed)
    sync_folder(doomed.parent)
    _discard(doomed)


def make_folder(path: Path) -> list[Path]:
    """Make the folder at `path` and those above it, durably; returns the new ones, outer first."""
    if path.is_dir():
        return []
    made = make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)
    return [*made, path]


def sync_tree(path: Path) -> None:
    """Return when the file or the folder at `path`, with all that is in it, is on the disk."""
    if path.is_file():
        return sync_file(path)
    for folder, _, files in os.walk(path, topdown=False):
        for name in files:
            sync_file(Path(folder, name))
        sync_folder(Path(folder))


def temporary_path(folder: Path, name: str) -> Path:
    """A name in `folder` that no reader looks at and that tells who is writing it."""
    tail = name.encode(errors="surrogateescape")[-_TAIL:].decode(errors="ignore")
    return folder / f"{TEMPORARY}{_host()}-{os.getpid()}-{secrets.token_hex(4)}-{tail}"


@contextlib.contextmanager
def scratch_folder(name: str) -> Iterator[Path]:
    """A folder in TMPDIR for as long as the block lasts, which nobody else may read.

    Those that a killed process of this `name` has left are removed first.
    """
    root = Path(tempfile.gettempdir())
    clear_stale(root, name)
    folder = temporary_path(root, name)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        _discard(folder)


def clear_stale(folder: Path, name: str = "") -> None:
    """Remove temporaries whose writer is dead: its process on this machine, else by their age.

    With a `name`, of that alone.
    """
    for path in folder.glob(f"{TEMPORARY}*-{name or '*'}"):
        if not _OURS.fullmatch(path.name):
            continue
        with contextlib.suppress(OSError):  # another writer cleans too, or it may not be written
            if _abandoned(path):
                _discard(path)


def _take_place(temporary: Path, path: Path, existing: Existing) -> None:
    """Give what was made at `temporary` the name `path`; whatever was there before, or comes."""
    if existing == "keep":
        return _unless_there(temporary, path)
    while True:
        try:
            temporary.replace(path)
            return
        except OSError as fault:
            if fault.errno not in _THERE and not (path.is_dir() and os.name == "nt"):
                raise
        with contextlib.suppress(FileNotFoundError):  # another writer has taken it away
            remove(path)


def _unless_there(temporary: Path, path: Path) -> None:
    """The same, only where there is nothing yet."""
    if temporary.is_dir():
        try:
            temporary.rename(path)  # onto a folder, unless it is empty, this fails
        except OSError:
            if not path.exists():
                raise
        return
    try:
        os.link(temporary, path)  # unlike a rename, it never replaces
    except FileExistsError:
        return
    except OSError:  # a file system without links: the moment between is one nobody can close
        if not path.exists():
            temporary.rename(path)


def _bytes(data: bytes | str) -> bytes:
    # a name of a file may hold bytes that are no text; JSON and TOML of ours never do
    return data.encode(errors="surrogatepass") if isinstance(data, str) else data


def _abandoned(path: Path) -> bool:
    if time.time() - path.lstat().st_mtime > STALE_HOURS * 3600:
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
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def naming(path: Path, temporary: Path) -> Iterator[None]:
    """Let what the system refuses within be told of `path`, not of its `temporary` name."""
    try:
        yield
    except OSError as fault:
        known = str(fault.filename or temporary)
        if fault.errno is not None and known.startswith(str(temporary)):
            fault.filename, fault.filename2 = str(path), None
        raise


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into a StoreError with the way out."""
    try:
        yield
    except OSError as fault:
        if isinstance(fault, SedimentalError):
            raise
        way_out = remedy(
            fault, "Make the folder writable, or choose another with cache.root in pipeline.toml."
        )
        why = os.strerror(fault.errno) if fault.errno else str(fault)  # HDF5 tells it at length
        raise StoreError(f"{path}: cannot be written: {why}. {way_out}") from fault
