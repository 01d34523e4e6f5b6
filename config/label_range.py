"""A range of labels as a protocol's name: `1..5`, or with the edges of its classes given."""

import math
import re
from dataclasses import dataclass

PARTS = 5
"""Equal parts of the range, where no edges are given."""
_NUMBER = r"[-+]?\d+(?:\.\d+)?"
_FORM = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(?: at ({_NUMBER}(?:, ?{_NUMBER})*))?")


@dataclass(frozen=True)
class LabelRange:
    """Labels from `low` to `high`, cut into classes at `edges`."""

    low: float
    high: float
    edges: tuple[float, ...]
    """Rising; a class ends with its upper edge."""

    @property
    def middle(self) -> float:
        """What parts the two classes of Acc-2: the middle edge, or the middle of the range."""
        count = len(self.edges)
        return self.edges[count // 2] if count % 2 else (self.low + self.high) / 2


def label_range(protocol: str) -> LabelRange | None:
    """What a protocol's name says of labels; None for a name that is no range.

    Raises ValueError for a range that is none.

    >>> label_range("1..5")
    LabelRange(low=1.0, high=5.0, edges=(1.8, 2.6, 3.4, 4.2))
    >>> label_range("0..1 at 0.4, 0.6").middle, label_range("mosi")
    (0.5, None)
    """
    found = _FORM.fullmatch(protocol.strip())
    if found is None:
        return None
    low, high = float(found[1]), float(found[2])
    step = (high - low) / PARTS
    given = [float(one) for one in (found[3] or "").split(",") if one.strip()]
    edges = given or [round(low + step * part, 12) for part in range(1, PARTS)]
    ends = [low, *edges, high]
    if any(not math.isfinite(one) for one in ends) or sorted(set(ends)) != ends:
        raise ValueError(
            f'"{protocol}": its numbers should rise from the lowest label to the highest.'
        )
    return LabelRange(low, high, tuple(edges))
