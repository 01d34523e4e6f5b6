"""What a sweep or a probe leaves and the report reads: the scores of every choice of layers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import RunError
from .checksums import digest
from .runs.identity import SHORT
from .spec import LETTERS, MODALITIES, SPLITS, Modality, Split
from .store.atomic_write import replace

FORMAT = "sedimental-sweep-2"
EARLIER = "sedimental-sweep-1"
"""Before sweeps had a checksum."""
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
    clips: str = ""
    """Digest of what the clips' features were made from."""


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
    """Write `sweep` into `folder`, replacing its predecessor at once.

    A predecessor of another table or of other features is kept beside it, as ``sweep-<key>.json``;
    one that cannot be read, as ``sweep-unread-<digest>.json``.
    """
    file = folder / FILE
    if file.is_file():
        data = file.read_bytes()
        try:
            before = read_sweep(folder)
        except RunError:
            before = None
        if before is None:
            replace(folder / f"sweep-unread-{digest(data)[:SHORT]}.json", data)
        elif (before.manifest, before.encoders) != (sweep.manifest, sweep.encoders):
            replace(folder / f"sweep-{before.key[:SHORT]}.json", data)
    return replace(file, _text(asdict(sweep)))


def read_sweep(folder: Path) -> Sweep | None:
    """The latest sweep in `folder`; None if there is none, or one of an earlier version.

    Raises RunError for a damaged or foreign file.
    """
    file = folder / FILE
    return _read(file) if file.is_file() and not is_earlier(file) else None


def read_sweeps(folder: Path) -> tuple[Sweep, ...]:
    """The latest sweep in `folder`, then those of other tables and features, latest first."""
    latest = read_sweep(folder)
    files = [p for p in folder.glob("sweep-*.json") if not p.name.startswith("sweep-unread-")]
    files.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return (*([latest] if latest else []), *(_read(file) for file in files))


def is_earlier(file: Path) -> bool:
    """Whether an earlier version, that kept no checksum, wrote the sweep."""
    try:
        return bool(json.loads(file.read_bytes()).get("format") == EARLIER)
    except (OSError, ValueError, AttributeError):
        return False


def _text(body: Mapping[str, Any]) -> str:
    plain = json.loads(json.dumps(body))  # tuples as JSON has them, so that both ways give one text
    own = digest(json.dumps(plain).encode())
    return json.dumps({"format": FORMAT, "blake2b": own, **plain}, indent=1) + "\n"


def _read(file: Path) -> Sweep:
    remedy = "Remove it and `sedimental sweep` anew: its runs are kept, and read in seconds."
    try:
        data = file.read_bytes()
        found: dict[str, Any] = json.loads(data)
        if not isinstance(found, dict) or "points" not in found:
            raise ValueError("it is no sweep")
        own = {key: value for key, value in found.items() if key not in ("format", "blake2b")}
        if found.get("format") != FORMAT or _text(own).encode() != data:
            raise ValueError("it is not what was written")
        return Sweep(
            **{
                **own,
                "classes": tuple(own["classes"]),
                "encoders": {
                    m: Encoder(**{**e, "layers": tuple(e["layers"])})
                    for m, e in own["encoders"].items()
                },
                "points": tuple(_point(p) for p in own["points"]),
            }
        )
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise RunError(f"{file}: damaged, cannot be read as a sweep: {fault}. {remedy}") from fault


def _point(values: dict[str, Any]) -> Point:
    scores = {
        split: {k: tuple(v) for k, v in values["scores"][split].items()}
        for split in SPLITS
        if split in values["scores"]
    }
    return Point(**{**values, "seeds": tuple(values["seeds"]), "scores": scores})


def _toml(layer: str) -> str:
    return layer if layer.lstrip("-").isdigit() else f'"{layer}"'
