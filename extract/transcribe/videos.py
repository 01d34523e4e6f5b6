"""A folder of raw videos as a table: a row a file, to be transcribed, extracted and predicted."""

import os.path
from collections import Counter
from pathlib import Path

from ...errors import ManifestError
from .sheet import table_bytes

SUFFIXES = frozenset(
    (
        *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp"),
        *(".ts", ".mts", ".ogv", ".wav", ".mp3", ".m4a", ".flac", ".ogg", ".opus", ".aac"),
    )
)
"""Files that are taken for videos or sound; whether they can be read is found out later."""
HEAD = ("id", "split", "label", "media", "text")


def table_of(folder: Path, table: Path) -> tuple[bytes, int]:
    """The table of all videos below `folder`, its paths counted from where `table` will lie; and
    how many there are.

    Ids are the files' paths below the folder, without a suffix where that tells them apart. There
    are no labels; all are test clips. Raises ManifestError for a folder without videos.
    """
    if not folder.is_dir():
        raise ManifestError(f"--videos {folder}: no such folder.")
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not files:
        known = ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
        raise ManifestError(f"--videos {folder}: no video or sound in it (looked for {known}).")
    short = [path.relative_to(folder).with_suffix("").as_posix() for path in files]
    seen = Counter(short)
    rows = []
    for path, name in zip(files, short, strict=True):
        id_ = name if seen[name] == 1 else path.relative_to(folder).as_posix()
        media = Path(os.path.relpath(path, table.parent)).as_posix()
        rows.append((id_, "test", "", media, ""))
    return table_bytes(HEAD, rows), len(rows)
