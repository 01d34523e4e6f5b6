"""The kinds of encoder that are understood: what the models of one `model_type` have in common."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ....cache.spec import Modality

Reader = Literal["tokens", "pixels", "waveform", "whisper", "log-mel", "egemaps"]


@dataclass(frozen=True)
class Family:
    """How to build an encoder of one model type, and where its layers are."""

    modality: Modality
    reader: Reader
    """What runs it: `waveform` for the wav2vec 2.0 kin, … ; the last two have no network."""
    model: str
    """Class in transformers; for a family without a network, what computes it."""
    config: str | None = None
    """Its configuration class in transformers; None: no network."""
    blocks: tuple[str, ...] = ()
    """Dotted paths of the list of blocks inside the model, by library version: the first there."""
    final: str | None = None
    """Dotted path of the norm after the last block, where the family has one."""
    before_mlp: str | None = None
    """Vision: name of a block's norm between its attention and its feed-forward layers."""
    key_mapping: Mapping[str, str] = field(default_factory=dict)
    """Renames of checkpoint entries, for a model that is one part of what the checkpoint holds."""
    processing: Mapping[str, Any] = field(default_factory=dict)
    """What its processors do unless preset or checkpoint say something else."""


CLIP_PIXELS = {
    "mean": (0.48145466, 0.4578275, 0.40821073),
    "std": (0.26862954, 0.26130258, 0.27577711),
}
IMAGENET_PIXELS = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
HALF_PIXELS = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "interpolation": "bilinear"}
_BLOCKS = ("encoder.layer", "encoder.layers", "layers")


def _speech(name: str, final: str | None = "encoder.layer_norm") -> Family:
    return Family("audio", "waveform", f"{name}Model", f"{name}Config", ("encoder.layers",), final)


def _vision(
    name: str, blocks: tuple[str, ...], final: str, before_mlp: str, processing: Mapping[str, Any]
) -> Family:
    kinds = f"{name}Model", f"{name}Config"
    return Family("vision", "pixels", *kinds, blocks, final, before_mlp, processing=processing)


def _text(name: str) -> Family:
    return Family("text", "tokens", f"{name}Model", f"{name}Config", ("encoder.layer",))


FAMILIES: dict[str, Family] = {
    "clip_vision_model": _vision(
        "CLIPVision",
        ("encoder.layers", "vision_model.encoder.layers"),
        "post_layernorm",
        "layer_norm2",
        CLIP_PIXELS,
    ),
    "dinov2": _vision(
        "Dinov2", _BLOCKS, "layernorm", "norm2", IMAGENET_PIXELS | {"size": 224, "resize": 256}
    ),
    "vit": _vision("ViT", _BLOCKS, "layernorm", "layernorm_after", HALF_PIXELS),
    "wavlm": _speech("WavLM"),
    "hubert": _speech("Hubert"),
    "wav2vec2": _speech("Wav2Vec2"),
    # norms after each block and once before the first: nothing comes after the last
    "data2vec-audio": _speech("Data2VecAudio", final=None),
    "whisper": Family(
        "audio",
        "whisper",
        "models.whisper.modeling_whisper.WhisperEncoder",
        "WhisperConfig",
        ("layers",),
        "layer_norm",
        key_mapping={r"^(model\.)?encoder\.": ""},
    ),
    "log-mel": Family("audio", "log-mel", "torchaudio.transforms.MelSpectrogram"),
    "egemaps": Family("audio", "egemaps", "opensmile.Smile"),
    "bert": _text("Bert"),
    "roberta": _text("Roberta"),
    "xlm-roberta": _text("XLMRoberta"),
    "electra": _text("Electra"),
}
"""By `model_type` of the configuration; `table` adds those of installed packages."""
PART_OF = {"clip": "clip_vision_model"}
"""Checkpoints of several towers, and the family of the tower that is used."""
NETWORKS = tuple(name for name, family in FAMILIES.items() if family.config)
"""Families that a Hub id or a folder can be of."""
