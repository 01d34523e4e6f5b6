"""Predictions of new clips: the answers of a row's seeds brought together, in the field's words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..cache.answers import ClipPredictions
from ..cache.manifest import Clip
from ..cache.runs import Run
from ..cache.spec import Modality
from ..result_table import ResultTable
from .analysis.learned_weights import GATES, gate_columns
from .json_values import plain
from .metrics import THRESHOLD, Scheme, Scores
from .protocols import CorpusProtocol, protocol_of
from .results import Caution
from .statistics import Spread
from .warnings import untrained


@dataclass(frozen=True)
class ClipPrediction:
    """What one row says of one clip."""

    id: str
    media: str | None
    start: float | None
    end: float | None
    text: str
    used: tuple[Modality, ...]
    """Modalities that it was predicted from; none: it could not be predicted."""
    missing: Mapping[Modality, str]
    """The row's other modalities, and why the clip has no features of them."""
    score: Spread | None
    """Over the seeds, in the labels' unit; None for classes, and for a clip without prediction."""
    word: str | None
    """``negative``, ``neutral`` or ``positive``; or the class of the highest mean probability."""
    level: str | None
    """The finest class of the corpus' protocol that the mean score falls into: ``-2`` of seven for
    CMU-MOSI, ``<= -0.1`` of five for CH-SIMS; None for classes."""
    probabilities: Mapping[str, Spread]
    """By class or emotion, over the seeds; of dimensions the scores. Empty where one score is
    predicted."""
    weights: Mapping[Modality, float]
    """How much each of those used counts, mean over the seeds; empty for a model that does not
    say."""
    alone: Mapping[Modality, float]
    """The score that the model's own head for a modality gives, mean over the seeds; empty for a
    model without such heads, and for classes."""


@dataclass(frozen=True, repr=False)
class Prediction(ResultTable):
    """A row's predictions of some clips."""

    row: str
    """``uegd TAV``."""
    corpus: str
    """What it was trained on."""
    modalities: tuple[Modality, ...]
    seeds: tuple[int, ...]
    protocol: str
    """Scale of the scores, ``mosi`` or ``sims``; ``classes``."""
    classes: tuple[str, ...]
    """Names of the classes, or of the several labels of a clip; empty where one score is
    predicted."""
    clips: tuple[ClipPrediction, ...]
    cautions: tuple[Caution, ...]
    """What a reader must know before believing a number, the gravest first."""
    faces: Mapping[str, bytes] = field(default_factory=dict)
    """JPEGs of the face crops of clips by id, where they were asked for."""

    @property
    def title(self) -> str:
        """Of what, by what."""
        return f"{self.row}, trained on {self.corpus}: {len(self.clips)} clips"

    def records(self) -> Sequence[Mapping[str, Any]]:
        """A row a clip."""
        return [
            {
                "clip": clip.id,
                "predicted": clip.word or "",
                "score": clip.score.mean if clip.score else None,
                "std": clip.score.std if clip.score else None,
                **{name: spread.mean for name, spread in clip.probabilities.items()},
                "from": ", ".join(clip.used),
                "text": clip.text,
            }
            for clip in self.clips
        ]

    @property
    def failed(self) -> tuple[ClipPrediction, ...]:
        """Clips that could not be predicted."""
        return tuple(clip for clip in self.clips if not clip.used)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, without pictures; undefined numbers are None."""
        kept = plain(replace(self, faces={}))
        del kept["faces"]
        return {**kept, "failed": [clip.id for clip in self.failed]}


def predicted(
    runs: Sequence[Run],
    answers: Sequence[ClipPredictions],
    clips: Sequence[Clip],
    reasons: Mapping[tuple[str, Modality], str],
) -> Prediction:
    """What `runs`, the seeds of one row, answer about `clips`, each in the order of `clips`.

    `reasons` says why a clip has no features of a modality.
    """
    first = runs[0]
    classes, several = first.predictions.classes, first.predictions.several
    scheme: Scheme = classes or several or first.protocol
    protocol = protocol_of(scheme)
    one = not (classes or several)
    beside = _gates(runs, answers), _alone(first.modalities, answers) if one else {}
    names = several.names if several else protocol.bins
    found = tuple(
        _clip(clip, place, answers, protocol, names, reasons, *beside)
        for place, clip in enumerate(clips)
    )
    return Prediction(
        row=first.row,
        corpus=first.corpus,
        modalities=first.modalities,
        seeds=tuple(run.seed for run in runs),
        protocol=protocol.key,
        classes=several.names if several else classes,
        clips=found,
        cautions=(*untrained(one for run in runs for one in run.inputs), *_notes(first)),
    )


def _clip(
    clip: Clip,
    place: int,
    answers: Sequence[ClipPredictions],
    protocol: CorpusProtocol,
    names: Sequence[str],
    reasons: Mapping[tuple[str, Modality], str],
    gates: Mapping[Modality, Scores],
    heads: Mapping[Modality, Scores],
) -> ClipPrediction:
    present = answers[0].present
    used = tuple(m for m, here in present.items() if here[place])
    single = not (protocol.of_classes or protocol.of_several)
    values = tuple(float(one.values[place]) for one in answers) if used and single else ()
    score = Spread(values) if values else None
    shares = [one.probabilities[place] for one in answers if used and one.probabilities is not None]
    probabilities = {
        name: Spread(tuple(float(own[number]) for own in shares))
        for number, name in enumerate(names if shares else ())
    }
    word = level = None
    if score is not None and np.isfinite(score.mean):
        word = protocol.polarity(score.mean)
        level = protocol.bins[int(protocol.classes(np.array([score.mean]))[0])]
    elif protocol.key == "emotions":
        there = [name for name, own in probabilities.items() if own.mean >= THRESHOLD]
        word = ", ".join(there) or ("none" if probabilities else None)
    elif probabilities and protocol.of_classes:
        word = max(probabilities, key=lambda name: probabilities[name].mean)
    return ClipPrediction(
        id=clip.id,
        media=clip.media,
        start=clip.start,
        end=clip.end,
        text=clip.text,
        used=used,
        missing={
            m: reasons.get((clip.id, m), "no frame of it is real") for m in present if m not in used
        },
        score=score,
        word=word,
        level=level,
        probabilities=probabilities,
        weights={m: float(gates[m][place]) for m in used if m in gates},
        alone={m: float(heads[m][place]) for m in used if m in heads},
    )


def _gates(runs: Sequence[Run], answers: Sequence[ClipPredictions]) -> dict[Modality, Scores]:
    """(clips,) of each modality, mean over the seeds; of a model with several such outputs, the
    first of `GATES`."""
    for name in GATES:
        gates = [one.extras[name] for one in answers if name in one.extras]
        if gates and gates[0].ndim == 2:
            return gate_columns(np.mean(gates, axis=0), runs[0].modalities)
    return {}


def _alone(
    modalities: Sequence[Modality], answers: Sequence[ClipPredictions]
) -> dict[Modality, Scores]:
    """(clips,) scores of the heads for one modality each, mean over the seeds."""
    found = {
        m: [own for one in answers if (own := one.extras.get(f"score_{m}")) is not None]
        for m in modalities
    }
    means = {m: np.asarray(np.mean(scores, axis=0)) for m, scores in found.items() if scores}
    return {m: mean for m, mean in means.items() if mean.ndim == 1}  # of classes there is no score


def _notes(run: Run) -> list[Caution]:
    own = run.options.get("missing_rate", 0.0) or run.config.get("missing_rate", 0.0)
    if not own:
        return []
    text = f"Trained on clips with {own:.0%} of their frames missing; here nothing is taken away."
    return [Caution("note", text)]
