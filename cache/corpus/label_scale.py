"""Whether labels were rated on a scale, by how much of it they fill."""

FILLED = 0.6
"""Share of a scale that labels reach on both sides of its middle if they were rated on it."""


def fills(lowest: float, highest: float, low: float, high: float) -> bool:
    """Whether labels from `lowest` to `highest` reach towards both ends of `low` to `high`.

    >>> fills(-2.6, 3, -3, 3), fills(-0.08, 0.86, -1, 1)
    (True, False)
    """
    middle, reach = (low + high) / 2, FILLED * (high - low) / 2
    return lowest <= middle - reach and highest >= middle + reach
