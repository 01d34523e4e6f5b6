"""Predictions of windows as files: a CSV a row a window, and the time line of each video."""

import csv
import io
import re
from pathlib import Path

from ...cache.spec import LETTERS
from ...cache.store.atomic_write import replace
from ...escape import for_csv
from ..figures.canvas import to_files
from ..figures.timeline import timelines
from ..prediction import Prediction
from ..statistics import Spread
from .sweep_files import alone


def write_timeline(folder: Path, found: Prediction) -> tuple[Path, ...]:
    """Write ``windows.csv`` and, a video, ``<name>.svg`` and ``.png`` into `folder`."""
    files: dict[str, bytes | str] = {"windows.csv": to_csv(found)}
    for drawing in timelines(found):
        name = re.sub(r"[^\w.-]+", "_", drawing.title.removeprefix("Along ")).strip("._") or "video"
        while f"{name}.svg" in files:
            name += "_"
        files[f"{name}.svg"] = alone(drawing.svg)
        files[f"{name}.png"] = to_files(drawing.figure)["png"]
    return tuple(replace(folder / name, data) for name, data in files.items())


def to_csv(found: Prediction) -> str:
    """A row a window: where it lies, what is said of it, each modality's weight and own score.

    Full precision; an undefined number is an empty field.
    """
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    letters = [LETTERS[m] for m in found.modalities]
    names = found.classes or ("score",)
    table.writerow(
        [
            *("id", "media", "start", "end"),
            *(for_csv(f"{n}_{part}") for n in names for part in ("mean", "std")),
            *("sentiment", "level", "from"),
            *(f"{kind}_{letter}" for kind in ("weight", "alone") for letter in letters),
            "text",
        ]
    )
    for clip in found.clips:
        spreads = [clip.probabilities.get(n) for n in found.classes] or [clip.score]
        table.writerow(
            [
                *(for_csv(clip.id), for_csv(Path(clip.media or "").name), clip.start, clip.end),
                *(text for spread in spreads for text in _numbers(spread)),
                *(for_csv(clip.word or ""), for_csv(clip.level or "")),
                "".join(LETTERS[m] for m in clip.used),
                *(own.get(m, "") for own in (clip.weights, clip.alone) for m in found.modalities),
                for_csv(clip.text),
            ]
        )
    return out.getvalue()


def _numbers(spread: Spread | None) -> tuple[str, str]:
    return ("", "") if spread is None else (repr(spread.mean), repr(spread.std))
