"""Multimodal sentiment from cached layers of frozen encoders: extract once, train in seconds.

From Python, the functions behind the commands: ``load_config``, ``open_store``, ``extract``,
``train``, ``sweep``, ``probe``, ``evaluate``, ``predict`` (of `NewClip`). They load when first
used, so that ``import sedimental`` stays light.
"""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

_FUNCTIONS = {
    "load_config": ".config",
    "open_store": ".cache.store.store",
    "sweep": ".train.sweep.sweep",
    "probe": ".train.sweep.probe",
    "predict": ".predicting",
    "NewClip": ".extract.new_clips",
}
_STAGES = ("extract", "train", "evaluate")
HANDED = {
    "train": {
        "live": (".extract.finetune.find", "live_input"),
        "sizes": (".extract.finetune.encoder_size", "encoder_size"),
        "news": (".checks", "news"),
    },
    "evaluate": {
        "planned": (".train.planned", "planned"),
        "news": (".checks", "news"),
    },
}
"""What a stage is given of another that it does not import: see cache/stage.py."""
__all__ = ["__version__", *_FUNCTIONS, *_STAGES]


def __getattr__(name: str) -> Any:
    if name in _STAGES:
        return import_module(f".{name}", __name__)  # a folder that can be called: cache/stage.py
    if name in _FUNCTIONS:
        return getattr(import_module(_FUNCTIONS[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
