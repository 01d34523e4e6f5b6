"""What went wrong in a run that ended without an error: said by `train` and in every report."""

from collections.abc import Iterator

import numpy as np

from ..runs import Run

LEAVES = 2.0
"""A loss above this many times that of the first epoch has left its range. Validation has to say
so too, whose loss is the task's own: that of training may gain terms as it goes, such as those of
generated labels."""


def run_warnings(run: Run) -> tuple[str, ...]:
    """Plain sentences about `run`; none where training went as it should."""
    return tuple(_warnings(run))


def _warnings(run: Run) -> Iterator[str]:
    labels, values = run.predictions.of("valid")
    train, _ = run.predictions.of("train")
    if labels.size and train.size and np.isfinite(values).all():
        if run.predictions.classes:
            commonest = float(np.bincount(train.astype(np.int64)).argmax())
            own, floor = float((values == labels).mean()), float((labels == commonest).mean())
            if own < floor:
                yield (
                    f"training ended worse than the commonest class: Accuracy {own:.4f} on "
                    f"validation, {floor:.4f} with one answer for every clip. {_remedy(run)}"
                )
        elif run.predictions.several is None or run.predictions.several.kind == "dimensions":
            own = float(np.abs(values - labels).mean())
            floor = float(np.abs(train.mean(axis=0) - labels).mean())
            if own > floor:
                yield (
                    f"training ended worse than the mean predictor: MAE {own:.4f} on validation, "
                    f"{floor:.4f} with the mean training label for every clip. {_remedy(run)}"
                )
    if run.history:
        first, seen = run.history[0].train_loss, run.history[0].valid_loss
        worst = max(run.history, key=lambda epoch: epoch.train_loss)
        left = any(epoch.valid_loss > LEAVES * seen for epoch in run.history)
        if worst.train_loss > LEAVES * first > 0 and left:
            yield (
                f"the training loss left the range of the first epoch: {worst.train_loss:.4g} in "
                f"epoch {worst.epoch}, {first:.4g} in the first. {_remedy(run)}"
            )
    if run.criterion.endswith("undefined in every epoch"):
        yield f"the epoch was chosen by {run.criterion}: all its predictions (or labels) are equal."


def _remedy(run: Run) -> str:
    rate = run.config.get("learning_rate")
    now = "" if rate is None else f" (now {rate:g})"
    if run.finetuned:
        return f"Try a lower learning_rate of the live input or of the model{now}."
    return f"Try another learning_rate{now}, or the model's own recipe."
