"""What every reader of sound shares: resampling, batches, kept frames a second, time stamps."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....cache.store.writer import ClipFeatures
from ....config import AudioFeatures
from ...decode.clip_error import MediaError
from ...decode.sound import Waveform, at_rate
from ..budget import Budget
from ..device import ComputeDevice, Sharing
from ..loading import Checkpoint, EncoderError
from ..pooling import pooled
from ..rates import RateError, hop, place

SECONDS_PER_BATCH = {"cpu": 30, "cuda": 480}


@dataclass(frozen=True)
class Processing:
    """What the checkpoint's own processor does to a waveform."""

    sample_rate: int
    normalize: bool
    """Zero mean and unit variance over each clip's own samples."""


@dataclass(frozen=True)
class Sound:
    """One clip's waveform at the encoder's rate, (samples,)."""

    id: str
    source: str
    samples: NDArray[np.float32]


class SoundEncoder(ABC):
    """Frames at `rate` a second, of clips that never see each other's padding.

    Raises EncoderError if the encoder's own frames cannot be cut into the asked `rate`.
    """

    sharing: Sharing = "any lengths"
    """Which clips may share a batch; measured after loading (`batch_independence`)."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        processing: Processing,
        layers: tuple[str, ...],
        settings: AudioFeatures,
        arithmetic: ComputeDevice,
    ) -> None:
        self.family, self.layers, self.arithmetic = checkpoint.family, layers, arithmetic
        self.processing, self.pool = processing, settings.pool
        self.config: Any = checkpoint.config
        self.stride, window = frame_grid(checkpoint, processing)
        self.hop = checked_hop(settings, processing.sample_rate / self.stride, window)
        samples = {k: s * processing.sample_rate for k, s in SECONDS_PER_BATCH.items()}
        self.budget = Budget(arithmetic, samples)
        self._load(checkpoint)

    @abstractmethod
    def _load(self, checkpoint: Checkpoint) -> None:
        """Load what turns sound into frames; everything else of the encoder is set already."""

    def prepare(self, waveform: Waveform) -> NDArray[np.float32]:
        """The waveform at the encoder's rate, (samples,); raises MediaError if too short."""
        return resampled(waveform, self.processing.sample_rate, self.frames)

    @abstractmethod
    def frames(self, samples: int) -> int:
        """Frames, before any are left out, that the encoder makes of so many samples."""

    @abstractmethod
    def _forward(self, samples: Sequence[NDArray[np.float32]]) -> list[NDArray[Any]]:
        """Kept frames (layers, kept, width) of each piece of a batch."""

    def encode(self, clips: Sequence[Sound]) -> list[ClipFeatures]:
        """Features of each clip, in order."""
        pieces = [(i, piece) for i, c in enumerate(clips) for piece in self._pieces(c.samples)]
        hidden = self.budget.encode(
            [self._cost(piece) for _, piece in pieces],
            self.sharing,
            lambda batch: self._forward([pieces[i][1] for i in batch]),
        )
        parts: list[list[NDArray[Any]]] = [[] for _ in clips]
        for (index, _), states in zip(pieces, hidden, strict=True):
            parts[index].append(states)
        return [
            self._features(clip, each[0] if len(each) == 1 else np.concatenate(each, axis=1))
            for clip, each in zip(clips, parts, strict=True)
        ]

    def _pieces(self, samples: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """The stretches of a clip that go through the encoder one by one."""
        return [samples]

    def _cost(self, piece: NDArray[np.float32]) -> int:
        """Samples that a piece takes up in a batch."""
        return len(piece)

    def _kept(self, frames: int) -> int:
        return -(-frames // self.hop)

    def _pooled(self, hidden: Tensor, real: Tensor) -> Tensor:
        """`pooled`, owning its memory, so that the rest of the layer is freed."""
        kept = pooled(hidden, real, self.hop, self.pool)
        return kept.clone() if kept.data_ptr() == hidden.data_ptr() else kept

    def _features(self, clip: Sound, values: NDArray[Any]) -> ClipFeatures:
        frames, step = values.shape[1], self.hop * self.stride / self.processing.sample_rate
        return ClipFeatures(
            id=clip.id,
            source=clip.source,
            values=values,
            times=step * np.arange(frames, dtype=np.float32),
            durations=np.full(frames, step, dtype=np.float32),
            valid=np.ones(frames, dtype=np.bool_),
            side={},
        )


def resampled(waveform: Waveform, rate: int, frames: Callable[[int], int]) -> NDArray[np.float32]:
    """The waveform at `rate`, (samples,); raises MediaError where `frames` of it are none."""
    samples = at_rate(waveform, rate).samples
    if frames(len(samples)) < 1:
        raise MediaError(
            f"sound of {len(waveform.samples) / waveform.rate:.3f} s is too short for a frame"
        )
    return samples


def real_frames(frames: Sequence[int], longest: int, device: torch.device) -> Tensor:
    """(batch, longest): True where a row of so many `frames` has one."""
    return torch.arange(longest, device=device) < torch.tensor(frames, device=device)[:, None]


def frame_grid(checkpoint: Checkpoint, processing: Processing) -> tuple[int, int | None]:
    """Samples from one frame to the next, and the frames of a window where windows are fixed."""
    config = checkpoint.config
    if checkpoint.family.reader == "waveform":
        return int(np.prod(config.conv_stride)), None
    rate = checkpoint.preset.processing.get("native_rate", 50.0) if checkpoint.preset else 50.0
    window = config.max_source_positions if checkpoint.family.reader == "whisper" else None
    return round(processing.sample_rate / rate), window


def checked_hop(settings: AudioFeatures, native: float, window: int | None) -> int:
    """Native frames per kept frame; raises EncoderError naming the nearest rates that work."""
    try:
        return hop(settings.rate, native, window)
    except RateError as fault:
        raise EncoderError(f"{place(settings)}: rate: {fault}") from None
