"""What a sweep or a probe leaves and the report reads: the scores of every choice of layers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import RunError
from .spec import LETTERS, MODALITIES, SPLITS, Modality, Split
from .store.atomic_write import replace

FORMAT = "sedimental-sweep-1"
FILE = "sweep.json"
Kind = Literal["probe", "sweep"]
LOWER_IS_BETTER = frozenset({"MAE", "valid_loss"})
"""Metrics of which less is better."""


@dataclass(frozen=True)
class Encoder:
    """Where the layers of one modality come from."""

    name: str
    """As [train.inputs] calls it."""
    weights: str
    """``hub``, ``folder`` or ``random:<seed>``."""
    fingerprint: str
    layers: tuple[str, ...]
    """Names of the layers tried, in order."""
    last: str
    """The encoder's last block: what "last layer" means here."""


@dataclass(frozen=True)
class Point:
    """One choice of layers, scored with every seed."""

    arm: str
    """What the point's curve is called: the model, and the options that were varied."""
    model: str
    letters: str
    """Modalities in short: ``T``, ``TAV``."""
    choice: str
    """A layer's name, or ``weighted``, ``last``, ``picked``."""
    layers: Mapping[Modality, str]
    """Of each modality: a layer's name, or ``weighted``."""
    seeds: tuple[int, ...]
    scores: Mapping[Split, Mapping[str, tuple[float, ...]]]
    """Validation and test scores by metric, a number a seed."""
    settings: Mapping[str, Any]
    """What was varied (options), or found (a probe's penalty)."""
    folder: str
    """Of its runs, below the sweep's own; empty: none were kept."""
    seconds: float
    """Of all seeds together."""

    def mean(self, split: Split, metric: str) -> float:
        """Mean over seeds; NaN if any seed's score is, or without such a metric."""
        values = self.scores[split].get(metric, ())
        return sum(values) / len(values) if values else float("nan")


@dataclass(frozen=True)
class Sweep:
    """Every choice of layers that was tried on one corpus, and what validation says of them."""

    kind: Kind
    key: str
    """Hash of all that decides it."""
    corpus: str
    protocol: str
    classes: tuple[str, ...]
    """Names of the classes; empty where scores are predicted."""
    criterion: str
    """Validation metric by which layers are picked."""
    manifest: str
    """Digest of the corpus table."""
    encoders: Mapping[Modality, Encoder]
    points: tuple[Point, ...]
    picks: Mapping[str, Mapping[Modality, str]]
    """By arm: the layer of each modality that is best on validation."""

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the curves, in the order of the points."""
        return tuple(dict.fromkeys(point.arm for point in self.points))

    def curve(self, arm: str, modality: Modality) -> tuple[Point, ...]:
        """The points of single layers of `modality`, lowest layer first."""
        known = self.encoders[modality].layers
        own = [p for p in self.points if p.arm == arm and p.letters == LETTERS[modality]]
        return tuple(
            sorted((p for p in own if p.choice in known), key=lambda p: known.index(p.choice))
        )

    def find(self, arm: str, letters: str, choice: str) -> Point | None:
        """The point of that name."""
        for point in self.points:
            if (point.arm, point.letters, point.choice) == (arm, letters, choice):
                return point
        return None

    def best_arm(self) -> str:
        """The arm with the best point of all."""
        return max(self.points, key=lambda point: goodness(point, self.criterion)).arm

    def lines(self, arm: str | None = None) -> str:
        """The picked layers as a ``[train.inputs]`` table to paste into pipeline.toml."""
        picks = self.picks.get(arm or self.best_arm(), {})
        body = [
            f'{m} = {{ encoder = "{self.encoders[m].name}", layers = {_toml(picks[m])} }}'
            for m in MODALITIES
            if m in picks
        ]
        return "\n".join(["[train.inputs]", *body])


def goodness(point: Point, criterion: str) -> float:
    """The criterion on validation, more is better; minus infinity where it is undefined."""
    value = point.mean("valid", criterion)
    if value != value:
        return float("-inf")
    return -value if criterion in LOWER_IS_BETTER else value


def pick(points: Sequence[Point], criterion: str) -> Point:
    """The best of `points` on validation; of equals the first."""
    return max(points, key=lambda point: goodness(point, criterion))


def write_sweep(folder: Path, sweep: Sweep) -> Path:
    """Write `sweep` into `folder`, replacing its predecessor at once."""
    text = json.dumps({"format": FORMAT, **asdict(sweep)}, indent=1) + "\n"
    return replace(folder / FILE, text)


def read_sweep(folder: Path) -> Sweep | None:
    """The sweep in `folder`; None if there is none. Raises RunError for a foreign file."""
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if found.pop("format", None) != FORMAT:
            raise ValueError(f"not of format {FORMAT}")
        return Sweep(
            **{
                **found,
                "classes": tuple(found["classes"]),
                "encoders": {
                    m: Encoder(**{**e, "layers": tuple(e["layers"])})
                    for m, e in found["encoders"].items()
                },
                "points": tuple(_point(p) for p in found["points"]),
            }
        )
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise RunError(
            f"{file}: cannot be read as a sweep ({fault}). Remove it and `sedimental sweep` anew."
        ) from fault


def _point(values: dict[str, Any]) -> Point:
    scores = {
        split: {k: tuple(v) for k, v in values["scores"][split].items()}
        for split in SPLITS
        if split in values["scores"]
    }
    return Point(**{**values, "seeds": tuple(values["seeds"]), "scores": scores})


def _toml(layer: str) -> str:
    return layer if layer.lstrip("-").isdigit() else f'"{layer}"'
