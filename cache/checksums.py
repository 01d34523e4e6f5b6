"""Checksums of runs, tables and sweeps: those of a folder's files, or a digest at a file's end.

A store's own are in `store/part.py`.

They are written with the data and checked whenever the data are read, so that a flipped bit, a
file cut short and a file that is gone are found before a number of theirs is used.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import SedimentalError
from .store.sealed_json import digest

FILE = "checksums.json"
FORMAT = "sedimental-checksums-1"
_TRAILER = b"\nblake2b "


class DamagedError(SedimentalError):
    """A file that is not what was written: cut short, changed, or gone."""

    def __init__(self, file: Path, fault: str) -> None:
        self.file, self.fault = file, fault
        super().__init__(f"{file}: {fault}.")


def digest_of(file: Path) -> str:
    """`digest` of the bytes of `file`, read block by block."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def write_checksums(folder: Path) -> None:
    """Write the checksums of all files that `folder`, which is still being made, has by now."""
    files = {p.name: digest_of(p) for p in sorted(folder.iterdir()) if p.name != FILE}
    (folder / FILE).write_bytes(_document(files))


def read_checksums(folder: Path) -> dict[str, str]:
    """What `write_checksums` wrote, by file name; raises DamagedError, and OSError without one."""
    path = folder / FILE
    data = path.read_bytes()
    try:
        found = json.loads(data)
        files = {str(name): str(value) for name, value in found["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise DamagedError(path, "is damaged") from None
    if data != _document(files):
        raise DamagedError(path, "is damaged")
    return files


def read_checked(folder: Path, name: str, checksums: Mapping[str, str] | None = None) -> bytes:
    """The bytes of one file of `folder`; raises DamagedError if they are not those written.

    `checksums` are those of the folder, if they were read already. Raises OSError where the disk
    does not give the file.
    """
    known = read_checksums(folder) if checksums is None else checksums
    path = folder / name
    if name not in known:
        raise DamagedError(path, f"is not among the files that {FILE} lists")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DamagedError(path, "is gone") from None
    if digest(data) != known[name]:
        raise DamagedError(path, "is damaged")
    return data


def damaged_files(folder: Path, names: Sequence[str] | None = None) -> list[DamagedError]:
    """A fault for each file of `folder` (of these `names`; None: all listed) that is not whole."""
    try:
        known = read_checksums(folder)
    except DamagedError as fault:
        return [fault]
    except OSError as fault:
        return [DamagedError(folder / FILE, f"cannot be read: {fault.strerror or fault}")]
    found = []
    for name in known if names is None else names:
        path = folder / name
        try:
            if digest_of(path) != known.get(name):
                found.append(DamagedError(path, "is damaged"))
        except FileNotFoundError:
            found.append(DamagedError(path, "is gone"))
        except OSError as fault:  # a disk that answers EIO
            found.append(DamagedError(path, f"cannot be read: {fault.strerror or fault}"))
    return found


def with_checksum(data: bytes) -> bytes:
    """`data` with its digest at the end; readers of zip archives (npz) pass over it.

    >>> with_checksum(b"x")
    b'x\\nblake2b 442a44457137672b3218c1007dc8f76a\\n'
    """
    return data + _TRAILER + digest(data).encode() + b"\n"


def without_checksum(file: Path) -> bytes:
    """The data of a file that `with_checksum` made.

    Raises DamagedError if it is not what was written, and OSError.
    """
    data = file.read_bytes()
    body = data[: -len(_TRAILER) - 33]
    if data != with_checksum(body):
        raise DamagedError(file, "is damaged")
    return body


def _document(files: Mapping[str, str]) -> bytes:
    # the last line covers the others: without it a flipped bit here would accuse a sound file
    own = {"format": FORMAT, "files": dict(files)}
    whole = own | {"blake2b": digest(json.dumps(own).encode())}
    return json.dumps(whole, indent=1).encode() + b"\n"
