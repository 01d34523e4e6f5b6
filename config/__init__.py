"""pipeline.toml as types: a file a group of sections, all of them checked at once."""

from ..errors import ConfigError
from .base import Count, Fraction, LayerChoice, Positive, Section, known_model
from .corpus import CorpusConfig
from .evaluate import EvaluateConfig, LabelRange, RunsConfig, SweepConfig, label_range
from .features import (
    AnyFeatures,
    AudioFeatures,
    CacheConfig,
    ExtractConfig,
    Features,
    TextFeatures,
    VisionFeatures,
    WordsConfig,
)
from .overrides import Override, from_mapping, from_texts
from .pipeline import TAGS, Check, Config, DeepCheck, load_config, read_config
from .train import LIVE_KEYS, InputConfig, Inputs, TrainConfig
from .wording import in_words, nearest

__all__ = [
    "LIVE_KEYS",
    "TAGS",
    "AnyFeatures",
    "AudioFeatures",
    "CacheConfig",
    "Check",
    "Config",
    "ConfigError",
    "CorpusConfig",
    "Count",
    "DeepCheck",
    "EvaluateConfig",
    "ExtractConfig",
    "Features",
    "Fraction",
    "InputConfig",
    "Inputs",
    "LabelRange",
    "LayerChoice",
    "Override",
    "Positive",
    "RunsConfig",
    "Section",
    "SweepConfig",
    "TextFeatures",
    "TrainConfig",
    "VisionFeatures",
    "WordsConfig",
    "from_mapping",
    "from_texts",
    "in_words",
    "known_model",
    "label_range",
    "load_config",
    "nearest",
    "read_config",
]
