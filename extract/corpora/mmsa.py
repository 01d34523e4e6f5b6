"""The layout CMU-MOSI, CMU-MOSEI and CH-SIMS share: label.csv and Raw/<video>/<clip>.mp4."""

from collections.abc import Sequence
from pathlib import Path

from ...cache.manifest import Clip, Manifest
from ...errors import ManifestError
from .reading.files import first_there
from .reading.table import Table, finished, named

COLUMNS = ("video_id", "clip_id", "text", "label")
SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".mpg", ".flv")


def load(name: str, folder: Path, unsplit: bool = False, emotions: Sequence[str] = ()) -> Manifest:
    """The corpus in `folder`; ids stay strings, so that clip "0001" keeps its zeros.

    Columns in any order: video_id, clip_id, text, label, mode; label_T, label_A, label_V and
    speaker may be there (empty cells allowed), others are ignored. An `unsplit` table needs no
    mode: all are for training until they are dealt out. `emotions` are columns of their own, of
    intensities, of which several may be above 0. Raises ManifestError with every fault and
    its line.
    """
    table = Table(folder / "label.csv")
    if folder.is_dir() and not table.path.is_file():
        raise ManifestError(
            f"{folder}: no label.csv in this folder. The mmsa layout is label.csv and "
            'Raw/<video_id>/<clip_id>.mp4; for any other table use corpus.kind = "csv".'
        )
    needed = (*COLUMNS, *emotions, *(() if unsplit else ("mode",)))
    for row in table.rows(needed):
        video, number = row.required("video_id"), row.required("clip_id")
        clip = Clip(
            *named(video, number),
            split="train" if unsplit else row.split("mode"),
            text=row.text("text") or "",
            media=first_there(folder, [f"Raw/{video}/{number}{suffix}" for suffix in SUFFIXES]),
            label=row.number("label"),
            label_T=row.number("label_T"),
            label_A=row.number("label_A"),
            label_V=row.number("label_V"),
            speaker=row.text("speaker"),
            emotions={e: v for e in emotions if (v := row.number(e)) is not None},
        )
        table.add(row.line, clip)
    return finished(name, folder, table)
