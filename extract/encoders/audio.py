"""Waveforms to hidden states: speech encoders, every kept frame of every layer."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
import torchaudio
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoFeatureExtractor

from ...cache.writer import ClipFeatures
from ...config import AudioFeatures
from ..media import MediaError, Waveform
from .device import Arithmetic
from .hidden import stacked, tapped
from .loading import Checkpoint, load_model

SECONDS_PER_BATCH = {"cpu": 30, "cuda": 480}


@dataclass(frozen=True)
class Processing:
    """What the checkpoint's own processor does to a waveform."""

    sample_rate: int
    normalize: bool


@dataclass(frozen=True)
class Sound:
    """One clip's waveform at the encoder's rate, (samples,)."""

    id: str
    source: str
    samples: NDArray[np.float32]


class AudioEncoder:
    """Hidden states at `rate` frames a second, of clips that never see each other's padding."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        processing: Processing,
        layers: tuple[str, ...],
        settings: AudioFeatures,
        arithmetic: Arithmetic,
    ) -> None:
        self.family, self.layers, self.arithmetic = checkpoint.family, layers, arithmetic
        self.processing, self.pool = processing, settings.pool
        self.config: Any = checkpoint.config
        self.stride = int(np.prod(self.config.conv_stride))
        self.hop = hop(settings.rate, processing.sample_rate / self.stride)
        self.model: Any = load_model(checkpoint).to(arithmetic.device)
        # A norm over time mixes padding into every frame, whatever mask is given.
        self.paddable = self.config.feat_extract_norm == "layer"

    def prepare(self, waveform: Waveform) -> NDArray[np.float32]:
        """The waveform at the encoder's rate, (samples,); raises MediaError if too short."""
        samples = torch.from_numpy(waveform.samples)
        if waveform.rate != self.processing.sample_rate:
            samples = _resampler(waveform.rate, self.processing.sample_rate)(samples)
        if self.frames(len(samples)) < 1:
            raise MediaError(
                f"sound of {len(waveform.samples) / waveform.rate:.3f} s is too short for a frame"
            )
        resampled: NDArray[np.float32] = samples.numpy()
        return resampled

    def frames(self, samples: int) -> int:
        """Frames that the convolutions make of so many samples."""
        for kernel, stride in zip(self.config.conv_kernel, self.config.conv_stride, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples

    def encode(self, clips: Sequence[Sound]) -> list[ClipFeatures]:
        """Features of each clip, in order."""
        lengths = [len(c.samples) for c in clips]
        budget = SECONDS_PER_BATCH[self.arithmetic.device.type] * self.processing.sample_rate
        found: dict[int, ClipFeatures] = {}
        for group in self._groups(lengths, budget):
            hidden = self.arithmetic.halving(
                group, lambda b: self._forward([clips[i].samples for i in b])
            )
            for index, values in zip(group, hidden, strict=True):
                found[index] = self._features(clips[index], values)
        return [found[i] for i in range(len(clips))]

    def _groups(self, lengths: Sequence[int], budget: int) -> list[list[int]]:
        batches = list(self.arithmetic.batches(lengths, budget))
        if self.paddable:
            return batches
        equal: dict[tuple[int, int], list[int]] = {}
        for number, batch in enumerate(batches):
            for index in batch:
                equal.setdefault((number, lengths[index]), []).append(index)
        return list(equal.values())

    def _forward(self, samples: Sequence[NDArray[np.float32]]) -> list[NDArray[Any]]:
        lengths = [len(s) for s in samples]
        batch = torch.zeros(len(samples), max(lengths))
        for row, sound in zip(batch, samples, strict=True):
            row[: len(sound)] = self._normalized(torch.from_numpy(sound))
        mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
        frames = [self.frames(n) for n in lengths]
        kept = [-(-n // self.hop) for n in frames]
        device = self.arithmetic.device
        real = torch.arange(max(frames)) < torch.tensor(frames)[:, None]
        real = real.to(device)
        with (
            self.arithmetic.running(),
            warnings.catch_warnings(),
            tapped(
                self.model, self.family, self.layers, lambda hidden: self._pooled(hidden, real)
            ) as found,
        ):
            # WavLM hands torch a float position bias beside a boolean padding mask, as it must
            warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")
            self.model(
                batch.to(device), attention_mask=mask.long().to(device) if self.paddable else None
            )
            hidden = stacked(found, self.layers)
        return self.arithmetic.unpacked(hidden, kept)

    def _normalized(self, samples: Tensor) -> Tensor:
        """Zero mean and unit variance over the clip's own samples, where the encoder expects it."""
        if not self.processing.normalize:
            return samples
        return (samples - samples.mean()) / torch.sqrt(samples.var(correction=0) + 1e-7)

    def _pooled(self, hidden: Tensor, real: Tensor) -> Tensor:
        """Every hop-th frame, or the mean of each hop's real frames: (batch, kept, width)."""
        if self.pool == "stride" or self.hop == 1:
            return hidden[:, :: self.hop].clone()
        batch, frames, width = hidden.shape
        short = -frames % self.hop
        weights = torch.nn.functional.pad(real, (0, short)).view(batch, -1, self.hop, 1)
        padded = torch.nn.functional.pad(hidden.float(), (0, 0, 0, short))
        total = (padded.view(batch, -1, self.hop, width) * weights).sum(2)
        return total / weights.sum(2).clamp(min=1)

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


def hop(rate: float, native: float) -> int:
    """Native frames per kept frame: the whole number nearest to `native` / `rate`, at least 1.

    >>> hop(5, 50), hop(50, 50), hop(12, 50)
    (10, 1, 4)
    """
    return max(1, round(native / rate))


def load_processing(checkpoint: Checkpoint) -> Processing:
    """The processor saved with the checkpoint, else what the preset or the family says."""
    preset = checkpoint.preset.processing if checkpoint.preset else {}
    default = Processing(
        16_000, bool(preset.get("normalize", checkpoint.config.feat_extract_norm == "layer"))
    )
    if not checkpoint.trained:
        return default
    try:
        own: Any = AutoFeatureExtractor.from_pretrained(**checkpoint.where)
    except (OSError, ValueError):
        return default
    return Processing(int(own.sampling_rate), bool(own.do_normalize))


@cache
def _resampler(have: int, want: int) -> Any:
    return torchaudio.transforms.Resample(have, want)
