"""What `sedimental tune` draws a model's settings from.

A model's file may declare `RANGES` (by key of its table, options and recipe keys alike) and say in
`RANGES_SOURCE` where they stand. What is known here goes before the general ones: the published
ranges of EMT-DLFR, the weights of other models' losses around what was published. Every model has
the general ones beside: learning rate, batch size, weight decay and all of its dropouts.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

import numpy as np

Value = float | int | str
DIGITS = 3
"""Significant digits of a number that is drawn: what is printed is what was trained."""


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[Value, ...]

    def draw(self, random: np.random.Generator) -> Value:
        """Each as often."""
        return self.values[int(random.integers(len(self.values)))]


@dataclass(frozen=True)
class Uniform:
    """Any number between two."""

    low: float
    high: float

    def draw(self, random: np.random.Generator) -> Value:
        """Each as often."""
        return rounded(float(random.uniform(self.low, self.high)))


@dataclass(frozen=True)
class LogUniform:
    """Any number between two, each order of magnitude as often."""

    low: float
    high: float

    def draw(self, random: np.random.Generator) -> Value:
        """Uniform in the logarithm."""
        return rounded(math.exp(random.uniform(math.log(self.low), math.log(self.high))))


Range = Choice | Uniform | LogUniform

_LOSS = LogUniform(0.01, 1.0)
_MEMORY: Mapping[str, Range] = {
    "text_hidden": Choice((32, 64, 128)),
    "memory": Choice((32, 64, 128)),
    "inner": Choice((32, 64, 128)),
}
_MULTITASK: Mapping[str, Range] = {"unimodal_weight": Choice((0.1, 0.2, 0.5, 0.8, 1.0))}
_STEPS = Choice((0.5, 1.0, 1.5, 2.0))
KNOWN: Mapping[str, tuple[Mapping[str, Range], str]] = {
    "emt_dlfr": ({"reconstruction": _STEPS, "attraction": _STEPS}, "EMT-DLFR, Fig. 10"),
    "uegd": ({"hidden": Choice((128, 256))}, "UEGD, section 4.2: CMU-MOSI and CMU-MOSEI"),
    "mlf_dnn": ({**_MULTITASK, "hidden": Choice((32, 64, 128))}, "ours"),
    "mtfn": ({**_MULTITASK, "hidden": Choice((32, 64, 128))}, "ours"),
    "mlmf": ({**_MULTITASK, "rank": Choice((3, 4, 5, 6))}, "ours"),
    "mfn": (_MEMORY, "ours"),
    "graph_mfn": ({**_MEMORY, "vertex": Choice((16, 32, 64))}, "ours"),
    "mfm": ({**_MEMORY, "reconstruction": _LOSS, "prior": _LOSS}, "ours"),
    "mctn": ({"width": Choice((32, 64, 128)), "translation": _LOSS, "cycle": _LOSS}, "ours"),
    "tetfn": ({"width": Choice((16, 32, 64)), "layers": Choice((1, 2, 3))}, "ours"),
    "almt": ({"width": Choice((32, 64, 128)), "fusion_layers": Choice((1, 2, 4))}, "ours"),
    "lnln": (
        {"width": Choice((32, 64, 128)), "completeness": _LOSS, "adversarial": _LOSS},
        "ours",
    ),
}
"""Ranges of a model's own options, and where they stand."""


def rounded(value: float) -> float:
    """To `DIGITS` significant digits.

    >>> rounded(0.00123456)
    0.00123
    """
    return float(f"{value:.{DIGITS}g}")


def ranges_of(module: Any, name: str, options: Any, learning_rate: float) -> Mapping[str, Range]:
    """What is drawn for model `name`, whose file is `module`, by key of its table.

    `options` and `learning_rate` are where it starts from.
    """
    drawn: dict[str, Range] = {
        "learning_rate": LogUniform(learning_rate / 10, learning_rate * 3),
        "batch_size": Choice((16, 32, 64)),
        "weight_decay": Choice((0.0, 1e-5, 1e-4, 1e-3)),
    }
    for field in fields(options):
        if field.name.endswith("dropout") and isinstance(getattr(options, field.name), float):
            drawn[field.name] = Choice((0.0, 0.1, 0.2, 0.3, 0.4, 0.5))
    own: Mapping[str, Range] = getattr(module, "RANGES", None) or KNOWN.get(name, ({}, ""))[0]
    return MappingProxyType({**drawn, **own})


def source_of(module: Any, name: str) -> str:
    """Where the ranges of model `name` stand; the general ones are ours."""
    return str(getattr(module, "RANGES_SOURCE", "") or KNOWN.get(name, ({}, "ours"))[1])
