"""What an encoder hands over of one clip, and whether it fits the store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import OverflowInStoreError, StoreError
from ..spec import FeatureSpec
from .parts.part import FRAMEWISE, HIDDEN, STATISTICS


@dataclass(frozen=True)
class ClipFeatures:
    """All that is kept of one clip."""

    id: str
    source: str
    """Digest of what the features were made from."""
    values: NDArray[Any]
    """(layers, frames, width), float32 or float16."""
    times: NDArray[np.float32]
    """(frames,) start of each frame in seconds."""
    durations: NDArray[np.float32]
    """(frames,) seconds."""
    valid: NDArray[np.bool_]
    """(frames,) True = real frame."""
    side: Mapping[str, NDArray[Any]]
    """More per frame, frames first: boxes (frames, 4), probs, token_ids, special."""

    @property
    def framewise(self) -> dict[str, NDArray[Any]]:
        """All arrays but the hidden states, each (frames, …)."""
        own = {
            "times": np.asarray(self.times, np.float32),
            "durations": np.asarray(self.durations, np.float32),
            "valid": np.asarray(self.valid, np.bool_),
        }
        return own | dict(self.side)


def check(path: Path, spec: FeatureSpec, clips: Sequence[ClipFeatures]) -> None:
    """Raise StoreError, naming clip and fault, unless `clips` can be one part of the store."""
    if not clips:
        raise StoreError(f"{path}: a part needs at least one clip.")
    kinds = {name: (a.shape[1:], a.dtype) for name, a in clips[0].framewise.items()}
    seen: set[str] = set()
    for clip in clips:
        if fault := _fault(spec, clip, kinds, seen):
            raise StoreError(f"{path}: clip {clip.id!r} {fault}. Nothing was written.")
        seen.add(clip.id)


def _fault(
    spec: FeatureSpec, clip: ClipFeatures, kinds: Mapping[str, object], seen: set[str]
) -> str:
    frames = len(clip.valid)
    if clip.id in seen:
        return "occurs twice in one part"
    if not frames:
        return "has no frames: report it among the failures instead"
    if clip.values.shape != (expected := (len(spec.layers), frames, spec.width)):
        return f"has values of shape {clip.values.shape}, not {expected}"
    if taken := {HIDDEN, *FRAMEWISE, *STATISTICS} & set(clip.side):
        return f"has a side array of the reserved name {min(taken)!r}"
    for name, array in clip.framewise.items():
        if len(array) != frames:
            return f"has {len(array)} {name} for {frames} frames"
    if {name: (a.shape[1:], a.dtype) for name, a in clip.framewise.items()} != kinds:
        return "has other side arrays (names, shapes or types) than the first of its part"
    return ""


def overflow(
    path: Path, spec: FeatureSpec, clips: Sequence[ClipFeatures], layer: int
) -> OverflowInStoreError:
    """The error for the first clip whose `layer` holds a value that the stored type cannot."""
    limit = float(np.finfo(spec.dtype).max)
    with np.errstate(over="ignore", invalid="ignore"):
        clip = next(c for c in clips if not np.isfinite(c.values[layer].astype(spec.dtype)).all())
    found = float(np.abs(clip.values[layer]).max())
    what = f"reaches {found:g}, beyond {limit:g}" if np.isfinite(found) else "is not finite"
    return OverflowInStoreError(
        f"{path}: clip {clip.id!r}, layer {spec.layers[layer]}: a hidden state {what} "
        f'({spec.dtype}). Set dtype = "float32" under [cache] in pipeline.toml, or leave the clip '
        "out; nothing was written."
    )
