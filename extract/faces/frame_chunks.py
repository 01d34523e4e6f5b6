"""A clip's frames on their way to the detector, or as crops where its faces are known already."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ...cache.face_boxes import Found
from ...config import VisionFeatures
from .crops import Picture, resized, working_size
from .track import FaceTrack

NOBODY = np.zeros((0, 5), np.float32)
PIECE_BYTES = 16_000_000
"""Frames of one clip on their way to the detector at once."""


@dataclass
class Piece:
    """Some frames of a clip that follow each other."""

    first: int
    track: FaceTrack | None
    """Where the faces were known beforehand: the one that the crops come from."""
    crops: list[Picture | None] = field(default_factory=list)
    """With a `track`: of each frame, what is to be encoded."""
    frames: list[tuple[Picture, Picture, float]] = field(default_factory=list)
    """Without: each frame in full, at the detector's working size, and the scale between."""
    nbytes: int = 0


class Collector:
    """Turns a clip's frames into pieces while it is decoded."""

    def __init__(
        self, settings: VisionFeatures, known: Found | None, put: Callable[[Piece], None]
    ) -> None:
        self._settings, self._put = settings, put
        self._known = known.frames if known is not None else None
        self._track = FaceTrack(settings) if known is not None else None
        self._piece = Piece(0, self._track)
        self._count = 0

    def take(self, image: Picture) -> None:
        """The clip's next frame."""
        piece = self._piece
        if self._known is not None and self._track is not None:
            faces = self._known[self._count] if self._count < len(self._known) else NOBODY
            crop = self._track.next(image, faces)
            piece.crops.append(crop)
            piece.nbytes += 0 if crop is None else crop.nbytes
        else:
            size, scale = working_size(image, self._settings.detect_size)
            piece.frames.append((image, resized(image, size), scale))
            piece.nbytes += image.nbytes
        self._count += 1
        if piece.nbytes >= PIECE_BYTES:
            self.rest()

    def rest(self) -> None:
        """Hand on what has not been handed on yet."""
        piece, self._piece = self._piece, Piece(self._count, self._track)
        if piece.crops or piece.frames:
            self._put(piece)
