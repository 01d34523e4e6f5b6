"""The affect pickles of MultiBench: MMSA's columns under other names, some padded in front."""

from collections.abc import Mapping, MutableMapping
from typing import Any

import numpy as np

from ..spec import MODALITIES
from .columns import frame_rows, texts
from .foreign import INTERNAL


def renamed(table: Mapping[str, Any]) -> MutableMapping[str, Any]:
    """The split's table (vision, audio, text, labels, id) with the columns that MMSA has.

    Frames that are zero in every modality at a clip's beginning are padding, and are cut from all
    at once: the modalities of these files are aligned.
    """
    found = {key: table[key] for key in ("id", *MODALITIES) if key in table}
    found["regression_labels"] = table["labels"]
    if "id" in table:
        found["id"] = _ids(table["id"])
    columns = {m: frame_rows(table[m]) for m in MODALITIES if m in table}
    if not columns or len({len(rows) for rows in columns.values()}) > 1:
        return found  # a fault that the reader tells
    starts = [min(_first_seen(row) for row in clip) for clip in zip(*columns.values(), strict=True)]
    if any(starts):
        for m, rows in columns.items():
            found[m] = [row[start:] for row, start in zip(rows, starts, strict=True)]
    return found


def _first_seen(row: Any) -> int:
    seen = np.flatnonzero(row.any(axis=1))
    return int(seen[0]) if len(seen) else len(row)


def _ids(column: Any) -> list[str]:
    """ "video[3]" is clip 3 of a video; a row of several cells is a video and its times."""
    found = []
    for cells in column:
        parts = [text for cell in np.asarray(cells).reshape(-1) for text in texts([cell])]
        if len(parts) == 1:
            video, bracket, rest = parts[0].partition("[")
            parts = [video, rest.rstrip("]")] if bracket else [video]
        video, *rest_ = parts
        found.append(video + (INTERNAL + "_".join(rest_) if rest_ else ""))
    return found
