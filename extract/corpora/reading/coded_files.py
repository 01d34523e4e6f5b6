"""Corpora without a table: what a clip is stands in the name of its file."""

from collections.abc import Callable
from pathlib import Path

from ....cache.manifest import Clip, Manifest
from ....errors import ManifestError
from .table import Line, Table, finished

SUFFIXES = frozenset({".mp4", ".flv", ".avi", ".mkv", ".mov", ".wav", ".mp3", ".flac"})


def coded(
    name: str,
    folder: Path,
    place: str,
    clip_of: Callable[[str, str, Table], Clip | None],
    best: Callable[[str], str] = str,
) -> Manifest:
    """The manifest of the media files below `place` in `folder`.

    `clip_of` is given a file's name without its ending and its path relative to `folder`, and gives
    its clip, or None for one that is not read, which it may complain of to the table. Of several
    files of one clip the first by `best` of their paths is taken. Raises ManifestError with every
    fault.
    """
    if not folder.is_dir():
        raise ManifestError(f"{folder}: no such folder. Check corpus.path in pipeline.toml.")
    try:
        files = sorted(p for p in (folder / place).rglob("*") if p.suffix.lower() in SUFFIXES)
    except OSError as fault:
        raise ManifestError(f"{folder}: cannot be read: {fault.strerror or fault}.") from None
    table, by_id = Table(folder), dict[str, tuple[Line, Clip]]()
    for path in sorted((p.relative_to(folder).as_posix() for p in files), key=best):
        clip = clip_of(Path(path).stem, path, table)
        if clip is not None and not Path(path).name.startswith("."):
            by_id.setdefault(clip.id, (path, clip))
    if not by_id and not table.faults:
        raise ManifestError(
            f"{folder}: no media file of this corpus below it. Check corpus.path in pipeline.toml: "
            "it is the folder that the corpus was unpacked to."
        )
    table.clips = [by_id[id_] for id_ in sorted(by_id)]
    return finished(name, folder, table)
