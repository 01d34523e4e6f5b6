"""Cutting faces out of pictures, and pictures brought to a size."""

import cv2
import numpy as np
from numpy.typing import NDArray

from .mtcnn import Boxes

cv2.setNumThreads(1)  # many pictures are resized at once, a thread each
Picture = NDArray[np.uint8]


def working_size(image: Picture, limit: int) -> tuple[tuple[int, int], float]:
    """(width, height) that the detector sees `image` at, and the scale to it."""
    height, width = image.shape[:2]
    scale = min(1.0, limit / max(height, width))
    return (max(1, round(width * scale)), max(1, round(height * scale))), scale


def crop(image: Picture, box: Boxes, size: int, margin: int) -> Picture:
    """The box, widened by `margin` pixels of the result on each side, as (size, size, 3)."""
    height, width = image.shape[:2]
    # `margin` counts pixels of the crop, so in the image it grows with the face
    x, y = (margin * (box[2:] - box[:2]) / max(1, size - 2 * margin)).tolist()
    left, top = max(0, round(float(box[0]) - x)), max(0, round(float(box[1]) - y))
    right = min(width, max(left + 1, round(float(box[2]) + x)))
    bottom = min(height, max(top + 1, round(float(box[3]) + y)))
    left, top = min(left, right - 1), min(top, bottom - 1)
    return resized(image[top:bottom, left:right], (size, size))


def whole(image: Picture, size: int) -> Picture:
    """The middle square of the frame."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return resized(image[top : top + side, left : left + side], (size, size))


def resized(image: Picture, size: tuple[int, int]) -> Picture:
    """`image` at (width, height) = `size`; area averaging when it shrinks, so nothing aliases."""
    if (image.shape[1], image.shape[0]) == size:
        return image
    shrinks = image.shape[1] > size[0] or image.shape[0] > size[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    small: Picture = np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)
    return small
