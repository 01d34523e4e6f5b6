"""The golden input: one fixed clip a modality, to notice when a library changes its numbers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..decode.sound import Waveform
from ..encoders.audio import Sound
from ..encoders.sound import resampled
from ..encoders.text import Words
from .raw_inputs import TokenStream, WaveformStream
from .streams import AudioStream, Stream, TextStream
from .vision import VisionStream

WORDS = "We did not like the film at all, but the music was wonderful."
SECONDS = 1.0
OTHER_RATE = 22_050
"""Samples a second of the sound that is resampled, one second of it."""


def golden(stream: Stream) -> NDArray[Any]:
    """What the stream's loaded encoder makes of the fixed input, (layers, frames, width)."""
    random = np.random.default_rng(0)
    if isinstance(stream, VisionStream):
        size = stream.settings.face_size
        values: NDArray[Any] = stream.encoder.encode(
            random.integers(0, 256, (1, size, size, 3), np.uint8)
        )
    elif isinstance(stream, WaveformStream):
        waveform = Waveform(random.normal(0, 0.1, OTHER_RATE).astype(np.float32), OTHER_RATE)
        sound = Sound("golden", "", resampled(waveform, stream.processing.sample_rate, int))
        values = stream.encode([sound])[0].values
    elif isinstance(stream, AudioStream):
        samples = random.normal(0, 0.1, round(SECONDS * stream.processing.sample_rate))
        sound = Sound("golden", "", samples.astype(np.float32))
        values = stream.encoder.encode([sound])[0].values
    elif isinstance(stream, TokenStream):
        values = stream.encode([Words("golden", "", WORDS)])[0].values
        stream.cut.discard("golden")
    elif isinstance(stream, TextStream):
        values = stream.encoder.encode([Words("golden", "", WORDS)])[0].values
        stream.encoder.cut.discard("golden")  # it is no clip of the corpus
    else:
        raise TypeError(f"no golden input for {type(stream).__name__}")
    return values
