"""What a store holds, as the plain values that `cache ls` and `cache info` show."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import SedimentalError
from .manifest import MANIFEST as MANIFEST
from .manifest import Manifest, read_manifest
from .spec import SPLITS
from .store.names import name_of
from .store.store import Store, open_store

SETTINGS = ("fps", "rate", "pool", "no_face", "max_length", "context", "case")
"""Keys of a [[features]] table by which stores of one encoder differ most."""


def brief(path: Path) -> dict[str, Any]:
    """One line of `cache ls`; a store that cannot be opened tells why under ``fault``."""
    line: dict[str, Any] = {
        "name": name_of(path),
        "corpus": path.parent.name,
        "store": path.name,
        "path": str(path),
    }
    try:
        store = open_store(path, allow_partial=True)
    except SedimentalError as fault:
        return line | {"fault": str(fault)}
    made = store.spec.preprocessing
    return line | {
        "modality": store.spec.modality,
        "encoder": store.spec.encoder,
        "weights": store.spec.weights,
        "untrained": store.spec.untrained,
        "settings": {key: made[key] for key in SETTINGS if key in made},
        "layers": len(store.spec.layers),
        "width": store.spec.width,
        "clips": len(store.clips),
        "frames": int(store.frames.sum()),
        "failed": len(store.failures),
        "bytes": store.nbytes,
        "formats": store.formats,
        "complete": store.complete,
    }


def full(path: Path) -> dict[str, Any]:
    """All of `cache info`; raises as `open_store` does."""
    store = open_store(path, allow_partial=True)
    stats = store.stats()
    return brief(path) | {
        "spec": store.spec.to_json(),
        "fingerprint": store.spec.fingerprint,
        "parts": store.part_count,
        "side_arrays": store.sides,
        "coverage": _coverage(store),
        "failures": dict(store.failures),
        "statistics": {
            name: {"mean": float(mean), "std": float(std), "absmax": float(largest)}
            for name, mean, std, largest in zip(
                store.spec.layers, stats.layer_mean, stats.layer_std, stats.absmax, strict=True
            )
        },
    }


def weights_text(line: Mapping[str, Any]) -> str:
    """The weights as a person must read them: untrained ones say so."""
    return f"untrained ({line['weights']})" if line["untrained"] else str(line["weights"])


def size_text(size: float) -> str:
    """Bytes in units of 1000.

    >>> size_text(1_340_000_000)
    '1.34 GB'
    """
    unit = next((u for u in ("B", "kB", "MB", "GB") if size < 1000 ** (_UNITS[u] + 1)), "TB")
    return f"{size:.0f} B" if unit == "B" else f"{size / 1000 ** _UNITS[unit]:.2f} {unit}"


_UNITS = {"B": 0, "kB": 1, "MB": 2, "GB": 3, "TB": 4}


def _coverage(store: Store) -> dict[str, dict[str, int]] | None:
    """Per split how many clips the corpus has, how many are held, how many failed."""
    try:
        manifest: Manifest = read_manifest(store.path.parent / MANIFEST)
    except SedimentalError:  # a store copied away from its corpus
        return None
    held = set(store.clips)
    return {
        split: {
            "clips": len(clips := manifest.split(split)),
            "held": sum(clip.id in held for clip in clips),
            "failed": sum(clip.id in store.failures and clip.id not in held for clip in clips),
        }
        for split in SPLITS
    }
