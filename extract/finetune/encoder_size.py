"""How large an encoder is, from its architecture alone: nothing is loaded, no network asked."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ...cache.spec import Modality
from ...config import AudioFeatures, Config, VisionFeatures
from ..encoders.audio.sound import Processing, checked_hop, frame_grid
from ..encoders.loading import load_model, resolve
from ..encoders.presets.table import PRESETS
from .find import table_of


@dataclass(frozen=True)
class EncoderSize:
    """What is known of an encoder without loading it."""

    weights: int
    blocks: int
    width: int
    frames: int
    """Its own frames for one that is cached."""


def encoder_size(config: Config, modality: Modality) -> EncoderSize | None:
    """Size of the encoder that [train.inputs] `modality` reads; None if it could not be live, or
    if that is not known without asking the Hub."""
    table = table_of(config, modality)
    local = table.encoder in PRESETS or Path(table.encoder).is_dir()
    if not local or isinstance(table, VisionFeatures):
        return None
    if table.encoder in PRESETS and PRESETS[table.encoder].network:
        table = table.model_copy(update={"weights": "random:0"})  # its architecture is known here
    checkpoint = resolve(table)
    if checkpoint.family.reader not in ("tokens", "waveform"):
        return None
    with torch.device("meta"):
        model = load_model(replace(checkpoint, weights="random:0"))
    hop = 1
    if isinstance(table, AudioFeatures):
        stride, window = frame_grid(checkpoint, Processing(16_000, normalize=False))
        hop = checked_hop(table, 16_000 / stride, window)
    sizes = checkpoint.config
    weights = sum(weight.numel() for weight in model.parameters())
    return EncoderSize(weights, sizes.num_hidden_layers, sizes.hidden_size, hop)
