"""pipeline.toml as types: a file a group of sections, all of them checked at once."""

from ..errors import ConfigError
from .base import Fraction, LayerChoice, Positive, Section
from .corpus import CorpusConfig
from .features import (
    AnyFeatures,
    AudioFeatures,
    CacheConfig,
    ExtractConfig,
    Features,
    TextFeatures,
    VisionFeatures,
)
from .pipeline import TAGS, Check, Config, DeepCheck, load_config, read_config
from .results import EvaluateConfig, RunsConfig, SweepConfig
from .train import LIVE_KEYS, InputConfig, Inputs, TrainConfig
from .wording import nearest
from .words import WordsConfig

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
    "DeepCheck",
    "EvaluateConfig",
    "ExtractConfig",
    "Features",
    "Fraction",
    "InputConfig",
    "Inputs",
    "LayerChoice",
    "Positive",
    "RunsConfig",
    "Section",
    "SweepConfig",
    "TextFeatures",
    "TrainConfig",
    "VisionFeatures",
    "WordsConfig",
    "load_config",
    "nearest",
    "read_config",
]
