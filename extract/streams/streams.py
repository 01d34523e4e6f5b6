"""The streams of a [[features]] table: transcripts and sound here, faces in `vision`."""

import hashlib
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ...cache.corpus.words import is_wordless
from ...cache.manifest import Clip, Manifest
from ...cache.spec import StoredType
from ...config import AnyFeatures, AudioFeatures, TextFeatures, VisionFeatures
from ..decode.clip_error import ClipError
from ..decode.media import Media, MediaError, Waveform
from ..encoders import text
from ..encoders.audio import readers as audio
from ..encoders.audio.memory_check import too_long
from ..encoders.batch_independence import measure
from ..encoders.describe import describe
from ..encoders.device import ComputeDevice
from ..encoders.loading import resolve
from ..stage_times import Clock
from .context import PrecedingUtterances
from .reference_input import (
    SECONDS,
    reference_noise,
    reference_words,
    sounds_for_a_batch,
    texts_for_a_batch,
)
from .stream import Stream, WholeClipStream
from .vision import VisionStream

__all__ = ["AudioStream", "Stream", "TextStream", "VisionStream", "stream_of"]


class TextStream(WholeClipStream):
    """Transcripts to token features."""

    def __init__(
        self, features: TextFeatures, dtype: StoredType, manifest: Manifest | None = None
    ) -> None:
        super().__init__()
        self.settings, self.checkpoint = features, resolve(features)
        self.tokenizer = text.load_tokenizer(self.checkpoint)
        self.max_length = min(features.max_length, text.longest(self.checkpoint))
        self.before = PrecedingUtterances(features.context, manifest)
        how = text.preprocessing_of(features, self.tokenizer)
        self.spec = describe(features, "text", self.checkpoint, dtype, how)

    def source(self, clip: Clip, root: Path) -> str:
        """Digest of the transcript, and of what was said before where that is read too.

        Raises ClipError where nothing is said.
        """
        if is_wordless(clip.text):
            raise ClipError("read", "empty text")
        read = "\x1e".join([*self.before(clip), clip.text])
        return hashlib.blake2b(read.encode(), digest_size=8).hexdigest()

    def frames(self, clip: Clip, seconds: float) -> float:
        """Tokens, guessed from the words."""
        return 2 + sum(text.about(words) for words in (*self.before(clip), clip.text))

    def load(self, arithmetic: ComputeDevice, clock: Clock) -> None:
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
    def cut(self) -> set[str]:
        """Clips so far that lost words to `max_length`, their own or of those said before."""
        return self.encoder.cut if self.encoder else set()

    @property
    def truncated(self) -> int:
        return len(self.cut)

    def prepare(self, clip: Clip, media: Media) -> str:
        if is_wordless(clip.text):
            raise ClipError("read", "empty text")
        return text.cased(clip.text, self.settings.case)

    def item(self, clip: Clip, source: str, prepared: str) -> text.Words:
        before = tuple(text.cased(words, self.settings.case) for words in self.before(clip))
        return text.Words(clip.id, source, prepared, before)

    def reference(self) -> NDArray[Any]:
        try:
            return self._values([reference_words()])[0]
        finally:
            self.cut.discard(reference_words().id)

    def leakage(self) -> float:
        words = texts_for_a_batch()
        try:
            return measure(self.encoder, self._values, *words)
        finally:
            self.cut.difference_update(each.id for each in words)


class AudioStream(WholeClipStream):
    """Waveforms to frame features."""

    def __init__(self, features: AudioFeatures, dtype: StoredType) -> None:
        super().__init__()
        self.settings, self.checkpoint = features, resolve(features)
        self.processing = audio.load_processing(self.checkpoint)
        self.rate: int = self.processing.sample_rate
        self.track = features.track
        how = audio.preprocessing_of(features, self.checkpoint, self.processing)
        self.spec = describe(features, "audio", self.checkpoint, dtype, how)

    def frames(self, clip: Clip, seconds: float) -> float:
        return 1 + seconds * self.settings.rate

    def load(self, arithmetic: ComputeDevice, clock: Clock) -> None:
        self._announce(clock, "frames")
        self._guarded = (
            arithmetic.device.type == "cpu" and self.checkpoint.family.reader == "waveform"
        )
        self.encoder = audio.audio_encoder(
            self.checkpoint, self.processing, self.spec.layers, self.settings, arithmetic
        )

    def prepare(self, clip: Clip, media: Media) -> Any:
        """The waveform at the encoder's rate."""
        if self.rate not in media.waveforms:
            raise ClipError("decode", media.faults.get("audio", "no sound"))
        try:
            samples = self.resampled(media.waveforms[self.rate])
        except MediaError as fault:
            raise ClipError("decode", str(fault)) from None
        seconds = len(samples) / self.processing.sample_rate
        if self._guarded:
            kept = round(seconds * self.settings.rate) * len(self.spec.layers) * self.spec.width
            if reason := too_long(self.checkpoint.config, len(samples), kept, seconds):
                raise ClipError("encode", reason)
        return samples

    def resampled(self, waveform: Waveform) -> Any:
        """The waveform at the encoder's rate, (samples,); raises MediaError if too short."""
        return self.encoder.prepare(waveform)

    def item(self, clip: Clip, source: str, prepared: Any) -> audio.Sound:
        return audio.Sound(clip.id, source, prepared)

    def reference(self) -> NDArray[Any]:
        samples = reference_noise(round(SECONDS * self.processing.sample_rate))
        return self._values([audio.Sound("golden", "", samples)])[0]

    def leakage(self) -> float:
        return measure(self.encoder, self._values, *sounds_for_a_batch(self.processing.sample_rate))


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
