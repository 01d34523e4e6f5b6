"""history.csv and predictions.csv of a run folder: a line an epoch, a line a clip."""

import csv
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..spec import SPLITS, Several
from .run import Epoch, Predictions


def history_text(history: Sequence[Epoch]) -> str:
    """The text of history.csv."""
    names = list(history[0].valid) if history else []
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    plain = ["epoch", "train_loss", "valid_loss", "learning_rate", "seconds"]
    table.writerow([*plain, *(f"valid_{name}" for name in names)])
    for line in history:
        table.writerow([*(getattr(line, k) for k in plain), *(line.valid[n] for n in names)])
    return out.getvalue()


def read_history(text: str) -> tuple[Epoch, ...]:
    """What `history_text` wrote; raises ValueError, KeyError or TypeError for anything else."""
    with io.StringIO(text, newline="") as file:
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
_LABEL, _ANSWER = "label_", "prediction_"
"""Begin the columns of several labels a clip, one a dimension or emotion; an emotion is answered by
its probability."""


def predictions_text(predictions: Predictions) -> str:
    """The text of predictions.csv."""
    classes, shares = predictions.classes, predictions.probabilities
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    if (several := predictions.several) is not None:
        begins = (_LABEL, _ANSWER if several.kind == "dimensions" else _PROBABILITY)
        heads = [f"{begin}{name}" for begin in begins for name in several.names]
        table.writerow(["id", "split", *heads])
        numbers = np.hstack([predictions.labels, predictions.values]).tolist()
        for clip, split, row in zip(predictions.ids, predictions.splits, numbers, strict=True):
            table.writerow([clip, split, *row])
        return out.getvalue()
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


def read_predictions(text: str) -> Predictions:
    """What `predictions_text` wrote; raises as `read_history` does, and StopIteration."""
    with io.StringIO(text, newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    splits = [next(s for s in SPLITS if s == row["split"]) for row in rows]
    heads = list(reader.fieldnames or ())
    if names := tuple(head.removeprefix(_LABEL) for head in heads if head.startswith(_LABEL)):
        emotions = f"{_PROBABILITY}{names[0]}" in heads
        begin = _PROBABILITY if emotions else _ANSWER
        labels, values = (
            np.array([[float(row[f"{b}{n}"]) for n in names] for row in rows]).reshape(
                -1, len(names)
            )
            for b in (_LABEL, begin)
        )
        return Predictions(
            ids=tuple(row["id"] for row in rows),
            splits=tuple(splits),
            labels=labels,
            values=values,
            several=Several("emotions" if emotions else "dimensions", names),
        )
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
