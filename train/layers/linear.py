"""Parts that several models share."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

LANES = 16
"""Images of the convolution in `FrameLinear`; PyTorch hands fewer to its own slower code."""
WORTH_A_DETOUR = 2**24
"""Products from which on that convolution is faster than a linear layer."""
ZEN_5 = 26
"""The number that the family of these processors gives of itself."""

_EVERYWHERE: ContextVar[bool] = ContextVar("everywhere", default=False)


@contextmanager
def everywhere() -> Iterator[None]:
    """Within, padding is computed on too, so that no shape depends on data: `vmap` needs that."""
    token = _EVERYWHERE.set(True)
    try:
        yield
    finally:
        _EVERYWHERE.reset(token)


def computes_everywhere() -> bool:
    """Whether this is within `everywhere`."""
    return _EVERYWHERE.get()


@cache
def half_idle() -> bool:
    """Whether MKL leaves half of this processor idle.

    It gives AMD processors 256-bit instructions only. Up to Zen 4 they are as fast as any; from
    Zen 5 on a processor has units of twice that width.
    """
    told = Path("/proc/cpuinfo")
    if not told.is_file():
        return False
    pairs = (line.partition(":") for line in told.read_text().split("\n\n")[0].splitlines())
    known = {name.strip(): value.strip() for name, _, value in pairs}
    family = known.get("cpu family", "")
    return known.get("vendor_id") == "AuthenticAMD" and family.isdigit() and int(family) >= ZEN_5


def on_real_frames(layer: Callable[[Tensor], Tensor], frames: Tensor, mask: Tensor) -> Tensor:
    """`layer`, which sees one frame at a time, on the real frames; zero elsewhere.

    (batch, frames, width), (batch, frames) -> (batch, frames, whatever `layer` gives). Clips
    differ in length by far, so most of the arithmetic on a padded batch would be for nothing.
    """
    if computes_everywhere():
        return layer(frames) * mask.unsqueeze(-1)
    rows = mask.flatten().nonzero().squeeze(1)
    done = layer(frames.flatten(0, 1).index_select(0, rows))
    padded = done.new_zeros(mask.numel(), done.shape[-1]).index_copy(0, rows, done)
    return padded.view(*mask.shape, done.shape[-1])


def mean_frame(frames: Tensor, mask: Tensor) -> Tensor:
    """(batch, frames, width), (batch, frames) -> (batch, width) over real frames; zero without."""
    real = mask.unsqueeze(-1)
    return (frames * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)


class FrameLinear(nn.Linear):
    """`nn.Linear` for many rows (n, width), about twice as fast on some CPUs.

    In float32 a linear layer on the CPU is MKL's; where that is `half_idle`, the same product as a
    convolution of kernel 1 over 16 images, which is oneDNN's, takes its place. Names, first weights
    and, but for the order of the sums, results are those of `nn.Linear`.
    """

    def forward(self, rows: Tensor) -> Tensor:
        """(n, width in) -> (n, width out)."""
        count = len(rows)
        small = count < LANES or rows.numel() * self.out_features < WORTH_A_DETOUR
        on_cpu = rows.device.type == "cpu" and rows.dtype == torch.float32
        if small or not on_cpu or computes_everywhere() or not half_idle():
            return functional.linear(rows, self.weight, self.bias)
        filled = functional.pad(rows, (0, 0, 0, -count % LANES))
        images = filled.view(LANES, -1, 1, self.in_features).permute(0, 3, 1, 2)
        done = functional.conv2d(images, self.weight[:, :, None, None], self.bias)
        return done.permute(0, 2, 3, 1).reshape(-1, self.out_features)[:count]


class LayerMix(nn.Module):
    """Weighted sum of an encoder's layers, the weights a softmax learned with the model.

    UEGD, Fig. 2; as in Chen et al., WavLM (arXiv:2110.13900). One trainable number a layer, all
    equal at first.
    """

    def __init__(self, layers: int) -> None:
        """A weight for each of `layers` layers."""
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(layers))

    @property
    def weights(self) -> Tensor:
        """(layers,), positive, summing to one."""
        return torch.softmax(self.logits, dim=0)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, layers, frames, width) -> (batch, frames, width)."""
        batch, layers, frames, width = features.shape
        # one row a layer: the mix is then a single matrix-vector product, and as the gather lays
        # its rows out in this order already, the reshape copies nothing
        rows = features.transpose(0, 1).reshape(layers, -1)
        return (self.weights @ rows).view(batch, frames, width)
