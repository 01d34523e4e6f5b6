"""Log-mel spectrograms: the hand-crafted baseline of the pre-trained speech encoders."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.audio_utils import mel_filter_bank

from ....cache.spec import Scalar
from ..loading import Checkpoint
from .sound import SoundEncoder, real_frames

WINDOW_SECONDS = 0.06
FLOOR = 1e-6
"""Energy added before the logarithm: about what 16-bit sound rounds away."""
POINTS = 2048
"""Of each Fourier transform: fewer leave the lowest of 128 filters without any frequency."""


class LogMelEncoder(SoundEncoder):
    """Logarithms of 128 mel filters over Hann windows of 60 ms, one each 20 ms; always fp32.

    Frame i is about the middle of its 20 ms; before and after the clip is silence. Its one layer is
    named "0". No normalisation: what reads the features scales them.
    """

    def _load(self, checkpoint: Checkpoint) -> None:
        self.window = round(WINDOW_SECONDS * self.processing.sample_rate)
        device = self.arithmetic.device
        self.hann = torch.hann_window(self.window, device=device)
        self.filters = mel_filters(self.processing.sample_rate, self.config.hidden_size).to(device)

    def frames(self, samples: int) -> int:
        """Steps of 20 ms that samples reach into."""
        return -(-samples // self.stride)

    def _forward(self, samples: Sequence[NDArray[np.float32]]) -> list[NDArray[Any]]:
        frames = [self.frames(len(s)) for s in samples]
        longest = max(frames)
        # the window sits in the middle of the transform's points, and over the middle of its step
        before = (POINTS - self.stride) // 2
        batch = torch.zeros(len(samples), (longest - 1) * self.stride + POINTS)
        for row, sound in zip(batch, samples, strict=True):
            row[before : before + len(sound)] = torch.from_numpy(sound)[: len(row) - before]
        device = self.arithmetic.device
        with torch.inference_mode():
            spectrum = torch.stft(
                batch.to(device),
                POINTS,
                self.stride,
                self.window,
                self.hann,
                center=False,
                return_complex=True,
            )
            energies = spectrum.abs().square().transpose(1, 2) @ self.filters
            logs = torch.log(energies + FLOOR)
            states = self._pooled(logs, real_frames(frames, longest, device))
        return self.arithmetic.unpacked(states[None], [self._kept(n) for n in frames])


def mel_filters(sample_rate: int, count: int) -> Tensor:
    """Triangles evenly over the mel scale (HTK's), from 0 to half the rate: (frequencies, count).

    Of torchaudio; where its compiled part does not fit the torch that is there and it cannot be
    imported, of transformers, which agree.
    """
    frequencies, top = POINTS // 2 + 1, sample_rate / 2
    try:
        from torchaudio.functional import melscale_fbanks
    except (ImportError, OSError, RuntimeError):
        bank = mel_filter_bank(frequencies, count, 0.0, top, sample_rate, mel_scale="htk")
        return torch.from_numpy(bank).float()
    filters: Tensor = melscale_fbanks(frequencies, 0.0, top, count, sample_rate)
    return filters


def ingredients() -> dict[str, Scalar]:
    """What the numbers depend on beside the sample rate, for the fingerprint."""
    return {"window": WINDOW_SECONDS, "points": POINTS, "floor": FLOOR, "mel": "htk"}
