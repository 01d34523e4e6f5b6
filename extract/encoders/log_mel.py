"""Log-mel spectrograms: the hand-crafted baseline of the pre-trained speech encoders."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...cache.spec import Scalar
from ...installation import require_stack
from .loading import Checkpoint
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
        require_stack("torchaudio")  # no other encoder needs it
        import torchaudio

        self.window = round(WINDOW_SECONDS * self.processing.sample_rate)
        self.transform = torchaudio.transforms.MelSpectrogram(
            sample_rate=self.processing.sample_rate,
            n_fft=POINTS,
            win_length=self.window,
            hop_length=self.stride,
            n_mels=self.config.hidden_size,
            center=False,
        ).to(self.arithmetic.device)

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
            energies: Tensor = self.transform(batch.to(device)).transpose(1, 2)
            logs = torch.log(energies + FLOOR)
            kept = self._pooled(logs, real_frames(frames, longest, device))
        return self.arithmetic.unpacked(kept[None], [self._kept(n) for n in frames])


def ingredients() -> dict[str, Scalar]:
    """What the numbers depend on beside the sample rate, for the fingerprint."""
    return {"window": WINDOW_SECONDS, "points": POINTS, "floor": FLOOR, "mel": "htk"}
