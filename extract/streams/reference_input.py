"""Fixed inputs: one a modality, to notice when a library changes its numbers, and three short ones,
to see whether a loaded encoder's features depend on what shares their batch."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...cache.spec import Scalar
from ...cache.store.writer import StoreWriter
from ..decode.clip_error import clip_error
from ..decode.sound import Waveform
from ..encoders.audio.readers import Sound
from ..encoders.audio.sound import resampled
from ..encoders.batch_independence import measure
from ..encoders.device import SHARINGS
from ..encoders.text import Words
from .raw_inputs import TokenStream, WaveformStream
from .streams import AudioStream, Stream, TextStream
from .vision import VisionStream

WORDS = "We did not like the film at all, but the music was wonderful."
FEW, TURNED = "We like it", "it like We"
"""A short text, and one of the same words."""
SECONDS = 1.0
SHORT, LONGER = 0.1, 0.4
"""Seconds of the sounds that share a batch: a few frames, and padding beside them."""
OTHER_RATE = 22_050
"""Samples a second of the sound that is resampled, one second of it."""
BATCHES, COMPUTED, APART = "batches", "batches measured in", "batches differ by"
"""Keys under which a store's spec records the outcome."""


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


def independence(stream: Stream, writer: StoreWriter, held: bool) -> str:
    """Have the loaded encoder batch in a way that leaves each clip's features its own.

    That is measured where the store does not say it for this precision and kind of device, and
    recorded in the store's spec, which its fingerprint leaves out. Returns what is to be said of
    it, or "". An encoder that fails on the short inputs encodes clips one by one, and is measured
    again the next time; one that fails on every input is found out by `golden`. With `held`
    features that an earlier version batched as if nothing leaked, that says so.
    """
    if isinstance(stream, TokenStream | WaveformStream):
        return ""  # no encoder
    if not isinstance(stream, VisionStream | AudioStream | TextStream):
        raise TypeError(f"no inputs to measure {type(stream).__name__} with")
    encoder: Any = stream.encoder
    believed, known = encoder.sharing, writer.recorded
    computed = encoder.arithmetic.name
    if known.get(COMPUTED) == computed and known.get(BATCHES) in SHARINGS:
        encoder.sharing = known[BATCHES]
        apart = float(known.get(APART) or 0.0)
    else:
        try:
            apart = _measured(stream)
        except Exception as fault:
            encoder.sharing = "one by one"
            reason = clip_error("encode", fault).reason
            return (
                f"{writer.path.name}: whether clips can share a batch cannot be measured "
                f"({reason}): clips are encoded one by one"
            )
        outcome: dict[str, Scalar] = {BATCHES: encoder.sharing, COMPUTED: computed}
        writer.note(outcome | {APART: float(f"{min(apart, 1e9):.2g}")})
    if encoder.sharing == "any lengths":
        return ""
    how = {"equal lengths": "clips of equal length alone share a batch"}
    said = how.get(encoder.sharing, "clips are encoded one by one")
    if encoder.sharing == believed:
        return f"{writer.path.name}: padding would change its features: {said}"
    said = (
        f"{writer.path.name}: features of a clip depend on what shares its batch (by {apart:.2g} "
        f"of a layer's largest value): {said}"
    )
    if held and BATCHES not in known:
        said += (
            "; those that the store holds were made in mixed batches: "
            f"`sedimental cache rm {writer.path}` and extract again"
        )
    return said


def _measured(stream: VisionStream | AudioStream | TextStream) -> float:
    random = np.random.default_rng(1)
    if isinstance(stream, VisionStream):
        size, pictures = stream.settings.face_size, stream.encoder
        crops = [random.integers(0, 256, (size, size, 3), np.uint8) for _ in range(3)]

        def seen(items: Sequence[NDArray[np.uint8]]) -> list[NDArray[Any]]:
            states = pictures.encode(np.stack(items))
            return [states[:, n : n + 1] for n in range(len(items))]

        return measure(pictures, seen, *crops)
    if isinstance(stream, AudioStream):
        rate, sounds = stream.processing.sample_rate, stream.encoder
        heard = [
            Sound("fixed", "", random.normal(0, 0.1, round(s * rate)).astype(np.float32))
            for s in (SHORT, SHORT, LONGER)
        ]
        return measure(sounds, partial(_values, sounds.encode), *heard)
    words = [Words("fixed", "", text) for text in (FEW, TURNED, WORDS)]
    try:
        return measure(stream.encoder, partial(_values, stream.encoder.encode), *words)
    finally:
        stream.encoder.cut.discard("fixed")


def _values(encode: Any, items: Sequence[Any]) -> list[NDArray[Any]]:
    return [features.values for features in encode(items)]
