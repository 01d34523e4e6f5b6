"""Losses of a prediction against its labels."""

from collections.abc import Callable
from typing import Literal

import torch
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


def loss_where(
    there: Tensor,
    prediction: Tensor,
    labels: Tensor,
    distance: Distance,
    total: Callable[[Tensor], Tensor],
) -> Tensor:
    """`task_loss` over the clips that are `there` (batch,) bool, 0 where none is.

    `total` sums over the processes that share the batch. The device is not asked how many are.
    """
    if labels.is_floating_point():
        reached = torch.where(there, prediction, labels)  # at no distance
        loss = task_loss(reached, labels, distance)
    else:
        each = functional.cross_entropy(prediction, labels, reduction="none")
        loss = (each * there).mean()
    clips, known = total(torch.stack([torch.ones_like(there), there]).sum(dim=1))
    scaled: Tensor = loss * clips / known.clamp(min=1)
    return scaled
