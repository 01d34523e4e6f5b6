"""Any table as a corpus: one row a clip, with the columns of a manifest."""

from pathlib import Path

from ...cache.manifest import Clip, Manifest
from .table import Faults, Line, finished, read_rows


def load(name: str, path: Path) -> Manifest:
    """The corpus in the table at `path`; media paths count from the table's folder.

    Columns: ``split`` (or ``mode``) and ``label`` (a number) or ``class`` (a name) are needed, and
    ``id`` or ``video_id`` with ``clip_id``; ``text media start end label_T label_A label_V
    speaker`` may be there, any other is ignored. Without a ``media`` column it is a corpus of
    texts. Raises ManifestError with every fault and its line.
    """
    faults = Faults(path)
    rows: list[tuple[Line, Clip]] = []
    head = _head(path)
    named = ("id",) if "id" in head else ("video_id", "clip_id")
    split = "mode" if "mode" in head and "split" not in head else "split"
    content = () if {"text", "media"} & head else ("text",)
    rating = "class" if "class" in head and "label" not in head else "label"
    for row in read_rows(path, faults, (*named, split, rating, *content)):
        if named == ("id",):
            id_ = row.required("id")
            video, _, clip = id_.rpartition("$_$")
            video, clip = row.text("video_id") or video or id_, row.text("clip_id") or clip
        else:
            video, clip = row.required("video_id"), row.required("clip_id")
            id_ = f"{video}$_${clip}"
        media = row.text("media")
        if "media" in head and media is None:
            faults.add(row.line, "media is empty.")
        rows.append(
            (
                row.line,
                Clip(
                    id=id_,
                    video_id=video,
                    clip_id=clip,
                    split=row.split(split),
                    text=row.text("text") or "",
                    media=media,
                    start=row.number("start"),
                    end=row.number("end"),
                    label=row.number("label"),
                    label_T=row.number("label_T"),
                    label_A=row.number("label_A"),
                    label_V=row.number("label_V"),
                    category=row.text("class"),
                    speaker=row.text("speaker"),
                ),
            )
        )
    return finished(name, path.parent, rows, faults)


def _head(path: Path) -> set[str]:
    """Column names, or none: what is wrong with the file is said by `read_rows`."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            line = file.readline()
    except (OSError, UnicodeDecodeError):
        return set()
    mark = max(",;\t", key=line.count)
    return {name.strip().strip('"') for name in line.split(mark)}
