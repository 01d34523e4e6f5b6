"""A model that will only ever run forward: made ready once for what would be done in every pass."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from .device import ComputeDevice
from .hidden import blocks_of, highest_block
from .loading import Checkpoint, load_model, single_threaded
from .wavlm import use_chunked_attention

PRODUCTS = (nn.Linear, nn.Conv1d, nn.Conv2d)
"""Modules whose weights autocast rounds before each use."""
NARROW = 16
"""Channels a group under which oneDNN's grouped convolutions in bf16 give wrong numbers on CPUs
with AMX (seen with torch 2.14 and 8 channels a group); no published encoder is that narrow."""


def frozen(checkpoint: Checkpoint, layers: Sequence[str], arithmetic: ComputeDevice) -> Any:
    """The checkpoint's model on the device, for the entries `layers`; raises EncoderError.

    Blocks above the highest entry are not there. Weights that are made from others, as those of
    normed convolutions, are made now, and in a lower precision the weights of products are rounded
    now: in every pass that takes CPUs half as long again. Neither changes a number.
    """
    model = load_model(checkpoint)
    use_chunked_attention(model)
    blocks = blocks_of(model, checkpoint.family)
    del blocks[highest_block(layers, len(blocks)) :]
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            with single_threaded():
                for name in list(module.parametrizations):  # type: ignore[arg-type]
                    parametrize.remove_parametrizations(module, name)
        if arithmetic.precision is torch.float32 or not isinstance(module, PRODUCTS):
            continue
        if arithmetic.device.type == "cpu" and _narrow(module):
            module.register_forward_pre_hook(_as_float32)
            whole = torch.autocast("cpu", enabled=False)(module.forward)
            module.forward = whole  # type: ignore[method-assign]
        else:
            module.to(arithmetic.precision)
    return model.requires_grad_(False).to(arithmetic.device)


def _narrow(module: nn.Module) -> bool:
    if not isinstance(module, nn.Conv1d):
        return False
    groups: int = module.groups
    return groups > 1 and int(module.in_channels) // groups < NARROW


def _as_float32(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(value.float() for value in inputs)
