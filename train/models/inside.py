"""Models that work inside a live text encoder, and what to say where there is none for them."""

from collections.abc import Mapping
from typing import Any

from . import MODELS, within_text


def inside_text_only(name: str) -> str:
    """What to say where model `name` has no live text encoder to work in."""
    return (
        f'{name} works inside a text encoder: set train.mode = "finetune", and live = true in '
        "train.inputs.text."
    )


def wordless(name: str, subset: str) -> str:
    """What to say where model `name` is to be trained on a `subset` of modalities without text."""
    return (
        f'{name} works inside a text encoder, and "{subset}" has no text. Give it subsets of its '
        f'own: modalities = ["TAV"] in [train.{name}].'
    )


def inside_faults(raw: Mapping[str, Any], section: Mapping[str, Any]) -> list[str]:
    """Where a raw pipeline.toml, whose ``[train]`` is `section`, asks for such a model in vain."""
    inputs = section.get("inputs")
    text = inputs.get("text") if isinstance(inputs, Mapping) else None
    live = isinstance(text, Mapping) and text.get("live") is True
    faults = list[str]()
    for name in _asked(section.get("models")):
        if not live or section.get("mode") != "finetune":
            faults.append(f"train.models: {inside_text_only(name)}")
        table = section.get(name)
        where, subsets = "train.modalities", section.get("modalities")
        if isinstance(table, Mapping) and "modalities" in table:
            where, subsets = f"train.{name}.modalities", table["modalities"]
        faults += [
            f"{where}: {wordless(name, subset)}" for subset in _names(subsets) if "T" not in subset
        ]
    sweep = raw.get("sweep")
    faults += [
        f"sweep.model: {name} works inside a text encoder, and a sweep reads cached layers. Take "
        "it out."
        for name in _asked(sweep.get("model") if isinstance(sweep, Mapping) else None)
    ]
    return faults


def _asked(names: Any) -> list[str]:
    """Those of `names` that work inside a text encoder alone."""
    return [name for name in _names(names) if name in MODELS and within_text(name)]


def _names(given: Any) -> list[str]:
    """A string, or the strings of a list; what is neither is left to the types."""
    listed = given if isinstance(given, list) else [given]
    return [one for one in listed if isinstance(one, str) and one]
