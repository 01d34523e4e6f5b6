"""A linear layer over frames."""

from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from .padded_mode import in_padded_mode

IMAGES = 16
"""Images of the convolution in `linear`; PyTorch hands fewer to its own slower code."""
WORTH_A_DETOUR = 2**24
"""Products from which on that convolution is faster than a linear layer."""
ZEN_5 = 26
"""The number that the family of these processors gives of itself."""


@cache
def half_idle() -> bool:
    """Whether MKL leaves half of this processor idle.

    It gives AMD processors 256-bit instructions only. Up to Zen 4 they are as fast as any; from
    Zen 5 on a processor has units of twice that width.
    """
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.is_file():
        return False
    pairs = (line.partition(":") for line in cpuinfo.read_text().split("\n\n")[0].splitlines())
    known = {name.strip(): value.strip() for name, _, value in pairs}
    family = known.get("cpu family", "")
    return known.get("vendor_id") == "AuthenticAMD" and family.isdigit() and int(family) >= ZEN_5


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`functional.linear` of many rows (n, width in) -> (n, width out), twice as fast on some CPUs.

    In float32 a linear layer on the CPU is MKL's; where that is `half_idle`, the same product as a
    convolution of kernel 1 over 16 images, which is oneDNN's, takes its place.
    """
    count, out = len(rows), len(weight)
    small = count < IMAGES or rows.numel() * out < WORTH_A_DETOUR or rows.dim() != 2
    on_cpu = rows.device.type == "cpu" and rows.dtype == torch.float32
    if small or not on_cpu or in_padded_mode() or not half_idle():
        return functional.linear(rows, weight, bias)
    filled = functional.pad(rows, (0, 0, 0, -count % IMAGES))
    images = filled.view(IMAGES, -1, 1, rows.shape[1]).permute(0, 3, 1, 2)
    convolved = functional.conv2d(images, weight[:, :, None, None], bias)
    return convolved.permute(0, 2, 3, 1).reshape(-1, out)[:count]


class Linear(nn.Linear):
    """`nn.Linear` for many rows (n, width); names, first weights and, but for the order of sums,
    results are the same."""

    def forward(self, rows: Tensor) -> Tensor:
        """(n, width in) -> (n, width out)."""
        return linear(rows, self.weight, self.bias)


class SelfInitialized(Linear):
    """A linear layer whose first weights are its own affair, whatever the model asks of others."""
