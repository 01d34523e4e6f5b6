"""Encoders of faces known by name."""

from collections.abc import Mapping

from .families import CLIP_PIXELS, IMAGENET_PIXELS
from .preset import BASE, LARGE, TINY, Preset

DINO_PIXELS = IMAGENET_PIXELS | {"size": 224, "resize": 256}
"""Trained on 518 x 518, used at 224 x 224 cut from the middle of 256 x 256, as published."""

VISION: Mapping[str, Preset] = {
    "tiny-clip": Preset(
        "clip_vision_model", None, TINY | {"image_size": 64, "patch_size": 16}, CLIP_PIXELS
    ),
    "clip-vit-base-patch32": Preset(
        "clip_vision_model",
        "openai/clip-vit-base-patch32",
        BASE | {"image_size": 224, "patch_size": 32, "hidden_act": "quick_gelu"},
        CLIP_PIXELS,
    ),
    "clip-vit-large-patch14": Preset(
        "clip_vision_model",
        "openai/clip-vit-large-patch14",
        LARGE | {"image_size": 224, "patch_size": 14, "hidden_act": "quick_gelu"},
        CLIP_PIXELS,
    ),
    "tiny-dinov2": Preset(
        "dinov2",
        None,
        {
            "hidden_size": 64,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "mlp_ratio": 2,
            "image_size": 56,
            "patch_size": 14,
        },
        IMAGENET_PIXELS | {"size": 56, "resize": 64},
    ),
    "dinov2-large": Preset(
        "dinov2",
        "facebook/dinov2-large",
        {
            "hidden_size": 1024,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "mlp_ratio": 4,
            "image_size": 518,
            "patch_size": 14,
            "layer_norm_eps": 1e-6,
            "layerscale_value": 1.0,
            "qkv_bias": True,
            "use_swiglu_ffn": False,
        },
        DINO_PIXELS,
    ),
}
