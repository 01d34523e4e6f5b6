"""What is predicted: a score a clip, or a class; its loss, and the field's numbers for it."""

import numpy as np
import torch
from numpy.typing import NDArray

from ...evaluate.metrics import score, score_classes
from ..data.dataset import Table
from ..layers.losses import Distance, task_loss


def loss_of(answers: NDArray[np.float64], labels: NDArray[np.float64], distance: Distance) -> float:
    """`task_loss` of many clips at once, in float64; answers of two axes are logits of classes."""
    truth = torch.from_numpy(labels)
    if answers.ndim == 2:
        truth = truth.long()
    return float(task_loss(torch.from_numpy(answers), truth, distance))


def metrics_of(
    answers: NDArray[np.float64], labels: NDArray[np.float64], table: Table, protocol: str
) -> dict[str, float]:
    """The numbers of `protocol` for scores, those of the table's classes for logits."""
    if answers.ndim == 2:
        return score_classes(labels, answers.argmax(axis=1), table.classes)
    return score(labels, answers, protocol)
