"""Face crops to hidden states: the [class] token of every layer, a frame at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resize
from transformers import AutoImageProcessor

from .device import Arithmetic
from .hidden import stacked, tapped
from .loading import Checkpoint, load_model
from .presets import CLIP_PIXELS

CROPS_PER_BATCH = {"cpu": 32, "cuda": 256}


@dataclass(frozen=True)
class Processing:
    """What the checkpoint's own processor does to a picture."""

    size: int
    """Side of the square the encoder sees, pixels."""
    mean: tuple[float, ...]
    std: tuple[float, ...]


class VisionEncoder:
    """Hidden states of single pictures; a frame's features depend on nothing but its crop."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        processing: Processing,
        layers: tuple[str, ...],
        arithmetic: Arithmetic,
    ) -> None:
        self.family, self.layers, self.arithmetic = checkpoint.family, layers, arithmetic
        self.processing = processing
        self.batch = CROPS_PER_BATCH[arithmetic.device.type]
        self.model: Any = load_model(checkpoint).to(arithmetic.device)

    def encode(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(layers, crops, width) of RGB crops (crops, side, side, 3)."""
        parts = self.arithmetic.halving(list(crops), self._forward)
        return np.concatenate(parts, axis=1)

    def _forward(self, crops: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        pixels = torch.from_numpy(np.stack(crops)).to(self.arithmetic.device)
        with (
            self.arithmetic.running(),
            tapped(self.model, self.family, self.layers, _class_token) as found,
        ):
            self.model(pixel_values=self.pixels(pixels))
            hidden = stacked(found, self.layers)[:, :, 0]
        return [hidden.float().cpu().numpy()]

    def pixels(self, crops: Tensor) -> Tensor:
        """Normalised pictures (batch, 3, size, size) from uint8 (batch, side, side, 3)."""
        pictures = crops.permute(0, 3, 1, 2)
        side = self.processing.size
        if pictures.shape[-1] != side:
            # on whole grey levels, as the checkpoints' own processors do
            pictures = resize(pictures, [side, side], InterpolationMode.BICUBIC, antialias=True)
        mean = torch.tensor(self.processing.mean, device=crops.device).view(3, 1, 1)
        std = torch.tensor(self.processing.std, device=crops.device).view(3, 1, 1)
        return (pictures / 255 - mean) / std


def _class_token(hidden: Tensor) -> Tensor:
    return hidden[:, :1].clone()  # a copy, so that the other tokens can be freed


def load_processing(checkpoint: Checkpoint) -> Processing:
    """The processor saved with the checkpoint, else what the preset or CLIP says."""
    size = int(checkpoint.config.image_size)
    preset = checkpoint.preset.processing if checkpoint.preset else CLIP_PIXELS
    default = Processing(size, tuple(preset["mean"]), tuple(preset["std"]))
    if not checkpoint.trained:
        return default
    try:
        own: Any = AutoImageProcessor.from_pretrained(**checkpoint.where)
    except (OSError, ValueError):
        return default
    return Processing(size, tuple(own.image_mean), tuple(own.image_std))
