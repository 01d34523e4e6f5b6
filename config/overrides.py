"""Keys given beside the file: `-o train.epochs=5` on a command line, a mapping in Python."""

import datetime
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError
from ..model_table import MODELS
from .base import snake
from .field_spellings import MODALITIES

PATHS = ("corpus.path", "cache.root", "runs.root")
"""Keys whose relative paths start at the folder one is in, as any path on a command line does."""
_STEP = re.compile(r"([^.\[\]]+)((?:\[\d+\])*)")
_NOT_TOML = {"True": True, "False": False}


@dataclass(frozen=True)
class Override:
    """A key, the value it shall have, and how faults call it."""

    key: str
    value: Any
    """As it would stand in the file; None: as if the key were not there."""
    said: str
    """``-o train.epochs=5``"""


def from_texts(texts: Iterable[str]) -> tuple[Override, ...]:
    """What ``KEY=VALUE`` texts say; raises ConfigError naming every one that is none."""
    found, faults = list[Override](), list[str]()
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            faults.append(f"-o {text}: should be KEY=VALUE, as in -o train.epochs=5.")
        else:
            found.append(Override(key.strip(), value_of(value.strip()), f"-o {text}"))
    if faults:
        raise ConfigError("\n".join(faults))
    return tuple(found)


def from_mapping(values: Mapping[str, Any]) -> tuple[Override, ...]:
    """The same of ``{"train.epochs": 5}``."""
    return tuple(Override(key, value, f"override {key}") for key, value in values.items())


def value_of(text: str) -> Any:
    """`text` as TOML has it, where it is a value of TOML; any other is a text without quotes.

    >>> value_of("5"), value_of("[1, 2]"), value_of("uegd"), value_of("")
    (5, [1, 2], 'uegd', None)
    """
    if not text:
        return None
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return _NOT_TOML.get(text, text)
    value = table["value"]
    dated = isinstance(value, (datetime.date, datetime.time))
    return text if len(table) > 1 or dated else value


def overridden(
    raw: Mapping[str, Any], overrides: Sequence[Override]
) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """(`raw` with the overrides, key path -> how the override of it is said, faults)."""
    found, said, faults = _copied(raw), dict[str, str](), list[str]()
    for one in overrides:
        steps = _steps(one.key)
        if steps is None:
            faults.append(f"{one.said}: {one.key!r} is no key, as train.epochs is one.")
            continue
        value = one.value
        if one.key in PATHS and isinstance(value, str):
            value = os.path.abspath(os.path.expanduser(value))  # noqa: PTH100, PTH111
        try:
            for path in _paths(found, steps):
                for key in _set(found, path, value):
                    said[key] = one.said
        except LookupError as fault:
            faults.append(f"{one.said}: {fault.args[0]}")
    return found, said, faults


def place(fault: str, said: Mapping[str, str], file: object) -> str:
    """Where `fault` comes from: the file, or the override of the key that it begins with."""
    key = re.split(r": | = ", fault, maxsplit=1)[0]
    for path, text in said.items():
        if key == path or key.startswith((f"{path}.", f"{path}[")):
            return f"{text}: {fault}"
    return f"{file}: {fault}"


def plain(note: str, said: Mapping[str, str]) -> bool:
    """Whether `note` says of an override that it is a list: so it is written on a command line."""
    return note.partition(" = ")[0] in said and " is read as [" in note


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value


def _steps(key: str) -> list[str | int] | None:
    """``features[0].fps`` as steps; None for what is no path of keys."""
    steps = list[str | int]()
    for part in key.split("."):
        found = _STEP.fullmatch(part.strip())
        if found is None:
            return None
        steps += [found[1], *(int(n[:9]) for n in re.findall(r"\d+", found[2]))]
    return steps


def _paths(raw: Mapping[str, Any], steps: list[str | int]) -> list[list[str | int]]:
    """Where `steps` lead: ``features.vision.fps`` to every [[features]] table of vision."""
    first, *rest = steps
    if first == "features" and rest and isinstance(name := rest[0], str):
        tables = raw.get("features")
        modality = MODALITIES.get(name.lower(), name)
        own = [
            number
            for number, table in enumerate(tables if isinstance(tables, list) else ())
            if (isinstance(table, Mapping) and name in (table.get("encoder"), str(number)))
            or (
                isinstance(table, Mapping)
                and MODALITIES.get(str(table.get("modality")), "") == modality
            )
        ]
        if not own:
            raise LookupError(
                f'no [[features]] table has modality = "{modality}" or encoder = "{name}"; '
                "say features[0] for the first."
            )
        return [[first, number, *rest[1:]] for number in own]
    if first == "train" and rest and isinstance(name := rest[0], str):
        if len(rest) > 1 and name == "inputs" and isinstance(rest[1], str):
            rest[1] = MODALITIES.get(rest[1].lower(), rest[1])
        elif len(rest) > 1 and snake(name) in MODELS:
            rest[0] = snake(name)
    return [[first, *rest]]


def _set(raw: dict[str, Any], path: Sequence[int | str], value: Any) -> list[str]:
    """Put `value` at `path`; the key path, and those of tables that are made for it."""
    table: Any = raw
    told, made = "", list[str]()
    for step, after in zip(path, [*path[1:], None], strict=True):
        before, told = told, f"{told}[{step}]" if isinstance(step, int) else f"{told}.{step}"
        told = told.lstrip(".")
        if isinstance(step, int):
            if not isinstance(table, list) or step >= len(table):
                count = len(table) if isinstance(table, list) else 0
                raise LookupError(f"{told}: {before} has {count} entries, counted from 0.")
        elif not isinstance(table, dict):
            raise LookupError(f"{told}: {before} has no keys.")
        if after is None:
            if value is None and isinstance(table, dict):
                table.pop(step, None)
            else:
                table[step] = value
            return [*made, told]
        if isinstance(table, dict) and step not in table:
            table[step] = {}
            made.append(told)
        table = table[step]
    return made
