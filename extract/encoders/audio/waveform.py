"""Speech encoders over raw samples: wav2vec 2.0 and its kin (HuBERT, WavLM, data2vec)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..frozen import frozen
from ..hidden import capture_hidden_states, stacked
from ..loading import Checkpoint
from .sound import SoundEncoder, real_frames

Count = TypeVar("Count", int, NDArray[np.int64])


class WaveformEncoder(SoundEncoder):
    """Hidden states of frames of 20 ms; padded clips give what they give alone.

    In fp32 to 1e-5 of the layer's largest value, whatever the batch; in fp16 to 3e-3 and in bf16 to
    3e-2 (measured up to WavLM-Large on a CPU), since kernels round in another order. Three variants
    need three ways: with layer norm in the convolutions the attention mask does it; data2vec's
    stack of positional convolutions leaks in spite of the mask and is zeroed between (see
    `zero_padding_after_pos_conv`); with a norm over time in the first convolution nothing helps,
    and only clips of equal length share a batch. What leaks otherwise is found by
    `batch_independence`.
    """

    def _load(self, checkpoint: Checkpoint) -> None:
        self.model: Any = frozen(checkpoint, self.layers, self.arithmetic)
        self.masked = norms_by_layer(self.config)
        # a norm over time mixes padding into every frame, whatever mask is given
        self.sharing = "any lengths" if self.masked else "equal lengths"

    def frames(self, samples: int) -> int:
        """Frames that the convolutions make of so many samples."""
        return frames_of(self.config, samples)

    def _forward(self, samples: Sequence[NDArray[np.float32]]) -> list[NDArray[Any]]:
        lengths = [len(s) for s in samples]
        batch = torch.zeros(len(samples), max(lengths))
        for row, sound in zip(batch, samples, strict=True):
            row[: len(sound)] = normalized(torch.from_numpy(sound), self.processing.normalize)
        device = self.arithmetic.device
        mask = real_frames(lengths, max(lengths), device)
        frames = [self.frames(n) for n in lengths]
        real = real_frames(frames, max(frames), device)
        with (
            self.arithmetic.running(),
            zero_padding_after_pos_conv(self.model, real),
            capture_hidden_states(
                self.model, self.family, self.layers, lambda hidden: self._pooled(hidden, real)
            ) as states,
        ):
            self.model(batch.to(device), attention_mask=mask.long() if self.masked else None)
            hidden = stacked(states, self.layers)
        return self.arithmetic.unpacked(hidden, [self._kept(n) for n in frames])


def frames_of(config: Any, samples: Count) -> Count:
    """Frames that the convolutions make of so many samples: one number, or an array of them."""
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        samples = (samples - kernel) // stride + 1
    return samples


def normalized(samples: Tensor, wanted: bool) -> Tensor:
    """Zero mean and unit variance over the clip's own samples, where the encoder expects it."""
    if not wanted:
        return samples
    # threads share a sum, and in double precision it does not matter how
    exact = samples.double()
    mean, spread = exact.mean(), torch.sqrt(exact.var(correction=0) + 1e-7)
    return (samples - mean.to(samples.dtype)) / spread.to(samples.dtype)


def norms_by_layer(config: Any) -> bool:
    """Whether the convolutions norm each frame by itself; data2vec always does."""
    return bool(getattr(config, "feat_extract_norm", "layer") == "layer")


@contextmanager
def zero_padding_after_pos_conv(model: nn.Module, real: Tensor) -> Iterator[None]:
    """Keep padding out of stacked positional convolutions while a pass runs inside the block.

    data2vec has several, one after the other. The model zeroes padded frames before the first of
    them alone, so what the first writes there (its bias, and the tail of the clip) flows back into
    real frames from the second on, and a clip's features depend on its neighbours. Zeroing
    `real`'s False frames (batch, frames) after each gives exactly what the clip gives alone, where
    the convolution pads with zeros itself.
    """
    layers = [
        layer
        for name, module in model.named_modules()
        if name.endswith("pos_conv_embed.layers") and isinstance(module, nn.ModuleList)
        for layer in module
    ]
    keep = real[:, None]  # the convolutions' layout: (batch, width, frames)

    def zeroed(_module: nn.Module, _args: Any, output: Tensor) -> Tensor:
        return output.masked_fill(~keep, 0)

    handles = [layer.register_forward_hook(zeroed) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
