"""Whether clips can share a batch: measured when an encoder is loaded, not believed of its family.

Padding leaks into features wherever a norm, a convolution or an attention looks across it, and no
list of families foresees all of them (HuBERT with a batch norm in front of its positional
convolution does, 0.55 of a layer's largest value). So a short and a longer input go through the
encoder alone and together, in the precision and on the device in use; what differs by more than
rounding is batched by equal length, and what differs even so, one by one.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from .device import SHARINGS, ComputeDevice, Sharing

Item = TypeVar("Item")
TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 1e-1}
"""Of a layer's largest value: three to ten times what kernels' rounding comes to."""
TF32 = 5e-3
"""The same for float32 on a GPU, whose convolutions round to 10 bits."""


class Batching(Protocol):
    """An encoder that cuts its work into batches."""

    arithmetic: ComputeDevice
    sharing: Sharing
    """Which clips may share a batch."""


def tolerance(arithmetic: ComputeDevice) -> float:
    """Largest difference, over a layer's largest value, that counts as rounding."""
    if arithmetic.device.type == "cuda" and arithmetic.precision is torch.float32:
        return TF32
    return TOLERANCE[arithmetic.precision]


def measure(
    encoder: Batching,
    encode: Callable[[Sequence[Item]], Sequence[NDArray[Any]]],
    short: Item,
    alike: Item,
    longer: Item,
) -> float:
    """Set `encoder.sharing` to the freest way of batching that leaves features as they are alone.

    `encode` gives (layers, frames, width) of each item; `alike` is another item as long as `short`.
    Begins with the way that the encoder has. Returns the largest difference, over a layer's largest
    value, that any way tried gave.
    """
    worst = 0.0
    for sharing in SHARINGS[SHARINGS.index(encoder.sharing) :]:
        encoder.sharing = sharing
        if sharing == "one by one":
            break  # nothing is left to measure
        items = (short, longer) if sharing == "any lengths" else (short, alike)
        together = encode(items)
        apart = max(
            difference(beside, encode([item])[0])
            for item, beside in zip(items, together, strict=True)
        )
        worst = max(worst, apart)
        if apart <= tolerance(encoder.arithmetic):
            break
    return worst


def difference(states: NDArray[Any], wanted: NDArray[Any]) -> float:
    """Largest difference of any layer of (layers, frames, width), over its largest value.

    Infinite where one has another number of frames, or a number that is not finite and the other
    has not.
    """
    if states.shape != wanted.shape:
        return float("inf")
    ours, theirs = states.astype(np.float64), wanted.astype(np.float64)
    # what is infinite, or no number, in both is the clip's own fault and told of the clip
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(ours - theirs)).max(axis=(1, 2), initial=0.0)
    size = np.where(np.isfinite(theirs), np.abs(theirs), 0.0).max(axis=(1, 2), initial=0.0)
    relative = apart / np.maximum(size, np.finfo(np.float32).tiny)
    return float(np.nan_to_num(relative, nan=np.inf).max(initial=0.0))
