"""The encoders known by name: Hub id, family, and full architecture for building one offline."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...cache.spec import Modality
from ...config import nearest


@dataclass(frozen=True)
class Family:
    """What transformers' classes of one model type have in common."""

    modality: Modality
    model: str
    """Class in transformers."""
    config: str
    """Its configuration class."""
    blocks: str
    """Dotted path of the list of blocks inside the model."""
    final: str | None
    """Dotted path of the norm after the last block, where the family has one."""


FAMILIES: Mapping[str, Family] = {
    "clip_vision_model": Family(
        "vision", "CLIPVisionModel", "CLIPVisionConfig", "encoder.layers", "post_layernorm"
    ),
    "wavlm": Family("audio", "WavLMModel", "WavLMConfig", "encoder.layers", "encoder.layer_norm"),
    "bert": Family("text", "BertModel", "BertConfig", "encoder.layer", None),
}
"""By `model_type` of the configuration."""
PART_OF = {"clip": "clip_vision_model"}
"""Checkpoints of several towers, and the family of the tower that is used."""


@dataclass(frozen=True)
class Preset:
    """An encoder with a name of its own."""

    family: str
    hub: str | None
    """Repository on the Hub; None: exists only with random weights."""
    config: Mapping[str, Any]
    """Architecture, as fields of the family's configuration class."""
    processing: Mapping[str, Any] = field(default_factory=dict)
    """What the checkpoint's processor does: `mean` and `std` of pixels, or `normalize` (audio)."""

    @property
    def modality(self) -> Modality:
        """What it reads."""
        return FAMILIES[self.family].modality

    @property
    def weights(self) -> str:
        """Default of `weights`."""
        return "hub" if self.hub else "random:0"


CLIP_PIXELS = {
    "mean": (0.48145466, 0.4578275, 0.40821073),
    "std": (0.26862954, 0.26130258, 0.27577711),
}
_LARGE = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
}
_WAVLM_LARGE = _LARGE | {
    "do_stable_layer_norm": True,
    "feat_extract_norm": "layer",
    "conv_bias": False,
    "num_buckets": 320,
    "max_bucket_distance": 800,
}

PRESETS: Mapping[str, Preset] = {
    "tiny-clip": Preset(
        "clip_vision_model",
        None,
        {
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "image_size": 64,
            "patch_size": 16,
        },
        CLIP_PIXELS,
    ),
    "clip-vit-base-patch32": Preset(
        "clip_vision_model",
        "openai/clip-vit-base-patch32",
        {
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "image_size": 224,
            "patch_size": 32,
            "hidden_act": "quick_gelu",
        },
        CLIP_PIXELS,
    ),
    "clip-vit-large-patch14": Preset(
        "clip_vision_model",
        "openai/clip-vit-large-patch14",
        _LARGE | {"image_size": 224, "patch_size": 14, "hidden_act": "quick_gelu"},
        CLIP_PIXELS,
    ),
    "tiny-wavlm": Preset(
        "wavlm",
        None,
        {
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "conv_dim": (64,) * 7,
            "num_conv_pos_embeddings": 16,
            "num_conv_pos_embedding_groups": 4,
            "do_stable_layer_norm": True,
            "feat_extract_norm": "layer",
            "num_buckets": 32,
            "max_bucket_distance": 80,
        },
        {"normalize": True},
    ),
    "wavlm-base-plus": Preset(
        "wavlm",
        "microsoft/wavlm-base-plus",
        {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12},
        {"normalize": False},
    ),
    "wavlm-large": Preset("wavlm", "microsoft/wavlm-large", _WAVLM_LARGE, {"normalize": True}),
    "tiny-bert": Preset(
        "bert",
        None,
        {
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
        },
    ),
    "bert-base-uncased": Preset("bert", "google-bert/bert-base-uncased", {}),
    "bert-large-uncased": Preset("bert", "google-bert/bert-large-uncased", _LARGE),
}


def encoder_faults(raw: Mapping[str, Any]) -> Iterable[str]:
    """Faults of the encoder names in a raw pipeline.toml: ``features[0].encoder: …``."""
    tables = raw.get("features", ())
    for index, table in enumerate(tables if isinstance(tables, list) else ()):
        if not isinstance(table, dict) or not isinstance(name := table.get("encoder"), str):
            continue  # said by the types
        where = f"features[{index}]"
        if name in PRESETS:
            preset = PRESETS[name]
            if table.get("modality") in ("text", "audio", "vision") and (
                preset.modality != table["modality"]
            ):
                yield f'{where}.encoder: "{name}" reads {preset.modality}, not {table["modality"]}.'
            if table.get("weights") == "hub" and preset.hub is None:
                yield (
                    f'{where}.weights: "{name}" has no trained weights; leave the key out, or '
                    'say "random:<seed>".'
                )
        elif "/" not in name and not Path(name).is_dir():
            hint = nearest(name, PRESETS)
            yield (
                f'{where}.encoder: "{name}" is no preset, no Hub id ("owner/name") and no folder.'
                f"{hint}"
            )
        elif str(table.get("weights", "")).startswith("random:") and not Path(name).is_dir():
            yield (
                f"{where}.weights: random weights need an architecture: a preset or a folder "
                f'with a config.json, not the Hub id "{name}".'
            )


def slug(encoder: str) -> str:
    """A name fit for a folder: the preset's own, else the last part of a Hub id or path.

    >>> slug("microsoft/wavlm-large"), slug("wavlm-large"), slug("../mine/my encoder")
    ('wavlm-large', 'wavlm-large', 'my_encoder')
    """
    if encoder in PRESETS:
        return encoder
    last = Path(encoder).resolve().name if encoder in (".", "..") else Path(encoder).name
    return "".join(c if c.isalnum() or c in "-._" else "_" for c in last)
