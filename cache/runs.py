"""What training leaves behind and evaluation reads: one folder a (model, modalities, seed)."""

import csv
import io
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RunError
from .extraction import Extraction
from .representations import Representations, write_representations
from .spec import LETTERS, MODALITIES, SPLITS, Modality, Split, is_untrained

FORMAT = "sedimental-run-1"
_OBJECTS = ("inputs", "rivals", "extraction")
"""Fields of a run that are written as plain values in place of objects."""


@dataclass(frozen=True)
class InputRecord:
    """One modality's input: which layers of which store."""

    modality: Modality
    encoder: str
    layers: tuple[str, ...]
    """Names of the entries used, in order."""
    weighted: bool
    """Whether a learned softmax mixes the layers (else they are stacked along width)."""
    fingerprint: str
    weights: str
    """``hub``, ``folder`` or ``random:<seed>`` (an untrained encoder)."""
    live: bool = False
    """Whether the encoder was trained along, `weights` being what it began with."""

    @property
    def untrained(self) -> bool:
        """Whether the encoder had random weights."""
        return is_untrained(self.weights)


@dataclass(frozen=True)
class Rival:
    """The epoch that another criterion would have kept, and how good it is."""

    best_epoch: int
    metrics: Mapping[Split, Mapping[str, float]]


@dataclass(frozen=True)
class Epoch:
    """One line of the training history; losses are means over clips."""

    epoch: int
    train_loss: float
    valid_loss: float
    learning_rate: float
    seconds: float
    valid: Mapping[str, float]
    """Validation metrics, by the field's keys."""


@dataclass(frozen=True)
class Predictions:
    """Scores of every clip of every split, in manifest order."""

    ids: tuple[str, ...]
    splits: tuple[Split, ...]
    labels: NDArray[np.float64]
    """(clips,) scores, or numbers of `classes`."""
    values: NDArray[np.float64]
    """(clips,) what is predicted, in the same terms."""
    classes: tuple[str, ...] = ()
    """Names of the classes; empty where scores are predicted."""
    probabilities: NDArray[np.float64] | None = None
    """(clips, classes)"""

    def of(self, split: Split) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(labels, predictions) of one split, each (clips,)."""
        kept = np.array([s == split for s in self.splits], dtype=bool)
        return self.labels[kept], self.values[kept]


@dataclass(frozen=True)
class Run:
    """One trained model with everything needed to re-score, re-plot or predict with it."""

    corpus: str
    model: str
    modalities: tuple[Modality, ...]
    seed: int
    key: str
    """Hash of all that decides the result; an equal key means the run need not be repeated."""
    options: Mapping[str, Any]
    """The model's resolved Options."""
    config: Mapping[str, Any]
    """The resolved [train] section."""
    inputs: tuple[InputRecord, ...]
    environment: Mapping[str, str]
    """Python, library versions, device, machine, threads."""
    parameters: int
    """Trainable weights."""
    criterion: str
    """What the chosen epoch is best in, on validation."""
    best_epoch: int
    seconds: float
    coverage: Mapping[Split, Mapping[str, int]]
    """Per split: ``clips``, and how many of them have features of each input modality."""
    history: tuple[Epoch, ...]
    metrics: Mapping[Split, Mapping[str, float]]
    predictions: Predictions
    outputs: Mapping[str, NDArray[np.float64]]
    """Named extras: ``gate`` (clips, modalities) in prediction order, ``layers_text`` (layers,)."""
    representations: Representations | None = None
    """Only in a run that was just made: `read_representations` reads what its folder keeps."""
    memory: int = 0
    """Most bytes at a time while it was made: on the GPU, or of the whole process, its features
    included. 0: not measured."""
    rivals: Mapping[str, Rival] = field(default_factory=dict)
    """By the criteria of `train.also`; predictions and weights are those of `criterion` alone."""
    protocol: str = ""
    """Scale of the labels, ``mosi`` or ``sims``; empty in runs of earlier versions."""
    extraction: Mapping[Modality, Extraction] = field(default_factory=dict)
    """How the features of each input are made; empty in runs of earlier versions."""

    @property
    def finetuned(self) -> bool:
        """Whether an encoder was trained along."""
        return any(one.live for one in self.inputs)

    @property
    def label(self) -> str:
        """The model's name, and whether encoders were trained along: ``mmml finetuned``."""
        return f"{self.model}{' finetuned' if self.finetuned else ''}"

    @property
    def row(self) -> str:
        """What its results are listed under: ``uegd TAV``, ``mmml finetuned TA``."""
        return f"{self.label} {self.letters}"

    @property
    def letters(self) -> str:
        """Modalities in short: ``TAV``."""
        return "".join(LETTERS[m] for m in MODALITIES if m in self.modalities)


@dataclass(frozen=True)
class Scored:
    """What `run.json` alone says of a finished run: enough to know it again and to compare it."""

    seed: int
    key: str
    seconds: float
    metrics: Mapping[Split, Mapping[str, float]]


def run_folder(
    root: Path, model: str, modalities: Sequence[Modality], seed: int, finetuned: bool = False
) -> Path:
    """Where the run lies below the experiment's folder `root`."""
    letters = "".join(LETTERS[m] for m in MODALITIES if m in modalities)
    return root / f"{model}{'-finetuned' if finetuned else ''}-{letters}" / f"seed-{seed}"


def write_run(folder: Path, run: Run, weights: bytes) -> None:
    """Write `run` and its best `weights` (safetensors) so that a folder that exists is whole."""
    temporary = folder.with_name(f".tmp-{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    (temporary / "weights.safetensors").write_bytes(weights)
    (temporary / "history.csv").write_text(_history(run.history), encoding="utf-8")
    (temporary / "predictions.csv").write_text(_predictions(run.predictions), encoding="utf-8")
    outputs: dict[str, Any] = {name: np.asarray(v) for name, v in run.outputs.items()}
    np.savez(temporary / "outputs.npz", **outputs)
    if run.representations is not None:
        write_representations(temporary, run.representations)
    head = {"format": FORMAT} | {
        k: v
        for k, v in vars(run).items()
        if k not in ("history", "predictions", "outputs", "representations", *_OBJECTS)
    }
    head["inputs"] = [vars(i) for i in run.inputs]
    head["rivals"] = {name: vars(rival) for name, rival in run.rivals.items()}
    head["extraction"] = {m: one.to_json() for m, one in run.extraction.items()}
    (temporary / "run.json").write_text(json.dumps(head, indent=1) + "\n", encoding="utf-8")
    if folder.exists():  # an older result of other settings: the new one takes its place
        shutil.rmtree(folder)
    temporary.rename(folder)


def read_run(folder: Path) -> Run:
    """Read a run folder; raises RunError naming the file that is missing or foreign."""
    try:
        head = _head(folder)
        with np.load(folder / "outputs.npz", allow_pickle=False) as outputs:
            extras = {name: outputs[name].astype(np.float64) for name in outputs.files}
        head["modalities"] = tuple(head["modalities"])
        head["inputs"] = tuple(
            InputRecord(**{**i, "layers": tuple(i["layers"])}) for i in head["inputs"]
        )
        head["rivals"] = {n: Rival(**r) for n, r in head.get("rivals", {}).items()}
        made = head.get("extraction", {})
        head["extraction"] = {m: Extraction.from_json(one) for m, one in made.items()}
        return Run(
            **head,
            history=_read_history(folder / "history.csv"),
            predictions=_read_predictions(folder / "predictions.csv"),
            outputs=extras,
        )
    except _UNREADABLE as fault:
        raise _foreign(folder, fault) from fault


def read_scores(folder: Path) -> Scored:
    """The scores of a run, without its predictions; raises RunError as `read_run` does."""
    try:
        head = _head(folder)
        return Scored(head["seed"], head["key"], head["seconds"], head["metrics"])
    except _UNREADABLE as fault:
        raise _foreign(folder, fault) from fault


def _head(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    if found.pop("format", None) != FORMAT:
        raise RunError(
            f"{folder / 'run.json'}: not a run of format {FORMAT}. `sedimental train` anew."
        )
    return found


_UNREADABLE = (OSError, ValueError, KeyError, TypeError)


def _foreign(folder: Path, fault: Exception) -> RunError:
    return RunError(
        f"{folder}: cannot be read as a run ({fault}). Remove it and `sedimental train` anew."
    )


def list_runs(root: Path) -> Iterator[Path]:
    """Folders of the finished runs below `root`, sorted by name."""
    return (path.parent for path in sorted(root.glob("*/seed-*/run.json")))


def _history(history: Sequence[Epoch]) -> str:
    names = list(history[0].valid) if history else []
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    plain = ["epoch", "train_loss", "valid_loss", "learning_rate", "seconds"]
    table.writerow([*plain, *(f"valid_{name}" for name in names)])
    for line in history:
        table.writerow([*(getattr(line, k) for k in plain), *(line.valid[n] for n in names)])
    return out.getvalue()


def _read_history(path: Path) -> tuple[Epoch, ...]:
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(
            Epoch(
                epoch=int(row.pop("epoch")),
                train_loss=float(row.pop("train_loss")),
                valid_loss=float(row.pop("valid_loss")),
                learning_rate=float(row.pop("learning_rate")),
                seconds=float(row.pop("seconds")),
                valid={name.removeprefix("valid_"): float(v) for name, v in row.items()},
            )
            for row in csv.DictReader(file)
        )


_PROBABILITY = "probability_"
"""Begins the columns that only predictions of classes have, one a class."""


def _predictions(predictions: Predictions) -> str:
    classes, shares = predictions.classes, predictions.probabilities
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    own = [f"{_PROBABILITY}{name}" for name in classes]
    table.writerow(["id", "split", "label", "prediction", *own])
    rows = zip(
        predictions.ids,
        predictions.splits,
        predictions.labels.tolist(),
        predictions.values.tolist(),
        [[]] * len(predictions.ids) if shares is None else shares.tolist(),
        strict=True,
    )
    for clip, split, label, value, probabilities in rows:
        said = [classes[int(number)] for number in (label, value)] if classes else [label, value]
        table.writerow([clip, split, *said, *probabilities])
    return out.getvalue()


def _read_predictions(path: Path) -> Predictions:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    splits = [next(s for s in SPLITS if s == row["split"]) for row in rows]
    columns = [name for name in (rows[0] if rows else ()) if name.startswith(_PROBABILITY)]
    classes = tuple(name.removeprefix(_PROBABILITY) for name in columns)

    def numbers(key: str) -> NDArray[np.float64]:
        said = [row[key] for row in rows]
        return np.array([classes.index(s) if classes else float(s) for s in said], np.float64)

    shares = np.array([[float(row[name]) for name in columns] for row in rows])
    return Predictions(
        ids=tuple(row["id"] for row in rows),
        splits=tuple(splits),
        labels=numbers("label"),
        values=numbers("prediction"),
        classes=classes,
        probabilities=shares if classes else None,
    )
