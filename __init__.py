"""Multimodal sentiment from cached layers of frozen encoders: extract once, train in seconds.

The functions behind the commands, loaded when first used so that ``import sedimental`` stays light:
``load_config``, ``open_store``, ``extract``, ``train``, ``evaluate``.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "load_config": ".config",
    "open_store": ".cache.store",
    "extract": ".extract.run",
    "train": ".train.run",
    "evaluate": ".evaluate.report",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # `extract`, `train` and `evaluate` are also sub-packages: the function must win over the
    # folder, so it is bound here once its module is loaded.
    value = getattr(import_module(_PUBLIC[name], __name__), name)
    globals()[name] = value
    return value
