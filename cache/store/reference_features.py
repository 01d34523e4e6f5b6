"""The golden probe: one fixed input's features, kept to notice when a library changes its numbers.

The fingerprint names every setting that decides a number; it cannot see a new release of a library
computing the same thing differently. A resumed extraction encodes the probe again and compares.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import CorruptStoreError
from .atomic_write import explained, replace
from .sealed_json import digest

TOLERANCE = 1e-2
"""Relative difference below which two runs count as the same numerics: float16 allows 1e-3."""
PREFIX = "probe-"


def probe_path(store: Path) -> Path | None:
    """The store's probe, if one was kept; its name ends in the digest of its bytes."""
    return min(store.glob(f"{PREFIX}*.npy"), default=None)


def probe_fault(file: Path) -> str:
    """What is wrong with the file of a probe; empty if nothing is."""
    try:
        whole = file.stem == PREFIX + digest(file.read_bytes())
    except OSError as fault:
        return f"cannot be read: {fault.strerror}"
    return "" if whole else "not the bytes that were written"


def check_probe(store: Path, values: NDArray[Any]) -> str:
    """Compare `values` (layers, frames, width) of the fixed input with those kept; "" if alike.

    The first call keeps them. Otherwise returns a warning that names the layer that differs most.
    """
    file = probe_path(store)
    if file is None:
        data = io.BytesIO()
        np.save(data, np.asarray(values, np.float32), allow_pickle=False)
        file = store / f"{PREFIX}{digest(data.getvalue())}.npy"
        with explained(file):
            replace(file, data.getvalue())
        return ""
    if fault := probe_fault(file):
        raise CorruptStoreError(f"{file}: {fault}. `sedimental cache verify --repair` removes it.")
    kept = np.load(file, allow_pickle=False)
    if kept.shape != values.shape:
        return f"{store}: the probe's features now have shape {values.shape}, not {kept.shape}."
    apart = np.linalg.norm((values - kept).reshape(len(kept), -1), axis=1)
    size = np.linalg.norm(kept.reshape(len(kept), -1), axis=1)
    relative = apart / np.maximum(size, np.finfo(np.float32).tiny)
    worst = int(np.argmax(relative))
    if relative[worst] <= TOLERANCE:
        return ""
    return (
        f"{store}: the same input now gives other features (entry {worst} differs by "
        f"{relative[worst]:.1%}, tolerance {TOLERANCE:.0%}): another library version or device "
        "than the one that wrote first. New clips would not be comparable with those held; extract "
        "into another cache.root, or remove the store."
    )
