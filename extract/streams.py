"""One [[features]] table at work: decoded clips go in, a chunk's features come out."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..cache.manifest import Clip
from ..cache.spec import FeatureSpec, Scalar, StoredType
from ..cache.writer import ClipFeatures
from ..config import AnyFeatures, AudioFeatures, TextFeatures, VisionFeatures
from .encoders import audio, text, vision
from .encoders.describe import describe
from .encoders.device import Arithmetic
from .encoders.loading import resolve
from .faces import DETECTOR, FaceFinder, Faces
from .media import Media, MediaError, source_digest

TOKENS_PER_WORD = 1.4


class ClipError(Exception):
    """Why one clip has no features of one modality: the stage it failed in, and the reason."""

    def __init__(self, stage: str, reason: str) -> None:
        super().__init__(reason)
        self.stage, self.reason = stage, reason


@dataclass
class Chunk:
    """What one chunk of clips gave so far."""

    features: list[ClipFeatures] = field(default_factory=list)
    failures: dict[str, ClipError] = field(default_factory=dict)


class Stream(Protocol):
    """The life of one store's features, from a decoded clip to `ClipFeatures`.

    `prepare` runs in a decoding thread; `load`, `add` and `finish` in the thread of the device.
    """

    spec: FeatureSpec
    fps: float | None
    """Pictures a second it wants decoded; None: no pictures."""
    audio: bool
    """Whether it wants the sound decoded."""

    def source(self, clip: Clip, root: Path) -> str:
        """Digest of what the clip's features are made from; raises ClipError if that is missing."""

    def frames(self, clip: Clip, seconds: float) -> float:
        """About how many frames the clip will have, for planning parts."""

    def load(self, arithmetic: Arithmetic) -> None:
        """Load the models."""

    def prepare(self, clip: Clip, media: Media) -> Any:
        """What `add` takes of a decoded clip; raises ClipError."""

    def add(self, clip: Clip, source: str, prepared: Any) -> None:
        """Take one clip in; raises ClipError."""

    def finish(self) -> Chunk:
        """Features and failures of all clips added since the last call, in that order."""


class TextStream:
    """Transcripts to token features."""

    fps: float | None = None
    audio = False

    def __init__(self, features: TextFeatures, dtype: StoredType) -> None:
        self.settings, self.checkpoint = features, resolve(features)
        self.tokenizer = text.load_tokenizer(self.checkpoint)
        own_limit = int(getattr(self.checkpoint.config, "max_position_embeddings", 512))
        self.max_length = min(features.max_length, own_limit)
        self.spec = describe(
            features,
            "text",
            self.checkpoint,
            dtype,
            {
                "max_length": features.max_length,
                "tokenizer": text.tokenizer_digest(self.tokenizer),
            },
        )
        self._words: list[text.Words] = []

    def source(self, clip: Clip, root: Path) -> str:
        """Digest of the transcript."""
        return hashlib.blake2b(clip.text.encode(), digest_size=8).hexdigest()

    def frames(self, clip: Clip, seconds: float) -> float:
        """Tokens, guessed from the words."""
        return 2 + TOKENS_PER_WORD * len(clip.text.split())

    def load(self, arithmetic: Arithmetic) -> None:
        """Load the text encoder."""
        self.encoder = text.TextEncoder(
            self.checkpoint, self.tokenizer, self.spec.layers, self.max_length, arithmetic
        )

    def prepare(self, clip: Clip, media: Media) -> str:
        """The transcript."""
        if not clip.text.strip():
            raise ClipError("read", "empty text")
        return clip.text

    def add(self, clip: Clip, source: str, prepared: str) -> None:
        """Queue the transcript."""
        self._words.append(text.Words(clip.id, source, prepared))

    def finish(self) -> Chunk:
        """Encode what is queued."""
        words, self._words = self._words, []
        return _encoded(words, self.encoder.encode, self.spec)


class AudioStream:
    """Waveforms to frame features."""

    fps: float | None = None
    audio = True

    def __init__(self, features: AudioFeatures, dtype: StoredType) -> None:
        self.settings, self.checkpoint = features, resolve(features)
        self.processing = audio.load_processing(self.checkpoint)
        self.spec = describe(
            features,
            "audio",
            self.checkpoint,
            dtype,
            {
                "rate": features.rate,
                "pool": features.pool,
                "sample_rate": self.processing.sample_rate,
                "normalize": self.processing.normalize,
                "resampler": "torchaudio-sinc-hann",
            },
        )
        self._sounds: list[audio.Sound] = []

    def source(self, clip: Clip, root: Path) -> str:
        """Digest of the media file and the cut."""
        return _media_source(clip, root)

    def frames(self, clip: Clip, seconds: float) -> float:
        """Seconds times rate."""
        return 1 + seconds * self.settings.rate

    def load(self, arithmetic: Arithmetic) -> None:
        """Load the speech encoder."""
        self.encoder = audio.AudioEncoder(
            self.checkpoint, self.processing, self.spec.layers, self.settings, arithmetic
        )

    def prepare(self, clip: Clip, media: Media) -> Any:
        """The waveform at the encoder's rate."""
        if media.waveform is None:
            raise ClipError("decode", media.faults.get("audio", "no sound"))
        try:
            return self.encoder.prepare(media.waveform)
        except MediaError as fault:
            raise ClipError("decode", str(fault)) from None

    def add(self, clip: Clip, source: str, prepared: Any) -> None:
        """Queue the waveform."""
        self._sounds.append(audio.Sound(clip.id, source, prepared))

    def finish(self) -> Chunk:
        """Encode what is queued."""
        sounds, self._sounds = self._sounds, []
        return _encoded(sounds, self.encoder.encode, self.spec)


class VisionStream:
    """Frames to face features; crops of many clips share the encoder's batches."""

    audio = False

    def __init__(self, features: VisionFeatures, dtype: StoredType) -> None:
        self.settings, self.checkpoint = features, resolve(features)
        self.fps: float | None = features.fps
        self.processing = vision.load_processing(self.checkpoint)
        preprocessing: dict[str, Scalar] = {
            key: getattr(features, key)
            for key in ("fps", "face_size", "margin", "no_face", "detect_size")
        }
        preprocessing |= {
            "detector": DETECTOR,
            "size": self.processing.size,
            "mean": " ".join(map(str, self.processing.mean)),
            "std": " ".join(map(str, self.processing.std)),
        }
        self.spec = describe(features, "vision", self.checkpoint, dtype, preprocessing)
        self._waiting: list[tuple[str, str, Faces, Any]] = []
        self._crops: list[Any] = []
        self._done: list[Any] = []

    def source(self, clip: Clip, root: Path) -> str:
        """Digest of the media file and the cut."""
        return _media_source(clip, root)

    def frames(self, clip: Clip, seconds: float) -> float:
        """Seconds times fps."""
        return 1 + seconds * self.settings.fps

    def load(self, arithmetic: Arithmetic) -> None:
        """Load the detector and the picture encoder."""
        self.finder = FaceFinder(self.settings, arithmetic.device)
        self.encoder = vision.VisionEncoder(
            self.checkpoint, self.processing, self.spec.layers, arithmetic
        )

    def prepare(self, clip: Clip, media: Media) -> Any:
        """The frames."""
        if media.frames is None:
            raise ClipError("decode", media.faults.get("vision", "no pictures"))
        return media.frames

    def add(self, clip: Clip, source: str, prepared: Any) -> None:
        """Find the faces and queue their crops; full batches are encoded at once."""
        try:
            faces = self.finder.find(prepared)
        except MediaError as fault:
            raise ClipError("detect", str(fault)) from None
        self._waiting.append((clip.id, source, faces, prepared.times))
        self._crops.extend(faces.crops[faces.use])
        while len(self._crops) >= self.encoder.batch:
            self._encode(self.encoder.batch)

    def finish(self) -> Chunk:
        """Encode the rest and hand the frames back to their clips."""
        if self._crops:
            self._encode(len(self._crops))
        hidden = np.concatenate(self._done, axis=1) if self._done else None
        waiting, self._waiting, self._done = self._waiting, [], []
        chunk, begin = Chunk(), 0
        for id_, source, faces, times in waiting:
            count = int(faces.use.sum())
            shape = (len(self.spec.layers), len(times), self.spec.width)
            values = np.zeros(shape, dtype=np.float32)
            if hidden is not None:
                values[:, faces.use] = hidden[:, begin : begin + count]
            begin += count
            _keep(
                chunk,
                ClipFeatures(
                    id=id_,
                    source=source,
                    values=values,
                    times=times,
                    durations=np.full(len(times), 1 / self.settings.fps, dtype=np.float32),
                    valid=faces.use,
                    side={
                        "boxes": faces.boxes,
                        "probs": faces.probabilities,
                        "face": ~np.isnan(faces.boxes[:, 0]),
                    },
                ),
                self.spec,
            )
        return chunk

    def _encode(self, count: int) -> None:
        batch, self._crops = self._crops[:count], self._crops[count:]
        self._done.append(self.encoder.encode(np.stack(batch)))


def stream_of(features: AnyFeatures, dtype: StoredType) -> Stream:
    """The stream of a [[features]] table; raises EncoderError if its encoder cannot be had."""
    if isinstance(features, VisionFeatures):
        return VisionStream(features, dtype)
    if isinstance(features, AudioFeatures):
        return AudioStream(features, dtype)
    return TextStream(features, dtype)


def _media_source(clip: Clip, root: Path) -> str:
    path = root / (clip.media or "")
    try:
        return source_digest(path, clip.start, clip.end)
    except OSError as fault:
        reason = "no such file" if isinstance(fault, FileNotFoundError) else str(fault.strerror)
        raise ClipError("read", f"{reason}: {clip.media}") from None


def _encoded(
    items: Sequence[Any], encode: Callable[[Any], list[ClipFeatures]], spec: FeatureSpec
) -> Chunk:
    """Features of `items`; if a batch fails, its clips one by one, so that one cannot sink all."""
    chunk = Chunk()
    try:
        features = encode(items)
    except (RuntimeError, ValueError) as fault:
        if len(items) == 1:
            chunk.failures[items[0].id] = ClipError("encode", f"{type(fault).__name__}: {fault}")
            return chunk
        for item in items:
            alone = _encoded([item], encode, spec)
            chunk.features += alone.features
            chunk.failures |= alone.failures
        return chunk
    for clip in features:
        _keep(chunk, clip, spec)
    return chunk


def _keep(chunk: Chunk, clip: ClipFeatures, spec: FeatureSpec) -> None:
    """Add `clip` to the chunk, as a failure if the stored type cannot hold it."""
    largest = np.abs(clip.values).max(axis=(1, 2))
    limit = float(np.finfo(spec.dtype).max)
    unfit = ~(largest <= limit)  # NaN compares false, so it is unfit too
    if unfit.any():
        position = int(np.argmax(unfit))
        chunk.failures[clip.id] = ClipError(
            "encode",
            f"layer {spec.layers[position]} reaches {largest[position]:.3g}, more than "
            f'{spec.dtype} holds; set cache.dtype = "float32"',
        )
    else:
        chunk.features.append(clip)
