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
    labels, values = predictions.labels.tolist(), predictions.values.tolist()
    if (several := predictions.several) is not None:
        begins = (_LABEL, _ANSWER if several.kind == "dimensions" else _PROBABILITY)
        heads = [f"{begin}{name}" for begin in begins for name in several.names]
        rows = [[*label, *value] for label, value in zip(labels, values, strict=True)]
    else:
        heads = ["label", "prediction", *(f"{_PROBABILITY}{name}" for name in classes)]
        pairs = zip(labels, values, strict=True)
        rows = [[classes[int(n)] for n in pair] if classes else [*pair] for pair in pairs]
        if shares is not None:
            rows = [[*row, *own] for row, own in zip(rows, shares.tolist(), strict=True)]
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["id", "split", *heads])
    for clip, split, row in zip(predictions.ids, predictions.splits, rows, strict=True):
        table.writerow([clip, split, *row])
    return out.getvalue()


def read_predictions(text: str) -> Predictions:
    """What `predictions_text` wrote; raises as `read_history` does, and StopIteration."""
    with io.StringIO(text, newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    heads = list(reader.fieldnames or ())

    def numbers(columns: Sequence[str]) -> NDArray[np.float64]:
        cells = [[float(row[column]) for column in columns] for row in rows]
        return np.array(cells, np.float64).reshape(len(rows), len(columns))

    def column(name: str) -> NDArray[np.float64]:
        if not classes:
            return numbers([name])[:, 0]
        return np.array([classes.index(row[name]) for row in rows], np.float64)

    def beginning(begin: str) -> list[str]:
        return [head for head in heads if head.startswith(begin)]

    ids = tuple(row["id"] for row in rows)
    splits = tuple(next(s for s in SPLITS if s == row["split"]) for row in rows)
    shares = beginning(_PROBABILITY)
    if columns := beginning(_LABEL):
        several = Several(
            "emotions" if shares else "dimensions",
            tuple(head.removeprefix(_LABEL) for head in columns),
        )
        answers = numbers(shares or beginning(_ANSWER))
        return Predictions(ids, splits, numbers(columns), answers, several=several)
    classes = tuple(head.removeprefix(_PROBABILITY) for head in shares if rows)
    return Predictions(
        ids,
        splits,
        labels=column("label"),
        values=column("prediction"),
        classes=classes,
        probabilities=numbers(shares) if classes else None,
    )
