"""Losses of a prediction against its labels."""

from typing import Literal

from torch import Tensor
from torch.nn import functional

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
