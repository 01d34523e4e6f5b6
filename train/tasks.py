"""What is predicted: a score a clip, or a class; its loss, and the field's numbers for it."""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ..evaluate.metrics import score, score_classes
from .data import Table

Distance = Literal["l1", "l2", "huber"]


def task_loss(prediction: Tensor, labels: Tensor, distance: Distance = "l1") -> Tensor:
    """Mean over the batch: `distance` of scores (batch,), cross-entropy of class numbers.

    Huber's bends at 1. Classes are known by integer `labels`, with logits (batch, classes).
    """
    if not labels.is_floating_point():
        return functional.cross_entropy(prediction, labels)
    if distance == "l2":
        return functional.mse_loss(prediction, labels)
    if distance == "huber":
        return functional.huber_loss(prediction, labels)
    return functional.l1_loss(prediction, labels)


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
