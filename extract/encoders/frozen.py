"""A model that will only ever run forward: made ready once for what would be done in every pass."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from .device import Arithmetic
from .hidden import blocks_of, highest_block
from .loading import Checkpoint, load_model, unshared
from .wavlm import stretch

PRODUCTS = (nn.Linear, nn.Conv1d, nn.Conv2d)
"""Modules whose weights autocast rounds before each use."""


def frozen(checkpoint: Checkpoint, layers: Sequence[str], arithmetic: Arithmetic) -> Any:
    """The checkpoint's model on the device, for the entries `layers`; raises EncoderError.

    Blocks above the highest entry are not there. Weights that are made from others, as those of
    normed convolutions, are made now, and in a lower precision the weights of products are rounded
    now: in every pass that takes CPUs half as long again. Neither changes a number.
    """
    model = load_model(checkpoint)
    stretch(model)
    blocks = blocks_of(model, checkpoint.family)
    del blocks[highest_block(layers, len(blocks)) :]
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            with unshared():
                for name in list(module.parametrizations):  # type: ignore[arg-type]
                    parametrize.remove_parametrizations(module, name)
        if arithmetic.precision is not torch.float32 and isinstance(module, PRODUCTS):
            module.to(arithmetic.precision)
    return model.requires_grad_(False).to(arithmetic.device)
