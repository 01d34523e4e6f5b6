"""The affect pickles of MultiBench: MMSA's columns under other names, many padded in front."""

from collections.abc import Mapping, MutableMapping
from typing import Any

from ..columns import ColumnError, rows_of, texts
from ..foreign import INTERNAL

LABELS = "labels"


def renamed(table: Mapping[str, Any]) -> MutableMapping[str, Any]:
    """The split's table (vision, audio, text, labels, id) with the names that MMSA has."""
    found = {key: value for key, value in table.items() if key != LABELS}
    found["regression_labels"] = table[LABELS]
    if "id" in table:
        found["id"] = _ids(table["id"])
    return found


def _ids(column: Any) -> Any:
    """ "video[3]" is clip 3 of a video; a row of several cells is a video and its times."""
    found = []
    try:
        for cells in rows_of(column):
            flat = cells.reshape(-1).tolist() if hasattr(cells, "reshape") else cells
            parts = texts(flat if isinstance(flat, (list, tuple)) else [flat])
            if len(parts) == 1:
                video, bracket, rest = parts[0].partition("[")
                parts = [video, rest.rstrip("]")] if bracket else [video]
            video, *rest_ = parts or [""]
            found.append(video + (INTERNAL + "_".join(rest_) if rest_ else ""))
    except ColumnError:
        return column  # a fault that the reader tells
    return found
