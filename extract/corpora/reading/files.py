"""Files of a corpus: found, and read as text or JSON, or one clear fault."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ....errors import ManifestError
from .csv_rows import decoded


def read_text(path: Path, encodings: Sequence[str] = ("utf-8",), remedy: str = "") -> str:
    """The file at `path` as text; raises ManifestError where it is missing or not text."""
    try:
        return decoded(path.read_bytes(), encodings)
    except FileNotFoundError:
        raise ManifestError(f"{path}: no such table. Check corpus.path in pipeline.toml.") from None
    except IsADirectoryError:
        raise ManifestError(
            f"{path}: is a folder, and corpus.path names the table in it for this corpus.kind."
        ) from None
    except (UnicodeDecodeError, ValueError) as fault:
        raise ManifestError(f"{path}: not a UTF-8 table: {fault}. {remedy}") from None
    except OSError as fault:
        raise ManifestError(f"{path}: cannot be read: {fault.strerror or fault}.") from None


def read_json(path: Path, remedy: str) -> Any:
    """What the JSON file at `path` holds; raises ManifestError, also for a key that comes twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if twice := [key for key, n in Counter(k for k, _ in pairs).items() if n > 1]:
            raise ManifestError(f"{path}: the key {twice[0]!r} stands twice in one object.")
        return dict(pairs)

    text = read_text(path, remedy=remedy)
    try:
        return json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as fault:
        why = "nested too deeply" if isinstance(fault, RecursionError) else fault
        raise ManifestError(f"{path}: not valid JSON: {why}. {remedy}") from None


def by_hash(names: Iterable[str]) -> list[str]:
    """`names` in order of the hash of each: drawn by chance, and what else there is changes little.

    Each once.
    """
    return sorted(set(names), key=lambda n: hashlib.blake2b(n.encode(errors="replace")).digest())


def is_there(path: Path) -> bool:
    """Whether a file is at `path`; a name that no file can have is of none."""
    try:
        return path.is_file()
    except OSError:  # too long
        return False


def first_there(folder: Path, paths: Sequence[str | Path]) -> str:
    """The first of `paths` below `folder` at which a file is; the first of all where none is, so
    that the fault names it."""
    return str(next((path for path in paths if is_there(folder / path)), paths[0]))


def first_file(folder: Path, name: str, places: Sequence[str]) -> Path:
    """The file `name` in the first of `places` below `folder` that has it; else ManifestError."""
    file = next((p for p in (folder / place / name for place in places) if p.is_file()), None)
    if file is None:
        looked = ", ".join(str(Path(place) / name) for place in places)
        raise ManifestError(
            f"{folder}: no {name} in this folder (looked for {looked}). Check corpus.path in "
            "pipeline.toml: it is the folder that the corpus was unpacked to."
        )
    return file
