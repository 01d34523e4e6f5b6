"""Low-rank adapters (LoRA, Hu et al., arXiv:2106.09685) in place of an encoder's own weights."""

import torch
from torch import nn

from ..encoders.loading import EncoderError
from ..encoders.presets.families import Family

TARGETS = {"text": ("query", "value"), "audio": ("q_proj", "v_proj")}
"""Linear layers that get one, as published: queries and values."""
SCALE = 2
"""Alpha over rank."""


def with_adapters(model: nn.Module, family: Family, rank: int, generator: torch.Generator) -> None:
    """Put adapters into `model`, whose own weights stay frozen; they begin by changing nothing.

    Raises EncoderError if the library `peft` is not there.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise EncoderError(
            "train.inputs: lora needs the library peft: `pip install 'sedimental[lora]'`, or take "
            "top to train some blocks as they are."
        ) from None
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        targets = list(TARGETS[family.modality])
        how = LoraConfig(r=rank, lora_alpha=SCALE * rank, target_modules=targets)
        inject_adapter_in_model(how, model)
