"""The names of stores on the command line: as `cache ls` shows them, or the start of one."""

from pathlib import Path

from ...config import nearest
from ...errors import StoreError, StoreNotFoundError
from .store import list_stores


def name_of(path: Path) -> str:
    """``demo/vision-tiny-clip-1a2b3c4d``: corpus and folder."""
    return f"{path.parent.name}/{path.name}"


def named_store(name: str, root: Path) -> Path:
    """The store below the cache `root` that `name` means.

    `name` is what `name_of` says, the folder, the encoder, the digits at the folder's end, or the
    beginning of any of these. Raises StoreNotFoundError where there is none, and StoreError where
    there are several, with their names.
    """
    stores = list_stores(root)
    wanted = name.rstrip("/")
    matching = [path for path in stores if wanted in _parts(path)]
    if not matching and wanted:
        matching = [p for p in stores if any(part.startswith(wanted) for part in _parts(p))]
    if len(matching) == 1:
        return matching[0]
    if matching:
        shown = ", ".join(map(name_of, matching))
        raise StoreError(f"{name}: means {len(matching)} stores of {root}: {shown}. Name one.")
    known = [name_of(path) for path in stores]
    hint = nearest(name, [*known, *(path.name for path in stores)])
    listed = hint or (f" Stores there: {', '.join(known)}." if known else " No store is there.")
    raise StoreNotFoundError(f"{name}: no folder, and no store of {root}.{listed}")


def _parts(path: Path) -> tuple[str, ...]:
    whole, _, digits = path.name.rpartition("-")
    return (name_of(path), path.name, whole, whole.partition("-")[2], digits)
