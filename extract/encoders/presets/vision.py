"""Encoders of faces known by name."""

from collections.abc import Mapping
from typing import Any

from .families import CLIP_PIXELS, IMAGENET_PIXELS
from .preset import BASE, LARGE, TINY, Preset

DINO_PIXELS = IMAGENET_PIXELS | {"size": 224, "resize": 256}
"""Trained on 518 x 518, used at 224 x 224 cut from the middle of 256 x 256, as published."""


def _clip(hub: str, size: Mapping[str, Any], patch: int) -> Preset:
    pictures = {"image_size": 224, "patch_size": patch, "hidden_act": "quick_gelu"}
    return Preset("clip_vision_model", hub, {**size, **pictures}, CLIP_PIXELS)


def _dinov2(size: Mapping[str, Any], ratio: int) -> dict[str, Any]:
    """DINOv2 states the width of its feed-forward layers as a `ratio` of its own."""
    return {**{k: v for k, v in size.items() if k != "intermediate_size"}, "mlp_ratio": ratio}


VISION: Mapping[str, Preset] = {
    "tiny-clip": Preset(
        "clip_vision_model", None, TINY | {"image_size": 64, "patch_size": 16}, CLIP_PIXELS
    ),
    "clip-vit-base-patch32": _clip("openai/clip-vit-base-patch32", BASE, 32),
    "clip-vit-large-patch14": _clip("openai/clip-vit-large-patch14", LARGE, 14),
    "tiny-dinov2": Preset(
        "dinov2",
        None,
        _dinov2(TINY, 2) | {"image_size": 56, "patch_size": 14},
        IMAGENET_PIXELS | {"size": 56, "resize": 64},
    ),
    "dinov2-large": Preset(
        "dinov2",
        "facebook/dinov2-large",
        _dinov2(LARGE, 4)
        | {"image_size": 518, "patch_size": 14, "layer_norm_eps": 1e-6, "layerscale_value": 1.0}
        | {"qkv_bias": True, "use_swiglu_ffn": False},
        DINO_PIXELS,
    ),
}
