"""Values as the field writes them: understood where they mean one thing alone, and said aloud."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from ..model_table import MODELS
from .base import snake
from .wording import shown

MODALITIES: Mapping[str, str] = {
    **dict.fromkeys(("text", "language", "words", "transcript", "transcripts"), "text"),
    **dict.fromkeys(("audio", "acoustic", "speech", "voice", "sound"), "audio"),
    **dict.fromkeys(("vision", "video", "visual", "face", "faces", "image"), "vision"),
}
"""What others call a modality -> what it is called here."""
ELSEWHERE = {"bert_mag": "mag_bert", "magbert": "mag_bert"}
"""What other tools call a model, MMSA first of all."""
LISTS = {
    "train": ("models", "modalities", "seeds", "also"),
    "sweep": ("model", "modalities", "fusions", "seeds"),
}
"""Keys that take a list, and as well one value."""
_RANGE = re.compile(r"^\s*(\d+)\s*(?:-|\.\.|:|to)\s*(\d+)\s*$")
_LAST = re.compile(r"^\s*last[\s_-]*(\d+)\s*$", re.IGNORECASE)
LONGEST_RANGE = 1000
"""Layers; more is a slip of the keyboard."""

Note = Callable[[str, Any, Any], Any]
"""Says that the value at a key path was understood as another, which it returns."""


def forgiven(raw: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """(`raw` with such values as the types want them, a line each of what was understood how)."""
    notes: list[str] = []

    def note(where: str, before: Any, after: Any) -> Any:
        if before != after:
            notes.append(f"{where} = {shown(before)} is read as {shown(after)}.")
        return after

    found = dict(raw)
    tables = found.get("features")
    if isinstance(tables, list):
        found["features"] = [_features(f"features[{k}]", t, note) for k, t in enumerate(tables)]
    if isinstance(found.get("train"), Mapping):
        found["train"] = _train(found["train"], note)
    if isinstance(found.get("sweep"), Mapping):
        found["sweep"] = _lists("sweep", dict(found["sweep"]), note)
    return found, notes


def layers_of(value: Any) -> Any:
    """A range or "last n" as a list of layer numbers; anything else as it is.

    >>> layers_of("6-9"), layers_of("last3"), layers_of(7), layers_of("weighted")
    ([6, 7, 8, 9], [-3, -2, -1], 7, 'weighted')
    """
    if not isinstance(value, str):
        return value
    if found := _RANGE.match(value):
        first, last = (int(n[:9]) for n in found.groups())
        return list(range(first, last + 1)) if first <= last < first + LONGEST_RANGE else value
    if found := _LAST.match(value):
        count = int(found[1][:9])
        return list(range(-count, 0)) if 0 < count <= LONGEST_RANGE else value
    if re.fullmatch(r"\s*-?\d{1,6}\s*", value):
        return int(value)
    if re.fullmatch(r"[\s\[]*-?\d{1,6}(\s*,\s*-?\d{1,6})+[\s\]]*", value):
        return [int(n) for n in value.strip(" []").split(",")]
    return value


def _features(where: str, table: Any, note: Note) -> Any:
    if not isinstance(table, Mapping):
        return table
    found = dict(table)
    if isinstance(name := found.get("modality"), str):
        found["modality"] = note(f"{where}.modality", name, _modality(name))
    if "layers" in found:
        found["layers"] = _layer_list(f"{where}.layers", found["layers"], note)
    return found


def _train(table: Mapping[str, Any], note: Note) -> dict[str, Any]:
    found = {}
    for key, value in table.items():
        # a model's name in its paper's letters is that of its table
        is_model = isinstance(value, Mapping) and snake(key) in MODELS
        own = snake(key) if is_model and snake(key) not in table else key
        found[own] = value
        if own != key:
            note(f"train: the table {key}", key, own)
        if own in MODELS and isinstance(value, Mapping) and "modalities" in value:
            letters = _letters(
                f"train.{own}.modalities", _list(value["modalities"], "modalities"), note
            )
            found[own] = {**value, "modalities": letters}
    inputs = found.get("inputs")
    if isinstance(inputs, Mapping):
        lines: dict[str, Any] = {}
        for key, line in inputs.items():
            name = _modality(key)
            name = key if name in inputs else note("train.inputs: the line", key, name)
            lines[name] = dict(line) if isinstance(line, Mapping) else line
            if isinstance(line, Mapping) and "layers" in line:
                where, value = f"train.inputs.{name}.layers", line["layers"]
                meant = "weighted" if value == "all" else layers_of(value)
                lines[name]["layers"] = note(where, value, meant)
        found["inputs"] = lines
    return _lists("train", found, note)


def _lists(section: str, found: dict[str, Any], note: Note) -> dict[str, Any]:
    for key in LISTS[section]:
        if not isinstance(found.get(key), (str, int, list, tuple)):
            continue
        where, value = f"{section}.{key}", _list(found[key], key)
        if key != "model":
            note(where, found[key], value)
        if key in ("models", "model"):
            value = [_model(where, name, note) for name in value]
        elif key in ("modalities", "fusions"):
            value = _letters(where, value, note)
        found[key] = value
    if section == "sweep" and "layers" in found:
        found["layers"] = _layer_list("sweep.layers", found["layers"], note)
    return found


def _layer_list(where: str, value: Any, note: Note) -> Any:
    meant = layers_of(value)
    return note(where, value, [meant] if type(meant) is int else meant)


def _list(value: Any, key: str = "") -> list[Any]:
    """A value as a list of one; ``uegd, glomo``, ``1, 2`` and seeds ``1-5`` as one of several."""
    if isinstance(value, str) and key == "seeds":
        numbers = layers_of(value)
        return numbers if isinstance(numbers, list) else [numbers]
    if isinstance(value, str) and "," in value:
        parts = [part.strip() for part in value.strip("[] ").split(",")]
        if key not in ("modalities", "fusions") or all(set(p.upper()) <= set("TAV") for p in parts):
            return [part for part in parts if part]
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _modality(name: str) -> str:
    return MODALITIES.get(name.strip().lower(), name)


def _model(where: str, name: Any, note: Note) -> Any:
    if not isinstance(name, str):
        return name
    meant = ELSEWHERE.get(snake(name), snake(name))
    return note(where, name, meant) if meant in MODELS else name


def _letters(where: str, subsets: list[Any], note: Note) -> list[Any]:
    """Subsets of modalities as letters: ``tav``, ``text+audio`` and ``audio`` are understood."""
    found = []
    for subset in subsets:
        meant = subset
        if isinstance(subset, str) and set(subset) - set("TAV"):
            words = [_modality(w) for w in re.split(r"[\s,+&]+", subset.strip()) if w]
            if words and all(word in ("text", "audio", "vision") for word in words):
                meant = "".join(word[0].upper() for word in words)
            elif subset and set(subset.upper()) <= set("TAV"):
                meant = subset.upper()
        found.append(note(where, subset, meant))
    return found
