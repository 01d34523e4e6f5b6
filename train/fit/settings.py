"""How one run is trained, every key resolved: model's table, then [train], then the recipe."""

from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np

from ...config import ConfigError, TrainConfig, nearest
from ...evaluate.metrics import Scheme, score
from ..models import UNLIMITED, started
from ..models.shared.hooks import Recipe


@dataclass(frozen=True)
class Settings(Recipe):
    """A recipe and what the loop must know beside it."""

    criterion: str = "valid_loss"
    """What the kept epoch is best in: ``valid_loss`` or a metric's key."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    also: tuple[str, ...] = ()
    """Other criteria whose best epochs are recorded."""

    def to_minimise(self, loss: float, metrics: Any) -> float:
        """What the kept epoch has least of; a criterion that is NaN is worst."""
        value = loss if self.criterion == "valid_loss" else metrics[self.criterion]
        if np.isnan(value):
            return float("inf")
        lower = self.criterion == "valid_loss" or self.criterion.startswith("MAE")
        return float(value if lower else -value)


def settings_of(
    section: TrainConfig, model: str, live: Collection[str] = (), clips: int = 0
) -> Settings:
    """The settings of runs of `model`: its own table, before [train], before its recipe.

    It trains on so many `clips` (0: not known); encoders of the modalities `live` are trained
    along. Raises ConfigError for faults in the model's table.
    """
    table = getattr(section, model)
    _, recipe = started(model, table, section.preset, live, clips)
    # what the model's table says is in the recipe already, and goes before [train]
    general = {k: v for k, v in stated(section).items() if k not in table}
    return resolve(replace(recipe, **general), section)


def resolve(recipe: Recipe, section: TrainConfig) -> Settings:
    """`recipe` with the keys of [train] that no recipe has."""
    values = {f.name: getattr(recipe, f.name) for f in fields(Recipe)}
    how = {name: getattr(section, name) for name in ("criterion", "precision", "also")}
    return Settings(**values, **how)


def stated(section: TrainConfig) -> dict[str, Any]:
    """The recipe keys that [train] sets, none meant by a zero as None."""
    names = [f.name for f in fields(Recipe) if f.name in TrainConfig.model_fields]
    given = {name: getattr(section, name) for name in names}
    return {k: UNLIMITED.get((k, v), v) for k, v in given.items() if v is not None}


def check_criterion(criterion: str, scheme: Scheme, key: str = "train.criterion") -> None:
    """Raises ConfigError, naming what there is, if `criterion` is none of it; a sweep compares
    models, whose losses are of different scales."""
    known = [*(["valid_loss"] if key.startswith("train") else []), *score([], [], scheme)]
    if criterion not in known:
        hint = nearest(criterion, known) or f" Known: {', '.join(known)}."
        raise ConfigError(f'{key}: "{criterion}" is not measured here.{hint}')
