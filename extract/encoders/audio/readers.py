"""Which reader of sound an encoder needs, and what the checkpoint's processor asks of the sound."""

from collections.abc import Mapping

from transformers import AutoFeatureExtractor

from ....cache.spec import Scalar
from ....config import AudioFeatures
from ...decode.sound import RESAMPLER
from ..device import ComputeDevice
from ..loading import Checkpoint, saved_with
from ..presets.families import Reader
from . import egemaps, log_mel
from .egemaps import EgemapsEncoder
from .log_mel import LogMelEncoder
from .sound import SECONDS_PER_BATCH, Processing, Sound, SoundEncoder, checked_hop, frame_grid
from .waveform import WaveformEncoder, norms_by_layer
from .whisper import WhisperEncoder

__all__ = [
    "SECONDS_PER_BATCH",
    "Processing",
    "Sound",
    "SoundEncoder",
    "audio_encoder",
    "load_processing",
    "preprocessing_of",
]

READERS: Mapping[Reader, type[SoundEncoder]] = {
    "waveform": WaveformEncoder,
    "whisper": WhisperEncoder,
    "log-mel": LogMelEncoder,
    "egemaps": EgemapsEncoder,
}
SAMPLE_RATE = 16_000


def audio_encoder(
    checkpoint: Checkpoint,
    processing: Processing,
    layers: tuple[str, ...],
    settings: AudioFeatures,
    arithmetic: ComputeDevice,
) -> SoundEncoder:
    """The checkpoint's encoder with its weights on the device; raises EncoderError."""
    kind = READERS[checkpoint.family.reader]
    return kind(checkpoint, processing, layers, settings, arithmetic)


def load_processing(checkpoint: Checkpoint) -> Processing:
    """The processor saved with the checkpoint, else what the preset or the family says."""
    if checkpoint.family.reader != "waveform":
        return Processing(SAMPLE_RATE, normalize=False)
    preset = checkpoint.preset.processing if checkpoint.preset else {}
    default = Processing(
        SAMPLE_RATE, bool(preset.get("normalize", norms_by_layer(checkpoint.config)))
    )
    processor = saved_with(checkpoint, AutoFeatureExtractor)
    if processor is None:
        return default
    return Processing(int(processor.sampling_rate), bool(processor.do_normalize))


def preprocessing_of(
    settings: AudioFeatures, checkpoint: Checkpoint, processing: Processing
) -> dict[str, Scalar]:
    """What a store's numbers depend on beside the weights.

    Raises EncoderError for a rate that the encoder's frames cannot be cut into, and for an
    encoder whose library is not installed: both before anything is loaded.
    """
    stride, window = frame_grid(checkpoint, processing)
    checked_hop(settings, processing.sample_rate / stride, window)
    special: dict[str, Scalar] = {} if settings.track is None else {"track": settings.track}
    if checkpoint.family.reader == "log-mel":
        special |= log_mel.ingredients()
    elif checkpoint.family.reader == "egemaps":
        special |= egemaps.ingredients()
    return {
        "rate": settings.rate,
        "pool": settings.pool,
        "sample_rate": processing.sample_rate,
        "normalize": processing.normalize,
        "resampler": RESAMPLER,
        **special,
    }
