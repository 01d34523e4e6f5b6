"""What a group of clips gave: features that fit the store, and a reason for every clip without."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...cache.face_boxes import Found
from ...cache.spec import FeatureSpec
from ...cache.store.writer import ClipFeatures
from ..decode.clip_error import ClipError, clip_error


@dataclass
class Chunk:
    """Features and failures of a group of clips."""

    features: list[ClipFeatures] = field(default_factory=list)
    failures: dict[str, ClipError] = field(default_factory=dict)
    found: dict[str, Found] = field(default_factory=dict)
    """Faces that were looked for, by source."""

    @property
    def frames(self) -> int:
        """Frames of all features."""
        return sum(len(clip.valid) for clip in self.features)

    def keep(self, clip: ClipFeatures, spec: FeatureSpec) -> None:
        """Add the clip in the stored type, or its failure if that cannot hold it."""
        if fault := overflow(spec, magnitude(clip.values).max(axis=1)):
            self.failures[clip.id] = fault
        else:
            values = clip.values.astype(spec.dtype, copy=False)
            self.features.append(replace(clip, values=values))


def magnitude(values: NDArray[Any]) -> NDArray[np.float64]:
    """Largest absolute value of each vector of (…, width); infinite where one is not finite."""
    if values.dtype == np.float16:
        # without its sign a half counts up like the whole number of the same bits, and those are
        # compared an order of magnitude faster
        bits = (values.view(np.uint16) & 0x7FFF).max(axis=-1)
        bits = np.minimum(bits, 0x7C00).astype(np.uint16)
        return np.asarray(bits.view(np.float16), np.float64)
    largest = np.abs(values).max(axis=-1).astype(np.float64)
    return np.where(np.isnan(largest), np.inf, largest)


def overflow(spec: FeatureSpec, largest: NDArray[np.float64]) -> ClipError | None:
    """The fault of a clip whose layers reach `largest` (layers,), if one is beyond the store."""
    unfit = largest > float(np.finfo(spec.dtype).max)
    if not unfit.any():
        return None
    position = int(np.argmax(unfit))
    name, reached = spec.layers[position], largest[position]
    if not np.isfinite(reached):
        return ClipError(
            "encode",
            f"layer {name} is not finite, or more than {spec.dtype} holds; set cache.dtype = "
            '"float32", and extract.precision = "bf16" if that does not help',
        )
    return ClipError(
        "encode",
        f"layer {name} reaches {reached:.3g}, more than {spec.dtype} holds; "
        'set cache.dtype = "float32"',
    )


def encoded(
    items: Sequence[Any], encode: Callable[[Any], list[ClipFeatures]], spec: FeatureSpec
) -> Chunk:
    """Features of `items`; if a batch fails, its clips one by one, so that one cannot sink all."""
    chunk = Chunk()
    try:
        features = encode(items) if items else []
    except Exception as fault:
        if len(items) == 1:
            chunk.failures[items[0].id] = clip_error("encode", fault)
            return chunk
        for item in items:
            alone = encoded([item], encode, spec)
            chunk.features += alone.features
            chunk.failures |= alone.failures
        return chunk
    for clip in features:
        try:
            chunk.keep(clip, spec)
        except Exception as fault:
            chunk.failures[clip.id] = clip_error("encode", fault)
    return chunk
