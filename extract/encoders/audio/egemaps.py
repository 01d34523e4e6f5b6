"""eGeMAPS: 25 expert-chosen voice descriptors each 10 ms, by the optional openSMILE."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ....cache.spec import Scalar
from ..loading import Checkpoint, EncoderError
from .sound import SoundEncoder, real_frames

SHORTEST_SECONDS = 0.06
"""openSMILE's longest window; shorter sound gives it no frame."""


class EgemapsEncoder(SoundEncoder):
    """The low-level descriptors of eGeMAPSv02 (pitch, loudness, formants, spectral shape).

    One clip at a time, on the CPU. Its one layer is named "0". Descriptors that are undefined, as
    pitch is in silence, are 0, as openSMILE gives them. Raises EncoderError without opensmile.
    """

    def _load(self, checkpoint: Checkpoint) -> None:
        opensmile = load_opensmile()
        self.smile: Any = opensmile.Smile(
            feature_set=opensmile.FeatureSet.eGeMAPSv02,
            feature_level=opensmile.FeatureLevel.LowLevelDescriptors,
        )

    def frames(self, samples: int) -> int:
        """Frames that openSMILE makes of so many samples; below 1 it refuses them."""
        longest = round(SHORTEST_SECONDS * self.processing.sample_rate)
        return (samples - longest) // self.stride + 2 if samples >= longest else 0

    def _forward(self, samples: Sequence[NDArray[np.float32]]) -> list[NDArray[Any]]:
        return [self._one(sound) for sound in samples]

    def _one(self, sound: NDArray[np.float32]) -> NDArray[Any]:
        table = self.smile.process_signal(sound, self.processing.sample_rate)
        values = torch.from_numpy(np.array(table.to_numpy(np.float32)))
        frames = len(values)
        real = real_frames([frames], frames, torch.device("cpu"))
        states: NDArray[np.float32] = self._pooled(values[None], real).numpy()
        return states


def load_opensmile() -> Any:
    """The opensmile module; raises EncoderError with the remedy where it is not installed."""
    try:
        import opensmile
    except ImportError:
        raise EncoderError(
            'encoder "egemaps" needs openSMILE, which is not installed: '
            "`pip install sedimental[opensmile]` (free for research; see its licence)."
        ) from None
    return opensmile


def ingredients() -> dict[str, Scalar]:
    """What the numbers depend on, for the fingerprint; raises EncoderError without opensmile."""
    return {"feature_set": "eGeMAPSv02", "opensmile": str(load_opensmile().__version__)}
