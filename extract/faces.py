"""Faces in frames: MTCNN boxes, the rule that follows one face, the crops an encoder sees."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ..config import VisionFeatures
from .media import Frames, MediaError, runs_of_equal_size

DETECTOR = "mtcnn-facenet-pytorch-2.5.3"
BATCH_PIXELS = 4_000_000
"""Pixels per detector batch: about 13 frames of 640x480, or 32 of 360x350."""
SMALLEST = 20
"""Side in pixels, at the detector's working resolution, of the smallest face looked for."""


@dataclass(frozen=True)
class Faces:
    """The crops of one clip and how they were found."""

    crops: NDArray[np.uint8]
    """RGB, (frames, size, size, 3); zeros where `use` is False."""
    boxes: NDArray[np.float32]
    """(frames, 4): left, top, right, bottom in pixels of the frame; NaN without a face."""
    probabilities: NDArray[np.float32]
    """(frames,) of the detector; 0 without a face."""
    use: NDArray[np.bool_]
    """(frames,): whether the crop is to be encoded: a face, or what `no_face` puts there."""


class FaceFinder:
    """Finds and follows one face a clip.

    Rule: the largest face of the first frame that has any; after that the face whose centre is
    nearest to the last one kept. A cut to another speaker is followed, not undone.
    """

    def __init__(self, settings: VisionFeatures, device: torch.device) -> None:
        from facenet_pytorch import MTCNN

        self.settings = settings
        self.detector: Any = MTCNN(
            keep_all=True, post_process=False, min_face_size=SMALLEST, device=device
        )

    def find(self, frames: Frames) -> Faces:
        """Crops of `frames`; raises MediaError where no frame has a face and none may stand in."""
        found = self._detect(frames.images)
        boxes, probabilities = follow(found)
        seen = ~np.isnan(boxes[:, 0])
        if not seen.any() and self.settings.no_face != "full-frame":
            raise MediaError(f"no face in any of {len(frames.images)} frames")
        size, margin = self.settings.face_size, self.settings.margin
        crops = np.zeros((len(boxes), size, size, 3), dtype=np.uint8)
        use = seen.copy()
        for index, image in enumerate(frames.images):
            if seen[index]:
                crops[index] = crop(image, boxes[index], size, margin)
            elif self.settings.no_face == "full-frame":
                crops[index], use[index] = _whole(image, size), True
            elif self.settings.no_face == "hold" and seen[:index].any():
                crops[index], use[index] = crops[index - 1], True
        return Faces(crops, boxes, probabilities, use)

    def _detect(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Every face of every image, each (faces, 5): box in the image's pixels and probability."""
        found: list[NDArray[np.float32]] = []
        for run in runs_of_equal_size(images):
            height, width = images[run.start].shape[:2]
            scale = min(1.0, self.settings.detect_size / max(height, width))
            small = (max(1, round(width * scale)), max(1, round(height * scale)))
            batch = max(1, BATCH_PIXELS // (small[0] * small[1]))
            for begin in range(run.start, run.stop, batch):
                chosen = images[begin : min(begin + batch, run.stop)]
                shrunk = [_resized(image, small) for image in chosen]
                found.extend(f / (scale, scale, scale, scale, 1) for f in self._batch(shrunk))
        return found

    def _batch(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        if min(images[0].shape[:2]) < SMALLEST:
            return [np.zeros((0, 5), np.float32) for _ in images]
        boxes, probabilities = self.detector.detect(np.stack(images))
        return [
            np.zeros((0, 5), np.float32)
            if box is None
            else np.column_stack([box.astype(np.float32), np.asarray(p, np.float32)])
            for box, p in zip(boxes, probabilities, strict=True)
        ]


def follow(found: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One face a frame out of `found` (each (faces, 5)): boxes (frames, 4) and probabilities.

    >>> left, right = [0, 0, 10, 10, 0.9], [50, 0, 70, 20, 0.8]
    >>> boxes, _ = follow([np.array([left, right], np.float32), np.array([left], np.float32)])
    >>> boxes[:, 0].tolist()
    [50.0, 0.0]
    """
    boxes = np.full((len(found), 4), np.nan, dtype=np.float32)
    probabilities = np.zeros(len(found), dtype=np.float32)
    last: NDArray[np.float32] | None = None
    for index, faces in enumerate(found):
        if not len(faces):
            continue
        centres = (faces[:, :2] + faces[:, 2:4]) / 2
        if last is None:
            areas = (faces[:, 2] - faces[:, 0]) * (faces[:, 3] - faces[:, 1])
            chosen = int(np.argmax(areas))
        else:
            chosen = int(np.argmin(np.sum((centres - last) ** 2, axis=1)))
        boxes[index], probabilities[index] = faces[chosen, :4], faces[chosen, 4]
        last = centres[chosen]
    return boxes, probabilities


def crop(
    image: NDArray[np.uint8], box: NDArray[np.float32], size: int, margin: int
) -> NDArray[np.uint8]:
    """The box, widened by `margin` pixels of the result on each side, as (size, size, 3)."""
    height, width = image.shape[:2]
    # `margin` counts pixels of the crop, so in the image it grows with the face
    x, y = (margin * (box[2:] - box[:2]) / max(1, size - 2 * margin)).tolist()
    left, top = max(0, round(float(box[0]) - x)), max(0, round(float(box[1]) - y))
    right = min(width, max(left + 1, round(float(box[2]) + x)))
    bottom = min(height, max(top + 1, round(float(box[3]) + y)))
    left, top = min(left, right - 1), min(top, bottom - 1)
    return _resized(image[top:bottom, left:right], (size, size))


def _whole(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The middle square of the frame."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return _resized(image[top : top + side, left : left + side], (size, size))


def _resized(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """`image` at (width, height) = `size`; area averaging when it shrinks, so nothing aliases."""
    if (image.shape[1], image.shape[0]) == size:
        return image
    shrinks = image.shape[1] > size[0] or image.shape[0] > size[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized: NDArray[np.uint8] = np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)
    return resized
