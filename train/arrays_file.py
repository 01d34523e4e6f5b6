"""What a test of a finished run leaves beside it: arrays, and a head that says of what they are."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cache.checksums import DamagedError, with_checksum, without_checksum
from ..cache.store.atomic_write import replace


def write_arrays(file: Path, head: Mapping[str, Any], **arrays: NDArray[np.generic]) -> None:
    """An npz file with a checksum; the head is JSON, under ``head``."""
    data = io.BytesIO()
    np.savez(data, head=np.array(json.dumps(head)), **arrays)  # type: ignore[arg-type]
    replace(file, with_checksum(data.getvalue()))


def is_of(file: Path, head: Mapping[str, Any]) -> bool:
    """Whether the file is there, whole, and its head says all that `head` does."""
    try:
        with np.load(io.BytesIO(without_checksum(file)), allow_pickle=False) as kept:
            known = json.loads(str(kept["head"]))
    except (OSError, ValueError, KeyError, DamagedError):
        return False  # it is made anew
    return {key: known.get(key) for key in head} == head
