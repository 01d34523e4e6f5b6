"""The one face of a clip: the rule that follows it, and the crops an encoder sees."""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from ...config import VisionFeatures
from .mtcnn import Boxes

cv2.setNumThreads(1)  # many pictures are resized at once, a thread each
Picture = NDArray[np.uint8]


@dataclass
class Track:
    """Follows one face through a clip, frame by frame.

    Rule: the largest face of the first frame that has any; after that the face whose centre is
    nearest to the last one kept. A cut to another speaker is followed, not undone.

    >>> track = Track(VisionFeatures(modality="vision", encoder="-", face_size=8))
    >>> left, right = [0, 0, 10, 10, 0.9], [50, 0, 70, 20, 0.8]
    >>> for faces in ([left, right], [left]):
    ...     crop = track.next(np.zeros((90, 90, 3), np.uint8), np.array(faces, np.float32))
    >>> [float(box[0]) for box in track.boxes], crop.shape
    ([50.0, 0.0], (8, 8, 3))
    """

    settings: VisionFeatures
    boxes: list[Boxes] = field(default_factory=list)
    """Of each frame (4,): left, top, right, bottom in pixels of the frame; NaN without a face."""
    probabilities: list[float] = field(default_factory=list)
    """Of each frame, of the detector; 0 without a face."""
    use: list[bool] = field(default_factory=list)
    """Of each frame: whether it is encoded, as a face or as what `no_face` puts in its place."""
    _centre: NDArray[np.float32] | None = None
    _held: Picture | None = None

    def next(self, image: Picture, faces: Boxes) -> Picture | None:
        """The next frame and all `faces` (faces, 5) in it: the crop to be encoded, or None."""
        chosen = self._choose(faces)
        found: Picture | None = None
        if chosen is not None:
            self.boxes.append(chosen[:4])
            self.probabilities.append(float(chosen[4]))
            found = crop(image, chosen[:4], self.settings.face_size, self.settings.margin)
            if self.settings.no_face == "hold":
                self._held = found
        else:
            self.boxes.append(np.full(4, np.nan, np.float32))
            self.probabilities.append(0.0)
            if self.settings.no_face == "full-frame":
                found = _whole(image, self.settings.face_size)
            elif self.settings.no_face == "hold":
                found = self._held
        self.use.append(found is not None)
        return found

    @property
    def fault(self) -> str | None:
        """Why the clip has no features, or None: no frame has a face and none may stand in."""
        if self._centre is not None or self.settings.no_face == "full-frame":
            return None
        return no_face(len(self.use))

    def _choose(self, faces: Boxes) -> Boxes | None:
        if not len(faces):
            return None
        centres = (faces[:, :2] + faces[:, 2:4]) / 2
        if self._centre is None:
            index = int(np.argmax(np.prod(faces[:, 2:4] - faces[:, :2], axis=1)))
        else:
            index = int(np.argmin(np.sum((centres - self._centre) ** 2, axis=1)))
        self._centre = centres[index]
        chosen: Boxes = faces[index]
        return chosen


def no_face(frames: int) -> str:
    """The reason of a clip in which nobody is to be seen."""
    return f"no face in any of {frames} frames"


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


def _whole(image: Picture, size: int) -> Picture:
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
