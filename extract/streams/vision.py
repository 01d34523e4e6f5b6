"""Frames to face features: detection and crops of many clips share the device's batches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...cache.face_boxes import BoxStore, Found
from ...cache.manifest import Clip
from ...cache.spec import Scalar, StoredType
from ...cache.store.writer import ClipFeatures
from ...config import VisionFeatures
from ..decode.clip_error import ClipError, clip_error
from ..decode.media import Media
from ..encoders import vision
from ..encoders.batch_independence import measure
from ..encoders.describe import describe
from ..encoders.device import ComputeDevice
from ..encoders.loading import resolve
from ..encoders.pooling import parts, pooled_clip
from ..faces.batched_detector import FaceFinder
from ..faces.crops import Picture
from ..faces.frame_chunks import Collector, Piece
from ..faces.mtcnn import DETECTOR, Boxes
from ..faces.track import RULE, FaceTrack, no_face
from ..stage_times import Clock
from .encoded import Chunk, magnitude, overflow
from .reference_input import crops_for_a_batch, reference_crop
from .stream import Stream

Item = TypeVar("Item")
PENDING_BYTES = 160_000_000
"""Frames that wait for the detector's batch to fill, in full size: crops come from these."""


@dataclass
class Clipped:
    """A clip under way: its face so far, and the hidden states of its crops as they come."""

    source: str
    track: FaceTrack
    found: list[Boxes] | None
    """All faces of each frame; None where they were known beforehand."""
    rows: dict[int, NDArray[Any]] = field(default_factory=dict)
    """Frame to hidden states (layers, width)."""
    largest: NDArray[np.float64] | None = None
    fault: ClipError | None = None
    """What ended the clip early; frames of it that still wait are passed over."""


@dataclass
class Waiting:
    """A frame that waits for the detector or, in its place in the queue, a ready crop."""

    clip: Clipped
    index: int
    crop: Picture | None = None
    image: Picture | None = None
    small: Picture | None = None
    scale: float = 1.0
    faces: Boxes | None = None
    """All that were found, in pixels of `image`."""


class VisionStream(Stream):
    """Frames to face features; crops of many clips share the encoder's batches."""

    def __init__(
        self, features: VisionFeatures, dtype: StoredType, folder: Path | None = None
    ) -> None:
        self.settings, self.checkpoint = features, resolve(features)
        self.fps: float | None = features.fps
        self.track = features.track
        self.processing = vision.load_processing(self.checkpoint)
        self.detection: dict[str, Scalar] = {
            "detector": DETECTOR,
            "detect_size": features.detect_size,
            "fps": features.fps,
        }
        if features.track is not None:
            self.detection["track"] = features.track
        preprocessing = self.detection | {
            "face_size": features.face_size,
            "margin": features.margin,
            "no_face": features.no_face,
            "track_rule": RULE,
            "min_probability": features.min_probability,
            "max_speed": features.max_speed,
            "min_brightness": features.min_brightness,
            "size": self.processing.size,
            "mean": " ".join(map(str, self.processing.mean)),
            "std": " ".join(map(str, self.processing.std)),
        }
        preprocessing |= self.processing.unusual
        preprocessing |= {"pool": features.pool} if features.pool != "none" else {}
        self.spec = describe(features, "vision", self.checkpoint, dtype, preprocessing)
        self.boxes = BoxStore(folder, self.detection) if folder else None
        self.finder: FaceFinder | None = None
        self.sharers = 1
        self._model: VisionStream | None = None
        self._clips: dict[str, Clipped] = {}
        self._waiting: list[Waiting] = []
        self._pending = 0
        self._crops: list[tuple[Clipped, int, Picture]] = []

    def refuses(self, source: str) -> ClipError | None:
        """A clip in which no face was found before has none today."""
        known = self.boxes.get(source) if self.boxes else None
        if known is None or known.counts.any() or self.settings.no_face == "full-frame":
            return None
        return ClipError("detect", no_face(len(known.counts)))

    def frames(self, clip: Clip, seconds: float) -> float:
        return 1 + seconds * self.settings.fps

    def load(self, arithmetic: ComputeDevice, clock: Clock) -> None:
        self.finder = self._model.finder if self._model else FaceFinder(arithmetic, self.sharers)
        self.clock = clock
        self.encoder = vision.VisionEncoder(
            self.checkpoint, self.processing, self.spec.layers, arithmetic
        )
        clock.stage("detect", "frames")
        clock.stage(self._stage, "crops")

    def share(self, other: "VisionStream") -> None:
        """Look for faces together with `other`, which has the same detector settings."""
        self._model, self.boxes = other, other.boxes
        other.sharers += 1

    def collect(self, source: str, put: Callable[[Any], None]) -> Collector:
        return Collector(self.settings, self.boxes.get(source) if self.boxes else None, put)

    def prepare(self, clip: Clip, media: Media) -> None:
        """Nothing more than the pieces; raises ClipError if they are not the whole clip."""
        if fault := media.faults.get("vision"):
            raise ClipError("decode", fault)

    def take(self, clip: Clip, source: str, piece: Piece) -> None:
        """Queue frames; full batches are looked through and encoded at once."""
        mine = self._clips.get(clip.id)
        if mine is None:
            track = piece.track or FaceTrack(self.settings)
            mine = self._clips[clip.id] = Clipped(source, track, None if piece.track else [])
        for index, crop in enumerate(piece.crops, start=piece.first):
            self._waiting.append(Waiting(mine, index, crop=crop))
        for index, (image, small, scale) in enumerate(piece.frames, start=piece.first):
            self._waiting.append(Waiting(mine, index, None, image, small, scale))
        self._pending += piece.nbytes
        assert self.finder is not None
        pixels = sum(
            w.small.shape[0] * w.small.shape[1] for w in self._waiting if w.small is not None
        )
        if self._pending >= PENDING_BYTES or pixels >= self.finder.pixels:
            self._look()

    def add(self, clip: Clip, source: str, prepared: None) -> None:
        """All pieces of the clip were taken."""

    def drop(self, clip: Clip) -> None:
        if dropped := self._clips.pop(clip.id, None):
            dropped.fault = ClipError("decode", "the clip was dropped")

    def finish(self) -> Chunk:
        """Find and encode the rest and hand the frames back to their clips."""
        self._look()
        if self._crops:
            self._encode(len(self._crops))
        clips, self._clips = self._clips, {}
        chunk = Chunk()
        for id_, clip in clips.items():
            try:
                chunk.features.append(self._finished(id_, clip, chunk))
            except Exception as fault:
                chunk.failures[id_] = clip_error("encode", fault)
        return chunk

    def reference(self) -> NDArray[Any]:
        states: NDArray[Any] = self.encoder.encode(reference_crop(self.settings.face_size))
        return states

    def leakage(self) -> float:
        def encode(crops: Sequence[Picture]) -> list[NDArray[Any]]:
            states = self.encoder.encode(np.stack(crops))
            return [states[:, n : n + 1] for n in range(len(crops))]

        return measure(self.encoder, encode, *crops_for_a_batch(self.settings.face_size))

    def _finished(self, id_: str, clip: Clipped, chunk: Chunk) -> ClipFeatures:
        """The features of a clip that is through; raises what ended it instead."""
        if clip.fault:
            raise clip.fault
        if clip.found is not None:
            counts = np.array([len(f) for f in clip.found], dtype=np.int64)
            chunk.found[clip.source] = Found(counts, np.concatenate(clip.found))
        if clip.track.fault:
            raise ClipError("detect", clip.track.fault)
        if clip.largest is not None and (fault := overflow(self.spec, clip.largest)):
            raise fault
        return self._features(id_, clip)

    def _look(self) -> None:
        """Find the faces of all frames that wait, and queue their crops in the frames' order."""
        waiting, self._waiting, self._pending = self._waiting, [], 0
        unseen = [w for w in waiting if w.small is not None]
        with self.clock.busy("detect", len(unseen)):
            self._apart("detect", unseen, [w.clip for w in unseen], self._detect)
        for frame in waiting:
            if frame.clip.fault is None:
                self._apart("detect", [frame], [frame.clip], self._follow)
            while len(self._crops) >= self.encoder.batch:
                self._encode(self.encoder.batch)

    def _apart(
        self,
        stage: str,
        items: Sequence[Item],
        clips: Sequence[Clipped],
        work: Callable[[Sequence[Item]], None],
    ) -> None:
        """`work` on `items`, each of the clip beside it; if it raises, clip by clip, so that the
        clip that it raises for fails alone."""
        live = [(i, c) for i, c in zip(items, clips, strict=True) if c.fault is None]
        if not live:
            return
        try:
            work([item for item, _ in live])
        except Exception as fault:
            owners = {id(clip): clip for _, clip in live}
            if len(owners) == 1:
                live[0][1].fault = clip_error(stage, fault)
                return
            for key, clip in owners.items():
                of_clip = [item for item, c in live if id(c) == key]
                self._apart(stage, of_clip, [clip] * len(of_clip), work)

    def _detect(self, unseen: Sequence[Waiting]) -> None:
        """Find the faces of these frames."""
        assert self.finder is not None
        keys = [(w.clip.source, w.index) for w in unseen]
        found_faces = self.finder.find(keys, [w.small for w in unseen if w.small is not None])
        for frame, faces in zip(unseen, found_faces, strict=True):
            frame.faces = faces.copy()
            frame.faces[:, :4] /= frame.scale

    def _follow(self, frames: Sequence[Waiting]) -> None:
        """Choose the face of each of these frames, and queue its crop."""
        for frame in frames:
            crop = frame.crop
            if frame.image is not None and frame.clip.found is not None:
                assert frame.faces is not None
                frame.clip.found.append(frame.faces)
                crop = frame.clip.track.next(frame.image, frame.faces)
            if crop is not None:
                self._crops.append((frame.clip, frame.index, crop))

    def _encode(self, count: int) -> None:
        batch, self._crops = self._crops[:count], self._crops[count:]
        self._apart("encode", batch, [clip for clip, _, _ in batch], self._forward)

    def _forward(self, batch: Sequence[tuple[Clipped, int, Picture]]) -> None:
        """Hidden states of these crops, to the clips that they are of."""
        with self.clock.busy(self._stage, len(batch)):
            hidden = self.encoder.encode(np.stack([crop for _, _, crop in batch]))
            largest = magnitude(hidden)
            with np.errstate(over="ignore"):  # seen in `largest`
                stored = hidden.astype(self.spec.dtype, copy=False)
        for position, (clip, index, _) in enumerate(batch):
            reached = largest[:, position]
            clip.largest = reached if clip.largest is None else np.maximum(clip.largest, reached)
            clip.rows[index] = stored[:, position]

    def _features(self, id_: str, clip: Clipped) -> ClipFeatures:
        use = np.array(clip.track.use)
        width = self.spec.width // parts(self.settings.pool)
        values = np.zeros((len(self.spec.layers), len(use), width), self.spec.dtype)
        for index, row in clip.rows.items():
            values[:, index] = row
        boxes = np.stack(clip.track.boxes)
        features = ClipFeatures(
            id=id_,
            source=clip.source,
            values=values,
            times=np.arange(len(use), dtype=np.float32) / np.float32(self.settings.fps),
            durations=np.full(len(use), 1 / self.settings.fps, dtype=np.float32),
            valid=use,
            side={
                "boxes": boxes,
                "probs": np.array(clip.track.probabilities, dtype=np.float32),
                "face": ~np.isnan(boxes[:, 0]),
            },
        )
        return pooled_clip(features, self.settings.pool)
