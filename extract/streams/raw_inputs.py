"""What live encoders read, made once and kept in stores like features: token ids, waveforms.

A store of waveforms has one entry, whose frames are `CHUNK` samples long, the last one filled up
with zeros; the side array ``samples`` says how many of a frame's are real. A store of token ids has
one entry of width 1; ids are exact in float32.
"""

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...cache.alignment.word_store import CHARACTERS
from ...cache.manifest import Clip, Manifest
from ...cache.spec import FeatureSpec, Scalar
from ...cache.store.writer import ClipFeatures
from ...config import AudioFeatures, Config, TextFeatures
from ..decode.sound import RESAMPLER, Waveform
from ..encoders import text
from ..encoders.audio.sound import Processing, Sound, resampled
from ..encoders.audio.waveform import frames_of
from ..encoders.device import ComputeDevice
from ..encoders.loading import Checkpoint, EncoderError
from ..stage_times import Clock
from .reference_input import reference_noise
from .streams import AudioStream, Stream, TextStream, stream_of

CHUNK = 320
"""Samples that one row of a store of waveforms holds."""
OTHER_RATE = 22_050
"""Samples a second of the reference sound that is resampled, one second of it."""
ITEMS = ("0",)
"""The one entry of these stores."""


class TokenStream(TextStream):
    """Transcripts to token ids."""

    def __init__(self, features: TextFeatures, manifest: Manifest | None = None) -> None:
        super().__init__(features, "float32", manifest)
        self.spec = token_spec(self.checkpoint, features, self.tokenizer)
        self.reader = text.TokenReader(self.tokenizer, self.max_length)

    def load(self, arithmetic: ComputeDevice, clock: Clock) -> None:
        self._announce(clock, "tokens")

    @property
    def cut(self) -> set[str]:
        return self.reader.cut

    def encode(self, items: Sequence[text.Words]) -> list[ClipFeatures]:
        """Token ids of each clip, in order."""
        features = []
        for clip in items:
            tokens = self.reader.tokens(clip)
            values = tokens.ids.astype(np.float32)[None, :, None]
            side = {"special": self.reader.special(tokens.ids), CHARACTERS: tokens.characters}
            features.append(_features(clip.id, clip.source, values, np.nan, side))
        return features


class WaveformStream(AudioStream):
    """Sound, decoded and resampled."""

    _guarded = False

    def __init__(self, features: AudioFeatures) -> None:
        super().__init__(features, "float32")
        refuse_unreadable(self.checkpoint)
        self.spec = waveform_spec(self.processing, features.track)

    def load(self, arithmetic: ComputeDevice, clock: Clock) -> None:
        self._announce(clock, "frames")

    def frames(self, clip: Clip, seconds: float) -> float:
        """Rows of `CHUNK` samples."""
        return 1 + seconds * self.processing.sample_rate / CHUNK

    def resampled(self, waveform: Waveform) -> Any:
        config = self.checkpoint.config
        return resampled(waveform, self.processing.sample_rate, lambda n: frames_of(config, n))

    def encode(self, items: Sequence[Sound]) -> list[ClipFeatures]:
        """The waveform of each clip in rows, in order."""
        seconds = CHUNK / self.processing.sample_rate
        features = []
        for clip in items:
            rows = -(-len(clip.samples) // CHUNK)
            values = np.zeros((1, rows, CHUNK), np.float32)
            values.reshape(-1)[: len(clip.samples)] = clip.samples
            real = np.full(rows, CHUNK, np.int32)
            real[-1] = len(clip.samples) - CHUNK * (rows - 1)
            features.append(_features(clip.id, clip.source, values, seconds, {"samples": real}))
        return features

    def reference(self) -> NDArray[Any]:
        """Of sound at another rate: here the numbers come from the resampler."""
        waveform = Waveform(reference_noise(OTHER_RATE), OTHER_RATE)
        samples = resampled(waveform, self.processing.sample_rate, int)
        return self._values([Sound("golden", "", samples)])[0]


def streams_of(features: Any, config: Config, manifest: Manifest) -> list[Stream]:
    """The streams that fill what is needed of one [[features]] table.

    An encoder that is trained reads items; its hidden states are needed only where training starts
    from those below its trained blocks, and for a sweep. Raises EncoderError if the encoder cannot
    be had, or not be live.
    """
    live = config.live_input(features)
    cached = stream_of(features, config.cache.dtype, manifest, config.corpus_cache)
    if live is None:
        return [cached]
    items: Stream
    if isinstance(features, TextFeatures):
        items = TokenStream(features, manifest)
    elif isinstance(features, AudioFeatures):
        items = WaveformStream(features)
    else:
        raise EncoderError(f"encoder {features.encoder}: encoders of faces cannot be live.")
    return [items, cached] if live.top or config.sweep else [items]


def refuse_unreadable(checkpoint: Checkpoint) -> None:
    """Raises EncoderError for an encoder of sound that cannot be trained."""
    if checkpoint.family.reader != "waveform":
        raise EncoderError(
            f"encoder {checkpoint.slug}: of sound, wav2vec 2.0 and its kin (HuBERT, WavLM, "
            "data2vec) can be live; read this one from the cache."
        )


def token_spec(checkpoint: Checkpoint, features: TextFeatures, tokenizer: Any) -> FeatureSpec:
    """The store of token ids that this encoder reads."""
    how = text.preprocessing_of(features, tokenizer)
    how["max_length"] = min(features.max_length, text.longest(checkpoint))
    return _spec("text", f"tokens-{checkpoint.slug}", 1, how)


def waveform_spec(processing: Processing, track: int | None = None) -> FeatureSpec:
    """The store of waveforms at this rate."""
    how: dict[str, Scalar] = {"sample_rate": processing.sample_rate, "resampler": RESAMPLER}
    how |= {} if track is None else {"track": track}
    return _spec("audio", "waveform", CHUNK, how)


def _spec(modality: Any, name: str, width: int, how: Any) -> FeatureSpec:
    return FeatureSpec(
        modality=modality,
        encoder=name,
        source=name,
        revision=None,
        weights="none",
        weights_digest="none",
        layers=ITEMS,
        width=width,
        dtype="float32",
        preprocessing=how,
        recorded={"python": platform.python_version(), "torch": torch.__version__},
    )


def _features(
    id_: str, source: str, values: NDArray[np.float32], seconds: float, side: dict[str, Any]
) -> ClipFeatures:
    rows = values.shape[1]
    return ClipFeatures(
        id=id_,
        source=source,
        values=values,
        times=np.float32(seconds) * np.arange(rows, dtype=np.float32),
        durations=np.full(rows, seconds, dtype=np.float32),
        valid=np.ones(rows, dtype=np.bool_),
        side=side,
    )


def items_folder(config: Config, spec: FeatureSpec) -> Path:
    """Where the store of this spec lies."""
    return config.corpus_cache / spec.folder_name
