"""What makes two runs the same run: everything that decides a run's numbers beyond rounding."""

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

SHORT = 8
"""Digits of a configuration's digest in a folder's name."""
UNKNOWN = "unknown"
"""Of what an earlier version did not record."""
MOST_SAID = 3
"""Settings that a row's name says at most."""


@dataclass(frozen=True)
class Identity:
    """A configuration, and which of its runs this is."""

    configuration: Mapping[str, Any]
    """Plain JSON values: code version, table (a digest a part), inputs (stores, layers, digest of
    the clips' sources), model, options, settings. All runs of one row of a report share it."""
    seed: int
    fold: int | None = None
    """Of a cross-validation, whose division of the clips is part of the configuration."""

    @cached_property
    def digest(self) -> str:
        """16 hex digits over the configuration."""
        return digest_of(self.configuration)

    @property
    def short(self) -> str:
        """The digits that name the configuration in folders and on the command line."""
        return self.digest[:SHORT]

    @property
    def key(self) -> str:
        """16 hex digits over all: runs with equal keys are the same run."""
        return digest_of([self.digest, self.seed, self.fold])

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON file; `from_json` turns them back."""
        own = {} if self.fold is None else {"fold": self.fold}
        return {"seed": self.seed, **own, "configuration": dict(self.configuration)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Identity":
        """What `to_json` wrote."""
        return cls(values["configuration"], values["seed"], values.get("fold"))


def identity_of(configuration: Mapping[str, Any], seed: int, fold: int | None = None) -> Identity:
    """The identity of plain values: whatever JSON knows in another form (tuples) is turned."""
    return Identity(json.loads(json.dumps(configuration)), seed, fold)


def digest_of(values: Any) -> str:
    """16 hex digits over plain values, whatever the order of their keys.

    >>> digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    True
    """
    text = json.dumps(values, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def code_version() -> str:
    """The version of this package, which is the root that this module is below."""
    root = __name__.partition(".cache.")[0]
    return str(getattr(sys.modules[root], "__version__", "unknown"))


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Where two configurations differ: dotted key -> both values, None where one has none.

    >>> differences({"settings": {"epochs": 2}, "model": "m"}, {"settings": {"epochs": 3}})
    {'settings.epochs': (2, 3), 'model': ('m', None)}
    """
    ours, theirs = dict(_leaves(first)), dict(_leaves(second))
    return {
        key: (ours.get(key), theirs.get(key))
        for key in dict.fromkeys([*ours, *theirs])
        if ours.get(key) != theirs.get(key)
    }


def wording(found: Mapping[str, tuple[Any, Any]], to: str = ", now ") -> str:
    """`differences` as a sentence's part, from the first to the second.

    >>> wording({"settings.epochs": (2, 3), "table.labels": ("0a", "0b")})
    'the labels of the table changed, epochs 2, now 3'
    >>> wording({"settings.epochs": (2, 3)}, " against ")
    'epochs 2 against 3'
    """
    table = [key.partition(".")[2] for key in found if key.startswith("table.")]
    said = [f"the {_listed(table)} of the table changed"] if table else []
    for key, (ours, theirs) in found.items():
        if key.startswith("table."):
            continue
        if key.endswith(".clips"):
            said.append(f"the {key.split('.')[1]} features were made anew")
        elif not key.endswith(".fingerprint") or len(found) == 1:
            said.append(f"{_plain(key)} {_value(ours)}{to}{_value(theirs)}")
    return ", ".join(said)


def flat(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration by dotted keys."""
    return dict(_leaves(configuration))


def variants(configurations: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of each of several configurations, in what it differs from the others; "" of a single one.

    >>> variants([{"settings": {"epochs": 2}}, {"settings": {"epochs": 3}}])
    ['epochs 2', 'epochs 3']
    """
    if len(configurations) < 2:
        return [""] * len(configurations)
    each = [dict(_leaves(one)) for one in configurations]
    keys = [
        key
        for key in dict.fromkeys(key for one in each for key in one)
        if len({_value(one.get(key)) for one in each}) > 1
    ]
    # what a setting of the extraction is called says more than the fingerprint that follows it
    telling = [key for key in keys if not key.endswith((".fingerprint", ".clips"))] or keys
    said = [", ".join(f"{_plain(k)} {_value(o.get(k))}" for k in telling[:MOST_SAID]) for o in each]
    if len(telling) > MOST_SAID or len(set(said)) < len(said):
        shorts = [digest_of(one)[:SHORT] for one in configurations]
        said = [f"{text}, {short}" for text, short in zip(said, shorts, strict=True)]
    return said


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _plain(key: str) -> str:
    """``settings.epochs`` -> ``epochs``; ``inputs.audio.settings.rate`` -> ``audio rate``."""
    first, _, rest = key.partition(".")
    said = rest.replace(".settings.", ".") if first == "inputs" else rest
    return (said if first in ("settings", "options", "inputs") and rest else key).replace(".", " ")


def _value(value: Any) -> str:
    if isinstance(value, list):
        return "+".join(_value(one) for one in value)
    return "unset" if value is None else str(value)


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
