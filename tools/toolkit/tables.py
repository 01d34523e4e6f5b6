"""Tables of what `compare.py` has found: speed, and learning curves with a verdict."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHOWN = (1, 5, 10, 15)
"""Epochs whose MAE is shown."""


def tables(found: Mapping[str, Any]) -> str:
    """Markdown: seconds an epoch, then validation MAE by epoch; `found` by model."""
    speed = [
        "| model | clips | weights | scores differ by | reference, CPU s/epoch | ours | ratio |",
        "|---" * 7 + "|",
    ]
    head = [f"epoch {e}, {who}" for e in SHOWN for who in ("reference", "ours")]
    curves = [f"| model | seeds | {' | '.join(head)} | epochs within |", "|---" * 11 + "|"]
    for name, one in found.items():
        slow, quick = seconds(one["runs"], "reference"), seconds(one["runs"], "ours")
        speed.append(
            f"| `{name}` | {one['clips'][0]:,} | {one['weights']:,} | {one['apart']:.0e} "
            f"| {slow:.2f} | {quick:.2f} | {slow / quick:.1f} |"
        )
        theirs, ours = maes(one["runs"], "reference"), maes(one["runs"], "ours")
        cells = [_cell(side, e) for e in SHOWN for side in (theirs, ours)]
        inside = int(within(theirs, ours).sum())
        cells.append(f"{inside} of {theirs.shape[1]}")
        curves.append(f"| `{name}` | {len(theirs)} | {' | '.join(cells)} |")
    return "\n".join([*speed, "", *curves, ""])


def maes(runs: Sequence[Any], side: str) -> NDArray[np.float64]:
    """(seeds, epochs) validation MAE of the ``reference`` or ``ours``."""
    return np.array([[epoch["mae"] for epoch in one[side]] for one in runs])


def seconds(runs: Sequence[Any], side: str) -> float:
    """Median CPU seconds of an epoch, the first of each run left out where there are more."""
    return float(np.median([e["cpu"] for one in runs for e in one[side][1:] or one[side]]))


def within(theirs: NDArray[np.float64], ours: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(epochs,): whether the mean of our seeds lies between the reference's best and worst seed."""
    mean = ours.mean(axis=0)
    inside: NDArray[np.bool_] = (theirs.min(axis=0) <= mean) & (mean <= theirs.max(axis=0))
    return inside


def _cell(side: NDArray[np.float64], epoch: int) -> str:
    if epoch > side.shape[1]:
        return ""
    values = side[:, epoch - 1]
    return f"{values.mean():.3f} ± {values.std():.3f}"
