"""What is predicted: scores or classes of a clip; their loss, and the field's numbers for them."""

import numpy as np
import torch
from numpy.typing import NDArray

from ...evaluate.metrics import Scheme, score
from ..data.dataset import Table
from ..layers.losses import Distance, task_loss


def loss_of(
    answers: NDArray[np.float64], rows: NDArray[np.int64], table: Table, distance: Distance
) -> float:
    """`task_loss` of many clips at once, in float64, as training has it; `answers` are of the
    table's `rows`, in the form that `loop.predict` gives."""
    learned = torch.from_numpy(table.scaled(answers))
    return float(task_loss(learned, torch.from_numpy(table.learned[rows]), distance))


def said(answers: NDArray[np.float64], table: Table) -> NDArray[np.float64]:
    """Logits as what is scored: class numbers (clips,), probabilities of emotions (clips, names);
    scores are that already."""
    if table.classes:
        return np.asarray(answers.argmax(axis=1), np.float64)
    if table.several is not None and table.several.kind == "emotions":
        return np.asarray(0.5 * (1 + np.tanh(0.5 * answers)))  # the sigmoid, without overflow
    return answers


def metrics_of(
    answers: NDArray[np.float64], labels: NDArray[np.float64], table: Table, protocol: str
) -> dict[str, float]:
    """The numbers of `protocol` for scores, those of the table's classes or columns for logits."""
    scheme: Scheme = table.classes or table.several or protocol
    return score(labels, said(answers, table), scheme)
