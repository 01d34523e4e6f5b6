"""One [[features]] table at work: decoded clips go in, a chunk's features come out."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from ...cache.corpus.words import is_wordless
from ...cache.manifest import Clip, Manifest
from ...cache.spec import FeatureSpec, StoredType
from ...config import AnyFeatures, AudioFeatures, TextFeatures, VisionFeatures
from ..decode.clip_error import ClipError
from ..decode.media import Media, MediaError, Waveform, media_source
from ..encoders import text
from ..encoders.audio import readers as audio
from ..encoders.audio.memory_check import too_long
from ..encoders.describe import describe
from ..encoders.device import ComputeDevice
from ..encoders.loading import resolve
from ..stage_times import Clock
from .context import PrecedingUtterances
from .encoded import Chunk, encoded
from .vision import VisionStream

__all__ = ["AudioStream", "Stream", "TextStream", "VisionStream", "stream_of"]


class Collector(Protocol):
    """Takes a clip's frames while it is decoded, in the decoding thread."""

    def take(self, image: Any) -> None:
        """The next frame, RGB (height, width, 3)."""

    def rest(self) -> None:
        """There are no more."""


class Stream(Protocol):
    """The life of one store's features, from a decoded clip to `ClipFeatures`.

    `collect` and `prepare` run in a decoding thread; `load` and all others in the device's.
    """

    spec: FeatureSpec
    fps: float | None
    """Pictures a second it wants decoded; None: no pictures."""
    track: int | None
    """Which of several tracks it reads; None: the default one."""

    @property
    def rate(self) -> int | None:
        """Samples a second that it wants the sound at; None: no sound."""

    def source(self, clip: Clip, root: Path) -> str:
        """Digest of what the clip's features are made from; raises ClipError if that is missing."""

    def refuses(self, source: str) -> ClipError | None:
        """Why a clip of this source cannot have features, where that is known without decoding."""

    def frames(self, clip: Clip, seconds: float) -> float:
        """About how many frames the clip will have, for planning parts."""

    def load(self, arithmetic: ComputeDevice, clock: Clock) -> None:
        """Load the models; the stages announced to `clock` are this stream's."""

    def collect(self, source: str, put: Callable[[Any], None]) -> Collector:
        """What is given the clip's frames; it hands on pieces for `take` by `put`."""

    def prepare(self, clip: Clip, media: Media) -> Any:
        """What `add` takes of a decoded clip; raises ClipError."""

    def take(self, clip: Clip, source: str, piece: Any) -> None:
        """Take some frames of the clip that is being decoded."""

    def add(self, clip: Clip, source: str, prepared: Any) -> None:
        """The clip is decoded; take in what was prepared of it."""

    def drop(self, clip: Clip) -> None:
        """The clip failed; forget what was taken of it."""

    def finish(self) -> Chunk:
        """Features and failures of all clips added since the last call, in that order."""


class _Whole:
    """What streams share that take a clip in one piece, at its end."""

    fps: float | None = None
    rate: int | None = None
    track: int | None = None
    spec: FeatureSpec
    clock: Clock

    def refuses(self, source: str) -> ClipError | None:
        """Nothing is known beforehand."""
        return None

    def collect(self, source: str, put: Callable[[Any], None]) -> Collector:
        """It takes no frames."""
        raise NotImplementedError

    def take(self, clip: Clip, source: str, piece: Any) -> None:
        """It takes no frames."""
        raise NotImplementedError

    def drop(self, clip: Clip) -> None:
        """Nothing was taken."""

    @property
    def _stage(self) -> str:
        return f"encode {self.spec.modality} {self.spec.encoder}"

    def _announce(self, clock: Clock, unit: str) -> None:
        self.clock = clock
        clock.stage(self._stage, unit)

    def _encoded(self, items: list[Any], encode: Callable[[Any], Any]) -> Chunk:
        with self.clock.busy(self._stage):
            chunk = encoded(items, encode, self.spec)
        self.clock.add(self._stage, 0, chunk.frames)
        return chunk


class TextStream(_Whole):
    """Transcripts to token features."""

    def __init__(
        self, features: TextFeatures, dtype: StoredType, manifest: Manifest | None = None
    ) -> None:
        self.settings, self.checkpoint = features, resolve(features)
        self.tokenizer = text.load_tokenizer(self.checkpoint)
        self.max_length = min(features.max_length, text.longest(self.checkpoint))
        self.before = PrecedingUtterances(features.context, manifest)
        self.spec = describe(
            features,
            "text",
            self.checkpoint,
            dtype,
            text.preprocessing_of(features, self.tokenizer),
        )
        self._words: list[text.Words] = []

    def source(self, clip: Clip, root: Path) -> str:
        """Digest of the transcript, and of what was said before where that is read too.

        Raises ClipError where nothing is said.
        """
        if is_wordless(clip.text):
            raise ClipError("read", "empty text")
        said = "\x1e".join([*self.before(clip), clip.text])
        return hashlib.blake2b(said.encode(), digest_size=8).hexdigest()

    def frames(self, clip: Clip, seconds: float) -> float:
        """Tokens, guessed from the words."""
        return 2 + sum(text.about(said) for said in (*self.before(clip), clip.text))

    def load(self, arithmetic: ComputeDevice, clock: Clock) -> None:
        """Load the text encoder."""
        self._announce(clock, "tokens")
        self.encoder = text.TextEncoder(
            self.checkpoint,
            self.tokenizer,
            self.spec.layers,
            self.max_length,
            arithmetic,
            self.settings.context,
            self.settings.pool,
        )

    @property
    def truncated(self) -> int:
        """Clips so far that lost words to `max_length`, their own or of those said before."""
        return len(self.encoder.cut) if hasattr(self, "encoder") else 0

    def prepare(self, clip: Clip, media: Media) -> str:
        """The transcript."""
        if is_wordless(clip.text):
            raise ClipError("read", "empty text")
        return text.cased(clip.text, self.settings.case)

    def add(self, clip: Clip, source: str, prepared: str) -> None:
        """Queue the transcript."""
        before = tuple(text.cased(said, self.settings.case) for said in self.before(clip))
        self._words.append(text.Words(clip.id, source, prepared, before))

    def finish(self) -> Chunk:
        """Encode what is queued."""
        words, self._words = self._words, []
        return self._encoded(words, self.encoder.encode)


class AudioStream(_Whole):
    """Waveforms to frame features."""

    def __init__(self, features: AudioFeatures, dtype: StoredType) -> None:
        self.settings, self.checkpoint = features, resolve(features)
        self.processing = audio.load_processing(self.checkpoint)
        self.rate: int = self.processing.sample_rate
        self.track = features.track
        self.spec = describe(
            features,
            "audio",
            self.checkpoint,
            dtype,
            audio.preprocessing_of(features, self.checkpoint, self.processing),
        )
        self._sounds: list[audio.Sound] = []

    def source(self, clip: Clip, root: Path) -> str:
        """Digest of the media file and the cut."""
        return media_source(clip, root)

    def frames(self, clip: Clip, seconds: float) -> float:
        """Seconds times rate."""
        return 1 + seconds * self.settings.rate

    def load(self, arithmetic: ComputeDevice, clock: Clock) -> None:
        """Load the speech encoder."""
        self._announce(clock, "frames")
        self._guarded = (
            arithmetic.device.type == "cpu" and self.checkpoint.family.reader == "waveform"
        )
        self.encoder = audio.audio_encoder(
            self.checkpoint, self.processing, self.spec.layers, self.settings, arithmetic
        )

    def prepare(self, clip: Clip, media: Media) -> Any:
        """The waveform at the encoder's rate."""
        try:
            samples = self.encoder.prepare(self._waveform(media))
        except MediaError as fault:
            raise ClipError("decode", str(fault)) from None
        seconds = len(samples) / self.processing.sample_rate
        if self._guarded:
            kept = round(seconds * self.settings.rate) * len(self.spec.layers) * self.spec.width
            if reason := too_long(self.checkpoint.config, len(samples), kept, seconds):
                raise ClipError("encode", reason)
        return samples

    def _waveform(self, media: Media) -> Waveform:
        """The sound at the asked rate; raises ClipError where there is none."""
        if self.rate not in media.waveforms:
            raise ClipError("decode", media.faults.get("audio", "no sound"))
        return media.waveforms[self.rate]

    def add(self, clip: Clip, source: str, prepared: Any) -> None:
        """Queue the waveform."""
        self._sounds.append(audio.Sound(clip.id, source, prepared))

    def finish(self) -> Chunk:
        """Encode what is queued."""
        sounds, self._sounds = self._sounds, []
        return self._encoded(sounds, self.encoder.encode)


def reads_media(stream: Stream) -> bool:
    """Whether the stream needs a clip's file at all."""
    return stream.rate is not None or stream.fps is not None


def stream_of(
    features: AnyFeatures,
    dtype: StoredType,
    manifest: Manifest | None = None,
    folder: Path | None = None,
) -> Stream:
    """The stream of a [[features]] table; raises EncoderError if its encoder cannot be had.

    `manifest` is where a text stream with `context` looks up what was said before a clip; `folder`
    the corpus's cache, where a vision stream keeps the faces it found.
    """
    if isinstance(features, VisionFeatures):
        return VisionStream(features, dtype, folder)
    if isinstance(features, AudioFeatures):
        return AudioStream(features, dtype)
    return TextStream(features, dtype, manifest)
