"""Encoders of voices known by name; the first convolutions make 50 frames a second in all."""

from collections.abc import Mapping
from typing import Any

from .preset import BASE, LARGE, TINY, Preset

_NORMALIZED = {"normalize": True}
_TINY_SPEECH = TINY | {"conv_dim": (64,) * 7, "num_conv_pos_embedding_groups": 4}
_STABLE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer"}
"""Norms before each block and layer norm in the convolutions: the large models of wav2vec 2.0's
kin. The base ones norm after each block and over time in the first convolution."""
_WAVLM_LARGE = {"conv_bias": False, "num_buckets": 320, "max_bucket_distance": 800}
_DATA2VEC = {"conv_bias": False, "conv_pos_kernel_size": 19, "num_conv_pos_embeddings": 5}


def _data2vec(hub: str, size: Mapping[str, int]) -> Preset:
    return Preset("data2vec-audio", hub, {**size, **_DATA2VEC}, _NORMALIZED)


def _large(family: str, hub: str) -> Preset:
    return Preset(family, hub, LARGE | _STABLE | {"conv_bias": True}, _NORMALIZED)


def _whisper(width: int, blocks: int, decoder: int, heads: int, inner: int) -> dict[str, Any]:
    each = {"attention_heads": heads, "ffn_dim": inner}
    both = {f"{side}_{k}": v for side in ("encoder", "decoder") for k, v in each.items()}
    return both | {"d_model": width, "encoder_layers": blocks, "decoder_layers": decoder}


AUDIO: Mapping[str, Preset] = {
    "tiny-wavlm": Preset(
        "wavlm",
        None,
        _TINY_SPEECH
        | _STABLE
        | {"num_conv_pos_embeddings": 16, "num_buckets": 32, "max_bucket_distance": 80},
        _NORMALIZED,
    ),
    "wavlm-base-plus": Preset("wavlm", "microsoft/wavlm-base-plus", BASE, {"normalize": False}),
    "wavlm-large": Preset(
        "wavlm", "microsoft/wavlm-large", LARGE | _STABLE | _WAVLM_LARGE, _NORMALIZED
    ),
    "tiny-data2vec-audio": Preset("data2vec-audio", None, _TINY_SPEECH | _DATA2VEC, _NORMALIZED),
    "data2vec-audio-base": _data2vec("facebook/data2vec-audio-base", BASE),
    "data2vec-audio-large": _data2vec("facebook/data2vec-audio-large", LARGE),
    "data2vec-audio-large-960h": _data2vec("facebook/data2vec-audio-large-960h", LARGE),
    "tiny-hubert": Preset(
        "hubert", None, _TINY_SPEECH | _STABLE | {"num_conv_pos_embeddings": 16}, _NORMALIZED
    ),
    "hubert-large-ll60k": _large("hubert", "facebook/hubert-large-ll60k"),
    "wav2vec2-large-lv60": _large("wav2vec2", "facebook/wav2vec2-large-lv60"),
    "chinese-hubert-large": _large("hubert", "TencentGameMate/chinese-hubert-large"),
    "chinese-hubert-base": Preset(
        "hubert", "TencentGameMate/chinese-hubert-base", BASE, _NORMALIZED
    ),
    "tiny-whisper": Preset("whisper", None, _whisper(64, 4, 1, 4, 128) | {"num_mel_bins": 80}),
    "whisper-large-v3": Preset(
        "whisper",
        "openai/whisper-large-v3",
        _whisper(1280, 32, 32, 20, 5120)
        | {"num_mel_bins": 128, "max_source_positions": 1500, "vocab_size": 51866},
    ),
    "log-mel": Preset("log-mel", None, {"hidden_size": 128, "num_hidden_layers": 0}),
    "egemaps": Preset(
        "egemaps", None, {"hidden_size": 25, "num_hidden_layers": 0}, {"native_rate": 100.0}
    ),
}
