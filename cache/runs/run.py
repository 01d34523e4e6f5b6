"""One trained model as values: what training leaves behind and evaluation reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..spec import LETTERS, MODALITIES, Modality, Several, Split, is_untrained
from .extraction import Extraction
from .identity import Identity
from .representations import Representations


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
    align: str = ""
    """``words``, and how several rows of a word become one; empty: frames as they are."""

    @property
    def untrained(self) -> bool:
        """Whether the encoder had random weights."""
        return is_untrained(self.weights)


@dataclass(frozen=True)
class OtherCriterion:
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
    """(clips,) scores, or numbers of `classes`; (clips, names) of `several`."""
    values: NDArray[np.float64]
    """What is predicted, in the same terms; of emotions the probability that they are there."""
    classes: tuple[str, ...] = ()
    """Names of the classes; empty where scores are predicted."""
    probabilities: NDArray[np.float64] | None = None
    """(clips, classes)"""
    several: Several | None = None
    """What the columns are where a clip has several labels."""

    def of(self, split: Split) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(labels, predictions) of one split, each (clips, …)."""
        kept = np.array([s == split for s in self.splits], dtype=bool)
        return self.labels[kept], self.values[kept]


@dataclass(frozen=True, repr=False)
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
    rivals: Mapping[str, OtherCriterion] = field(default_factory=dict)
    """By the criteria of `train.also`; predictions and weights are those of `criterion` alone."""
    protocol: str = ""
    """Scale of the labels, ``mosi`` or ``sims``; empty in runs of earlier versions."""
    extraction: Mapping[Modality, Extraction] = field(default_factory=dict)
    """How the features of each input are made; empty in runs of earlier versions."""
    identity: Identity | None = None
    """What it is a run of; None of a linear probe."""

    def __repr__(self) -> str:
        """Which it is, and its test scores."""
        scores = ", ".join(f"{k} {v:.3f}" for k, v in list(self.metrics["test"].items())[:8])
        return f"Run({self.row} seed {self.seed}: {scores})"

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
        return letters_of(self.modalities)


@dataclass(frozen=True)
class Scored:
    """What `run.json` alone says of a finished run: enough to know it again and to compare it."""

    seed: int
    key: str
    seconds: float
    metrics: Mapping[Split, Mapping[str, float]]
    corpus: str = ""
    model: str = ""
    modalities: tuple[Modality, ...] = ()
    finetuned: bool = False
    criterion: str = ""
    best_epoch: int = 0
    identity: Identity | None = None

    @property
    def letters(self) -> str:
        """Modalities in short: ``TAV``."""
        return letters_of(self.modalities)

    @property
    def row(self) -> str:
        """As of a `Run`."""
        return f"{self.model}{' finetuned' if self.finetuned else ''} {self.letters}"

    @property
    def configuration(self) -> Mapping[str, Any]:
        """Of its identity; empty without one."""
        return self.identity.configuration if self.identity else {}


def letters_of(modalities: Sequence[Modality]) -> str:
    """Modalities in short: ``TAV``."""
    return "".join(LETTERS[m] for m in MODALITIES if m in modalities)
