"""The one face of a clip: the rule that follows it."""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from ...config import VisionFeatures
from .crops import Picture, crop, whole
from .mtcnn import Boxes

RULE = 2
"""Version of the rule, for the fingerprint."""
STILL = 0.25
"""Widths of the face within which its place is always taken for the same: detectors waver."""
LOST = 1.0
"""Seconds without the face after which it may be looked for anywhere."""
FORGOTTEN = 5.0
"""Seconds without the face after which any other is taken, however small."""
LARGER = 3.0
"""Times the area of the followed face at which another one takes its place: who is in the front,
and not a picture on the wall or a passer-by."""
SURE = 0.05
"""Probabilities that differ by less are alike."""
CUT = 32.0
"""Mean difference of grey levels, of 255, between frames of which the second is of another shot."""
THUMB = (16, 9)
"""Width and height at which frames are compared."""


@dataclass
class FaceTrack:
    """Follows one face through a clip, frame by frame.

    Faces that are too dark or that the detector is not sure of (`min_brightness`,
    `min_probability`) are none. The first face is the largest of the surest, and one of `LARGER`
    its area takes its place. Else it is the one nearest to the last, no farther than `max_speed`
    allows and no smaller than a third. Where none is near, the frame has no face: it is hidden. It
    is looked for anew, largest of the surest, when the shot changes and after `LOST` seconds; then
    no smaller than a third, until it is `FORGOTTEN`.

    >>> table = VisionFeatures(modality="vision", encoder="-", face_size=8, min_brightness=0)
    >>> track = FaceTrack(table)
    >>> near, far = [0, 0, 20, 20, 0.99], [60, 0, 75, 15, 0.99]
    >>> for faces in ([near, far], [far], [far, near]):
    ...     crop = track.next(np.zeros((90, 90, 3), np.uint8), np.array(faces, np.float32))
    >>> [float(box[0]) for box in track.boxes]
    [0.0, nan, 0.0]
    """

    settings: VisionFeatures
    boxes: list[Boxes] = field(default_factory=list)
    """Of each frame (4,): left, top, right, bottom in pixels of the frame; NaN without a face."""
    probabilities: list[float] = field(default_factory=list)
    """Of each frame, of the detector; 0 without a face."""
    use: list[bool] = field(default_factory=list)
    """Of each frame: whether it is encoded, as a face or as what `no_face` puts in its place."""
    jumps: int = 0
    """Times that the face became another one, as far as can be told from its place."""
    several: int = 0
    """Frames with more than one face."""
    _last: Boxes | None = None
    _missing: int = 0
    """Frames since the face was last seen."""
    _other_shot: bool = False
    """Whether the shot has changed since."""
    _thumb: NDArray[np.float32] | None = None
    _held: Picture | None = None

    def next(self, image: Picture, faces: Boxes) -> Picture | None:
        """The next frame and all `faces` (faces, 5) in it: the crop to be encoded, or None."""
        self._other_shot |= self._differs(image)
        faces = self._real(image, faces)
        self.several += len(faces) > 1
        chosen = self._choose(faces)
        picture: Picture | None = None
        if chosen is not None:
            self._last, self._missing, self._other_shot = chosen, 0, False
            self.boxes.append(chosen[:4])
            self.probabilities.append(float(chosen[4]))
            picture = crop(image, chosen[:4], self.settings.face_size, self.settings.margin)
            if self.settings.no_face == "hold":
                self._held = picture
        else:
            self._missing += 1
            self.boxes.append(np.full(4, np.nan, np.float32))
            self.probabilities.append(0.0)
            if self.settings.no_face == "full-frame":
                picture = whole(image, self.settings.face_size)
            elif self.settings.no_face == "hold":
                picture = self._held
        self.use.append(picture is not None)
        return picture

    @property
    def fault(self) -> str | None:
        """Why the clip has no features, or None: no frame has a face and none may stand in."""
        if self._last is not None or self.settings.no_face == "full-frame":
            return None
        return no_face(len(self.use))

    def _choose(self, faces: Boxes) -> Boxes | None:
        last, gone = self._last, (self._missing + 1) / self.settings.fps
        if last is None or not len(faces):
            return largest_of_the_surest(faces)
        area, sizes = areas(last[None])[0], areas(faces)
        rivals = faces[(sizes >= LARGER * area) & (faces[:, 4] >= last[4] - SURE)]
        if not len(rivals):
            alike = faces[sizes >= area / LARGER]
            reach = max(STILL, self.settings.max_speed * min(gone, LOST)) * (last[2] - last[0])
            distances = np.linalg.norm(centres(alike) - centres(last[None]), axis=1)
            if len(alike) and distances.min() <= reach:
                nearest: Boxes = alike[int(np.argmin(distances))]
                return nearest
            if self._other_shot or gone > FORGOTTEN:
                rivals = faces
            elif gone > LOST:
                rivals = alike
        self.jumps += len(rivals) > 0
        return largest_of_the_surest(rivals)

    def _real(self, image: Picture, faces: Boxes) -> Boxes:
        """Those of `faces` that are sure enough, and can be seen."""
        settings = self.settings
        kept = [
            face[4] >= settings.min_probability
            and brightness(image, face[:4]) >= settings.min_brightness
            for face in faces
        ]
        real: Boxes = faces[np.array(kept, np.bool_)] if len(faces) else faces
        return real

    def _differs(self, image: Picture) -> bool:
        """Whether the picture as a whole differs from the one before."""
        small = cv2.resize(image, THUMB, interpolation=cv2.INTER_AREA)
        thumb = np.asarray(small, np.float32).mean(axis=2)
        before, self._thumb = self._thumb, thumb
        return before is not None and float(np.abs(thumb - before).mean()) > CUT


def largest_of_the_surest(faces: Boxes) -> Boxes | None:
    """The largest of the faces (faces, 5) that are about as sure as the surest one, if any."""
    if not len(faces):
        return None
    surest = faces[faces[:, 4] >= faces[:, 4].max() - SURE]
    chosen: Boxes = surest[int(np.argmax(areas(surest)))]
    return chosen


def areas(faces: Boxes) -> NDArray[np.float32]:
    """(faces,) square pixels."""
    size = np.maximum(faces[:, 2:4] - faces[:, :2], 0)
    area: NDArray[np.float32] = size[:, 0] * size[:, 1]
    return area


def centres(faces: Boxes) -> NDArray[np.float32]:
    """(faces, 2)."""
    centre: NDArray[np.float32] = (faces[:, :2] + faces[:, 2:4]) / np.float32(2)
    return centre


def brightness(image: Picture, box: Boxes) -> float:
    """Mean grey level of the box; 0 outside of the picture."""
    left, top, right, bottom = (max(0, round(float(value))) for value in box)
    part = image[top : max(bottom, top + 1), left : max(right, left + 1)]
    # a few hundred pixels tell as much as all of them
    rows, columns = (max(1, size // 16) for size in part.shape[:2])
    return float(part[::rows, ::columns].mean()) if part.size else 0.0


def no_face(frames: int) -> str:
    """The reason of a clip in which nobody is to be seen."""
    return f"no face in any of {frames} frames"
