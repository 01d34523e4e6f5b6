"""Sealed documents: JSON that says what it is, of which version, and that it is whole."""

import errno
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import CorruptStoreError, NewerStoreError, StoreError, remedy

VERSION = 1
"""Of everything a store consists of; raised when an older reader would misread what we write."""
STORE, COMPLETE = "store.json", "complete.json"
"""What the store is; which parts it had, and which clips failed, when an extraction finished."""
REPAIR = (
    "`sedimental cache verify --repair` drops what is damaged, `sedimental extract` writes it anew."
)


def dump(value: object) -> bytes:
    """One compact ASCII line, the same for the same value: clip ids may hold any code point."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def digest(data: bytes) -> str:
    """32 hex digits of blake2b."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def seal(kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """`body` with its kind, version and digest in front."""
    head = {"format": f"sedimental-{kind}", "version": VERSION}
    return head | {"blake2b": digest(dump(head | dict(body)))} | dict(body)


def unseal(kind: str, document: object, where: Path) -> dict[str, Any]:
    """The body that was sealed.

    Raises CorruptStoreError if it is not what was sealed, NewerStoreError if a later version
    of this package sealed it; both name `where`.
    """
    found = dict(document) if isinstance(document, dict) else {}
    version = found.get("version")
    if found.get("format") != f"sedimental-{kind}" or not isinstance(version, int):
        raise CorruptStoreError(f"{where}: not a sedimental {kind} document. {REPAIR}")
    if version > VERSION:
        raise NewerStoreError(
            f"{where}: written in store format {version}, this sedimental reads up to {VERSION}. "
            "Upgrade sedimental; nothing was changed."
        )
    sealed = found.pop("blake2b", None)
    if sealed != digest(dump(found)):
        raise CorruptStoreError(f"{where}: its text is not what was written. {REPAIR}")
    return {key: value for key, value in found.items() if key not in ("format", "version")}


def read_record(kind: str, path: Path) -> dict[str, Any]:
    """The body of the sealed JSON file at `path`; raises as `unseal` does.

    FileNotFoundError or NotADirectoryError if it is not there, StoreError if it may not be read.
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as fault:
        raise unreadable(path, fault) from fault
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):  # not JSON, or not even text
        document = None
    body = unseal(kind, document, path)
    if data != dump(document) + b"\n":
        raise CorruptStoreError(f"{path}: its text is not what was written. {REPAIR}")
    return body


def unreadable(path: Path, fault: OSError) -> StoreError:
    """What a file of a store is that the system cannot, or may not, read."""
    why = os.strerror(fault.errno) if fault.errno else str(fault)
    if fault.errno in (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        return StoreError(f"{path}: cannot be read: {why}. {remedy(fault)}")
    return CorruptStoreError(f"{path}: cannot be read: {why}. {REPAIR}")


def record(kind: str, body: Mapping[str, Any]) -> bytes:
    """The text of a file that `read_record` reads."""
    return dump(seal(kind, body)) + b"\n"
