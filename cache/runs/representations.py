"""What a trained model made of each clip, kept in its run folder apart from its scores.

Half precision and a file of its own, so that whoever reads scores of many runs never reads these.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import RunError
from ..checksums import DamagedError, read_checked, read_checksums

FILE = "representations.npz"
MOST = 2_000_000
"""Numbers that one run keeps at most: 4 MB."""
WHOLE = "fused"
"""Name of the vector that the model's head reads."""


@dataclass(frozen=True)
class Representations:
    """Vectors of some clips of a run."""

    rows: NDArray[np.int64]
    """(clips,) places among the run's predictions."""
    vectors: Mapping[str, NDArray[np.float16]]
    """(clips, width) by name: ``fused``, what the head reads; a modality's name, its own vector."""


def halved(values: NDArray[np.floating]) -> NDArray[np.float16]:
    """Half precision; what is beyond its range is drawn in to its ends.

    >>> halved(np.array([0.5, 1e9, -1e9]))
    array([ 5.00e-01,  6.55e+04, -6.55e+04], dtype=float16)
    """
    most = float(np.finfo(np.float16).max)
    half: NDArray[np.float16] = np.clip(values, -most, most).astype(np.float16)
    return half


def write_representations(folder: Path, found: Representations) -> None:
    """Write `found` into the run folder `folder`, which is still being made."""
    with (folder / FILE).open("wb") as file:
        np.savez(file, rows=found.rows.astype(np.int32), **found.vectors)  # type: ignore[arg-type]


def read_representations(folder: Path) -> Representations | None:
    """What the run in `folder` kept; None if it kept none. Raises RunError for a damaged file."""
    try:
        sums = read_checksums(folder)
        if FILE not in sums:
            return None
        with np.load(io.BytesIO(read_checked(folder, FILE, sums)), allow_pickle=False) as kept:
            vectors = {name: kept[name] for name in kept.files if name != "rows"}
            return Representations(kept["rows"].astype(np.int64), vectors)
    except (DamagedError, OSError) as fault:
        raise RunError(
            f"{fault} The scores are whole without it; `sedimental train --fresh` makes it anew."
        ) from fault
