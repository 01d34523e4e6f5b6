"""What a sweep or a probe leaves and the report reads: the scores of every choice of layers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from ..config import in_words
from ..errors import RunError
from ..result_table import ResultTable
from .runs.identity import SHORT
from .spec import LETTERS, MODALITIES, Modality, Split
from .store.atomic_write import replace
from .store.sealed_json import digest

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
    """Validation and test scores by metric, a number a seed; of a cross-validated corpus a number
    a part, the mean over its seeds."""
    settings: Mapping[str, Any]
    """What was varied (options), or found (a probe's penalty)."""
    folder: str
    """Of its runs, below the sweep's own; empty: none were kept."""
    seconds: float
    """Of all seeds together."""
    folds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Of a probe, by metric: scores on each fold of the training and validation clips, by a fit on
    the other folds. A layer is picked by them."""
    error: float | None = None
    """Standard error of `value` by the criterion: over folds; of a trained model, over validation
    clips and seeds. None: not known."""
    parts: int = 0
    """Of a cross-validated corpus: the parts that it was trained and tested on, one by one."""

    @property
    def count(self) -> int:
        """Numbers in each of `scores`."""
        return self.parts or len(self.seeds)

    def mean(self, split: Split, metric: str) -> float:
        """Mean over seeds; NaN if any seed's score is, or without such a metric."""
        values = self.scores[split].get(metric, ())
        return sum(values) / len(values) if values else float("nan")

    def value(self, criterion: str) -> float:
        """What it is picked by: the mean over folds where there are any, else over seeds on
        validation; NaN where that is undefined."""
        known = [v for v in self.folds.get(criterion, ()) if v == v]
        return sum(known) / len(known) if known else self.mean("valid", criterion)


@dataclass(frozen=True)
class Recommendation:
    """The best of all choices of layers that were tried, by validation, and how sure that is."""

    letters: str
    choice: str
    """A layer's name, ``picked``, ``last`` or ``weighted``."""
    layers: Mapping[Modality, str]
    value: float
    """Of the criterion on validation."""
    runner_up: str
    """The next best choice; empty: there was no other."""
    margin: float
    """By how much it is ahead, from 0."""
    spread: float
    """Standard deviation over seeds, of the two together."""
    error: float | None
    """Standard error of the margin over validation clips and seeds; None: not known."""
    clips: int
    """Validation clips."""

    @property
    def clear(self) -> bool:
        """Whether the margin is beyond twice its error, and beyond the spread over seeds."""
        return self.error is not None and self.margin > max(2 * self.error, self.spread)


@dataclass(frozen=True, repr=False)
class Sweep(ResultTable):
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
    """By arm: the layer of each modality that is best on validation, or the middle one of those
    that are as good within the error (`settled`)."""
    recommended: Mapping[str, Recommendation] = field(default_factory=dict)
    """By arm; empty for a probe."""
    failures: tuple[str, ...] = ()
    """Runs that failed, each with its reason; a choice of layers without any run has no point."""

    @property
    def parts(self) -> int:
        """Parts of a cross-validated corpus that were gone through; 0 without any."""
        return max((point.parts for point in self.points), default=0)

    @property
    def title(self) -> str:
        """What was tried, and what is picked of it."""
        picked = "; ".join(
            f"{arm}: {', '.join(f'{m} {layer}' for m, layer in own.items())}"
            for arm, own in self.picks.items()
        )
        return f"{self.kind} on {self.corpus}, picked by {self.criterion}: {picked}"

    def records(self) -> Sequence[Mapping[str, Any]]:
        """A row a choice of layers; test scores belong to what validation picks alone."""
        return [
            {
                "arm": point.arm,
                "inputs": point.letters,
                "choice": point.choice,
                "layers": ", ".join(f"{m} {layer}" for m, layer in point.layers.items()),
                f"valid {self.criterion}": point.value(self.criterion),
                "error": point.error,
                "seeds": len(point.seeds),
                "seconds": round(point.seconds, 2),
            }
            for point in self.points
        ]

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

    def ties(self, arm: str, modality: Modality) -> tuple[str, ...]:
        """Layers of `modality` that are as good as the best within its error, lowest first."""
        return tuple(p.choice for p in tied(self.curve(arm, modality), self.criterion))

    def best_arm(self) -> str:
        """The arm with the best recommendation, or with the best point of all."""
        if self.recommended:
            sign = -1 if self.criterion in LOWER_IS_BETTER else 1
            return max(self.recommended, key=lambda arm: sign * self.recommended[arm].value)
        return max(self.points, key=lambda point: goodness(point, self.criterion)).arm

    def lines(self, arm: str | None = None) -> str:
        """The recommended (of a probe: the picked) layers as a ``[train.inputs]`` table to paste
        into pipeline.toml."""
        chosen = arm or self.best_arm()
        best = self.recommended.get(chosen)
        picks = dict(self.picks.get(chosen, {})) | dict(best.layers if best else {})
        body = [
            f'{m} = {{ encoder = "{self.encoders[m].name}", layers = {_toml(picks[m])} }}'
            for m in MODALITIES
            if m in picks
        ]
        return "\n".join(["[train.inputs]", *body])


def goodness(point: Point, criterion: str) -> float:
    """The criterion on validation, more is better; minus infinity where it is undefined."""
    value = point.value(criterion)
    if value != value:
        return float("-inf")
    return -value if criterion in LOWER_IS_BETTER else value


def pick(points: Sequence[Point], criterion: str) -> Point:
    """The best of `points` on validation; of equals the first."""
    return max(points, key=lambda point: goodness(point, criterion))


def tied(points: Sequence[Point], criterion: str) -> tuple[Point, ...]:
    """Those of `points` within one standard error of the best, in their order."""
    if not points:
        return ()
    best = pick(points, criterion)
    least = goodness(best, criterion) - (best.error or 0.0)
    return tuple(p for p in points if p is best or goodness(p, criterion) >= least)


def settled(points: Sequence[Point], criterion: str) -> Point:
    """Of layers, lowest first: the middle one of the run of `tied` ones that has the best in it.

    Which of equals came out best is chance; the middle of them is the safest, and of two middle
    ones the lower costs less.
    """
    best, known = points.index(pick(points, criterion)), tied(points, criterion)
    first = last = best
    while first > 0 and points[first - 1] in known:
        first -= 1
    while last + 1 < len(points) and points[last + 1] in known:
        last += 1
    return points[(first + last) // 2]


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
    except (OSError, ValueError, AttributeError, RecursionError):
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
        return _SWEEP.validate_python(own)
    except ValidationError as faults:
        raise RunError(f"{file}: damaged, {in_words(faults.errors()[0])} {remedy}") from faults
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
        raise RunError(f"{file}: damaged, cannot be read as a sweep: {fault}. {remedy}") from fault


_SWEEP = TypeAdapter(Sweep)


def _toml(layer: str) -> str:
    return layer if layer.lstrip("-").isdigit() else f'"{layer}"'
