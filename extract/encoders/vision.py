"""Face crops to hidden states: the [class] token of every layer, a frame at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import center_crop, resize
from transformers import AutoImageProcessor

from ...cache.spec import Scalar
from .budget import Budget
from .device import ComputeDevice, Sharing
from .frozen import frozen
from .hidden import blocks_of, capture_hidden_states, stacked
from .loading import Checkpoint, saved_with

CROPS_PER_BATCH = {"cpu": 4, "cuda": 256}
"""On a CPU more than a few crops only fall out of its cache: four layers of ViT-L/14 take 0.16 s
a crop in batches of 4 and 0.18 s in batches of 16 (2 cores)."""
INTERPOLATIONS = {2: "bilinear", 3: "bicubic"}
"""By the number that processors save."""


@dataclass(frozen=True)
class Processing:
    """What the checkpoint's own processor does to a picture."""

    size: int
    """Side of the square the encoder sees, pixels."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int
    """Side that the picture is brought to, before its middle square of `size` is taken."""
    interpolation: str = "bicubic"

    @property
    def unusual(self) -> dict[str, Scalar]:
        """What is other than CLIP's way, for the fingerprint."""
        differing: dict[str, Scalar] = {}
        if self.resize != self.size:
            differing["resize"] = self.resize
        if self.interpolation != "bicubic":
            differing["interpolation"] = self.interpolation
        return differing


class VisionEncoder:
    """Hidden states of single pictures; a frame's features depend on nothing but its crop."""

    sharing: Sharing = "any lengths"

    def __init__(
        self,
        checkpoint: Checkpoint,
        processing: Processing,
        layers: tuple[str, ...],
        arithmetic: ComputeDevice,
    ) -> None:
        self.family, self.layers, self.arithmetic = checkpoint.family, layers, arithmetic
        self.processing = processing
        self.budget = Budget(arithmetic, CROPS_PER_BATCH)
        self.model: Any = frozen(checkpoint, self.layers, arithmetic)
        last = blocks_of(self.model, self.family)[-1]
        last.get_submodule(str(self.family.before_mlp)).register_forward_pre_hook(_first_alone)

    @property
    def batch(self) -> int:
        """Crops that are best encoded at once."""
        return 1 if self.sharing == "one by one" else self.budget.most

    def encode(self, crops: NDArray[np.uint8]) -> NDArray[Any]:
        """(layers, crops, width) of RGB crops (crops, side, side, 3)."""
        ones = [1] * len(crops)
        groups = self.arithmetic.batches(ones, len(crops), self.sharing)
        parts = [
            part
            for group in groups
            for part in self.budget.run(group, ones, lambda b: self._forward([crops[i] for i in b]))
        ]
        self.arithmetic.settle()
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def _forward(self, crops: Sequence[NDArray[np.uint8]]) -> list[NDArray[Any]]:
        pixels = torch.from_numpy(np.stack(crops)).to(self.arithmetic.device)
        with (
            self.arithmetic.running(),
            capture_hidden_states(self.model, self.family, self.layers, _class_token) as states,
        ):
            self.model(pixel_values=self.pixels(pixels))
            hidden = stacked(states, self.layers)[:, :, 0]
        return [self.arithmetic.fetched(hidden)]

    def pixels(self, crops: Tensor) -> Tensor:
        """Normalised pictures (batch, 3, size, size) from uint8 (batch, side, side, 3)."""
        pictures = crops.permute(0, 3, 1, 2)
        processing = self.processing
        if pictures.shape[-1] != processing.resize:
            # on whole grey levels, as the checkpoints' own processors do
            pictures = resize(
                pictures,
                [processing.resize] * 2,
                InterpolationMode(processing.interpolation),
                antialias=True,
            )
        if processing.size != processing.resize:
            pictures = center_crop(pictures, [processing.size] * 2)
        mean = torch.tensor(self.processing.mean, device=crops.device).view(3, 1, 1)
        std = torch.tensor(self.processing.std, device=crops.device).view(3, 1, 1)
        return (pictures / 255 - mean) / std


def _first_alone(_module: nn.Module, given: tuple[Tensor]) -> tuple[Tensor]:
    """Behind the last attention no token looks at another, and only the first one is kept: the rest
    need no feed-forward layer. (Added back, the first one's output reaches all; they are not read.)
    """
    return (given[0][:, :1],)


def _class_token(hidden: Tensor) -> Tensor:
    return hidden[:, :1].clone()  # a copy, so that the other tokens can be freed


def load_processing(checkpoint: Checkpoint) -> Processing:
    """The processor saved with the checkpoint, else what the preset or the family says."""
    known = {**checkpoint.family.processing}
    known |= checkpoint.preset.processing if checkpoint.preset else {}
    # an encoder with learned positions sees its own size only; others say what they are used at
    size = int(known.get("size", checkpoint.config.image_size))
    default = Processing(
        size,
        tuple(known["mean"]),
        tuple(known["std"]),
        int(known.get("resize", size)),
        known.get("interpolation", "bicubic"),
    )
    saved = saved_with(checkpoint, AutoImageProcessor)
    if saved is None:
        return default
    if "size" in checkpoint.family.processing:
        resize_to = saved.size.get("shortest_edge") or saved.size["height"]
        size = saved.crop_size["height"] if getattr(saved, "do_center_crop", False) else resize_to
    else:
        resize_to = size
    interpolation = INTERPOLATIONS.get(int(saved.resample), default.interpolation)
    return Processing(
        int(size),
        tuple(saved.image_mean),
        tuple(saved.image_std),
        int(resize_to),
        interpolation,
    )
