"""Losses of a prediction against its labels."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Distance = Literal["l1", "l2", "huber", "ccc"]


def task_loss(prediction: Tensor, labels: Tensor, distance: Distance = "l1") -> Tensor:
    """Mean over the batch: `distance` of scores (batch, …), cross-entropy of class numbers.

    Huber's bends at 1; ``ccc`` is 1 - `concordance`, the mean over the columns of (batch, k).
    Classes are known by integer `labels`, with logits (batch, classes); emotions that are there or
    not by bool `labels` (batch, k), with logits of the same shape: the mean binary cross-entropy.
    """
    if labels.dtype == torch.bool:
        return functional.binary_cross_entropy_with_logits(prediction, labels.to(prediction.dtype))
    if not labels.is_floating_point():
        return functional.cross_entropy(prediction, labels)
    if distance == "l2":
        return functional.mse_loss(prediction, labels)
    if distance == "huber":
        return functional.huber_loss(prediction, labels)
    if distance == "ccc":
        return 1 - concordance(prediction, labels).mean()
    return functional.l1_loss(prediction, labels)


def concordance(x: Tensor, y: Tensor) -> Tensor:
    """Lin's concordance correlation coefficient over the batch, (batch, …) -> (…).

    2 cov(x, y) / (var x + var y + (mean x - mean y)^2) with population moments; of two equal
    constants it is 0 here, so that a batch of one clip has no gradient instead of none defined.
    """
    mx, my = x.mean(dim=0), y.mean(dim=0)
    covariance = ((x - mx) * (y - my)).mean(dim=0)
    spread = ((x - mx) ** 2).mean(dim=0) + ((y - my) ** 2).mean(dim=0) + (mx - my) ** 2
    return 2 * covariance / spread.clamp(min=torch.finfo(spread.dtype).tiny)


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
        known_here = there.view(-1, *[1] * (labels.dim() - 1))
        reached = torch.where(known_here, prediction, labels)  # at no distance
        loss = task_loss(reached, labels, distance)
    else:
        if labels.dtype == torch.bool:
            truth = labels.to(prediction.dtype)
            both = functional.binary_cross_entropy_with_logits(prediction, truth, reduction="none")
            each = both.mean(dim=1)
        else:
            each = functional.cross_entropy(prediction, labels, reduction="none")
        loss = (each * there).mean()
    clips, known = total(torch.stack([torch.ones_like(there), there]).sum(dim=1))
    scaled: Tensor = loss * clips / known.clamp(min=1)
    return scaled
