"""The detector as vision encoders share it: same-size batches across clips, each frame once."""

from collections.abc import Sequence

import torch

from ..encoders.device import ComputeDevice
from .crops import Picture
from .mtcnn import Boxes, Detector

PIXELS = {"cpu": 4_000_000, "cuda": 32_000_000}
"""Pixels that a detector's batch waits for: about 13 frames of 640x480 on a CPU."""
Key = tuple[str, int]
"""A clip's source and the frame's place in it."""


class FaceFinder:
    """Finds all faces of frames; several encoders that ask for the same frame cost one look."""

    def __init__(self, arithmetic: ComputeDevice, sharers: int = 1) -> None:
        """`sharers` is the number of encoders that will ask for each frame."""
        self.arithmetic = arithmetic
        self.detector = Detector(arithmetic.device, threads=torch.get_num_threads())
        self.pixels = PIXELS[arithmetic.device.type]
        self._sharers = sharers
        self._seen: dict[Key, tuple[Boxes, int]] = {}

    def find(self, keys: Sequence[Key], images: Sequence[Picture]) -> list[Boxes]:
        """Faces of each image (height, width, 3): (faces, 5), box in its pixels and probability."""
        sizes: dict[tuple[int, ...], list[int]] = {}
        asked = dict(zip(keys, range(len(keys)), strict=True))  # clips may share a file
        for key, index in asked.items():
            if key not in self._seen:
                sizes.setdefault(images[index].shape, []).append(index)
        for (height, width, _), same in sizes.items():
            step = max(1, self.pixels // (height * width))
            for begin in range(0, len(same), step):
                batch = same[begin : begin + step]
                boxes_of = self.arithmetic.halving([images[i] for i in batch], self.detector.find)
                for index, faces in zip(batch, boxes_of, strict=True):
                    self._seen[keys[index]] = (faces, self._sharers)
        faces = [self._seen[key][0] for key in keys]
        for key in asked:
            boxes, left = self._seen.pop(key)
            if left > 1:
                self._seen[key] = (boxes, left - 1)
        return faces
