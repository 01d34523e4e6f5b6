"""How the features of a run's input are made of a clip: enough to make them again of another."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..spec import FeatureSpec
from .identity import differences

HEX = 8
"""Digits shown of a digest."""


@dataclass(frozen=True)
class Extraction:
    """The settings of one input's features, and what they came to on the machine that made them."""

    table: Mapping[str, Any]
    """Its [[features]] table with every key."""
    spec: FeatureSpec
    """Of its hidden states; of a live encoder, of those it began with."""
    start: int | None = None
    """Of a live encoder: the block behind which training began; None: at words or sound."""

    @property
    def pinned(self) -> Mapping[str, Any]:
        """The table that asks for the very weights: at the commit that the Hub resolved."""
        return {**self.table, "revision": self.spec.revision or self.table["revision"]}

    def differences(self, other: FeatureSpec) -> tuple[str, ...]:
        """In what `other` would give other numbers, in words; which layers are kept is left out.

        >>> spec = FeatureSpec("text", "b", "b", None, "folder", "0a" * 16, ("0", "1"), 4)
        >>> Extraction({}, spec).differences(replace(spec, weights_digest="ff" * 16, width=8))
        ('weights_digest was 0a0a0a0a, is ffffffff', 'width was 4, is 8')
        """
        if replace(other, layers=self.spec.layers).fingerprint == self.spec.fingerprint:
            return ()
        changes = differences(dict(_ingredients(self.spec)), dict(_ingredients(other)))
        return tuple(
            f"{key} was {_short(was)}, is {_short(now)}" for key, (was, now) in changes.items()
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON file; `from_json` turns them back."""
        return {"table": dict(self.table), "spec": self.spec.to_json(), "start": self.start}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Extraction":
        """What `to_json` wrote."""
        return cls(**{**values, "spec": FeatureSpec.from_json(values["spec"])})


def _ingredients(spec: FeatureSpec) -> Iterator[tuple[str, Any]]:
    """What the fingerprint is made of, one by one."""
    for key, value in spec.to_json().items():
        if key == "preprocessing":
            yield from value.items()
        elif key not in ("layers", "recorded"):
            yield key, value


def _short(value: Any) -> str:
    text = str(value)
    digits = set("0123456789abcdef")
    return text[:HEX] if len(text) >= 2 * HEX and set(text) <= digits else text
