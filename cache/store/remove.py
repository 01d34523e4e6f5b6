"""Removing a store: only what a store consists of, and only where it is certain to be one."""

import re
from collections.abc import Iterator
from pathlib import Path

from ...errors import SedimentalError, StoreError, StoreNotFoundError
from . import index
from .atomic_write import TEMPORARY, clear_stale, explained, remove
from .parts.part import PART_NAME
from .sealed_json import STORE, read_record

_FILES = re.compile(r"store\.json|complete\.json|manifest-[^/]*\.jsonl|probe-\w+\.npy")
_IN_A_PART = re.compile(r"[^/]+/(zarr\.json|[^/]+/(zarr\.json|c(\.0)*))")
_TEMPORARY = re.compile(rf"{re.escape(TEMPORARY)}[0-9a-f]{{8}}-\d+-[0-9a-f]{{8}}-.*", re.DOTALL)


def remove_store(path: Path) -> None:
    """Remove the store at `path`: it is gone at once, then its space is freed.

    Nothing is removed, and StoreError says why, if the folder is a link, no store that this package
    has written, or holds anything beside a store's own files; links are never followed.
    """
    refuse_foreign(path)
    with explained(path):
        clear_stale(path.parent)  # what an earlier removal, killed half-way, has left
        remove(path)


def refuse_foreign(path: Path) -> None:
    """Raises StoreError unless the folder at `path` is a store of ours and nothing else."""
    if path.is_symlink():
        raise StoreError(
            f"{path}: a link to {path.resolve()}; nothing was removed. Name the folder itself."
        )
    if not (path / STORE).is_file() and not (path.is_dir() and index.part_names(path)):
        raise StoreNotFoundError(
            f"{path}: no feature store here ({STORE} is missing); nothing was removed."
        )
    if found := next(foreign_files(path), None):
        raise StoreError(
            f"{path}: holds {found}, which no feature store consists of; nothing was removed. "
            "Move it away, or remove the folder yourself."
        )
    if not written_by_us(path):
        raise StoreError(
            f"{path}: neither its {STORE} nor any part is intact enough to tell that this is a "
            "feature store; nothing was removed. Remove the folder yourself."
        )


def foreign_files(path: Path) -> Iterator[str]:
    """Names, relative to the folder at `path`, of all that no store consists of; of links too."""
    for entry in sorted(path.iterdir()):
        if entry.is_symlink():
            yield entry.name
        elif _TEMPORARY.fullmatch(entry.name):
            continue
        elif PART_NAME.fullmatch(entry.name) and entry.is_dir():
            for file in sorted(entry.rglob("*")):
                name = file.relative_to(path).as_posix()
                if file.is_symlink() or not (file.is_dir() or _IN_A_PART.fullmatch(name)):
                    yield name
        elif not entry.is_file() or not (
            PART_NAME.fullmatch(entry.name) or _FILES.fullmatch(entry.name)
        ):
            yield entry.name


def written_by_us(path: Path) -> bool:
    """Whether the folder's store.json, or any of its parts, is intact enough to tell."""
    try:
        read_record("store", path / STORE)
        return True
    except (SedimentalError, OSError):
        return any(_intact(path, name) for name in index.part_names(path))


def _intact(path: Path, part: str) -> bool:
    try:
        index.read_part(path, part)
    except SedimentalError:
        return False
    return True
