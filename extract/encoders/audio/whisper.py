"""Whisper's encoder: fixed windows of 30 seconds, cut back to the clip's own length."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import AutoFeatureExtractor, WhisperFeatureExtractor

from ..frozen import frozen
from ..hidden import capture_hidden_states, stacked
from ..loading import Checkpoint, saved_with
from .sound import SoundEncoder, real_frames

SECONDS_OF_POSITION = 0.02
"""One of the encoder's learned positions: two steps of its spectrogram."""


class WhisperEncoder(SoundEncoder):
    """Hidden states of frames of 20 ms.

    Whisper hears windows of one length and no mask: shorter sound is followed by silence, as it was
    trained, so a clip's features cannot depend on its batch. What belongs to the silence is cut
    off. Longer sound is heard in consecutive windows that know nothing of one another.
    """

    def _load(self, checkpoint: Checkpoint) -> None:
        self.spectrogram = load_spectrogram(checkpoint)
        self.window = int(self.config.max_source_positions) * self.stride
        self.model: Any = frozen(checkpoint, self.layers, self.arithmetic)

    def frames(self, samples: int) -> int:
        """Frames that samples reach into: two convolutions, the second of stride 2, over hops."""
        hops = -(-samples // int(self.spectrogram.hop_length))
        return (hops - 1) // 2 + 1

    def _pieces(self, samples: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        return [samples[at : at + self.window] for at in range(0, len(samples), self.window)]

    def _cost(self, piece: NDArray[np.float32]) -> int:
        return self.window

    def _forward(self, samples: Sequence[NDArray[np.float32]]) -> list[NDArray[Any]]:
        device = self.arithmetic.device
        heard = self.spectrogram(
            list(samples),
            sampling_rate=self.processing.sample_rate,
            padding="max_length",
            max_length=self.window,
            return_tensors="pt",
            device=str(device),
        )["input_features"]
        frames = [self.frames(len(s)) for s in samples]
        real = real_frames(frames, self.config.max_source_positions, device)
        with (
            self.arithmetic.running(),
            capture_hidden_states(
                self.model, self.family, self.layers, lambda hidden: self._pooled(hidden, real)
            ) as states,
        ):
            self.model(heard.to(device))
            hidden = stacked(states, self.layers)
        return self.arithmetic.unpacked(hidden, [self._kept(n) for n in frames])


def load_spectrogram(checkpoint: Checkpoint) -> Any:
    """The log-mel front end saved with the checkpoint, else the published one at its sizes."""
    extractor = saved_with(checkpoint, AutoFeatureExtractor)
    if extractor is not None:
        return extractor
    config = checkpoint.config
    seconds = round(config.max_source_positions * SECONDS_OF_POSITION)
    return WhisperFeatureExtractor(feature_size=config.num_mel_bins, chunk_length=seconds)
