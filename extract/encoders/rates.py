"""Kept frames a second: only rates that the encoder's own frames can be cut into."""

from ...config import Features

NATIVE = 50.0
"""Frames a second of every speech network known here: one in 20 ms."""
TOLERANCE = 1e-3
"""How far a written rate may be from the exact one, relatively: 16.67 means 50 / 3."""


class RateError(ValueError):
    """A rate that would need parts of frames; names the nearest ones that do not."""


def hop(rate: float, native: float = NATIVE, window: int | None = None) -> int:
    """Native frames per kept frame; with `window`, the kept frames must also fill a window evenly.

    Raises RateError.

    >>> hop(5, 50), hop(50, 50), hop(16.667, 50)
    (10, 1, 3)
    >>> hop(12, 50)
    Traceback (most recent call last):
    sedimental.extract.encoders.rates.RateError: 12 does not divide the encoder's 50 frames a \
second. The nearest rates that do are 12.5 and 10.
    """
    exact = native / rate
    nearest = round(exact)
    if nearest and abs(exact - nearest) <= TOLERANCE * exact and _even(nearest, window):
        return nearest
    longest = window or int(exact) + 1
    hops = [n for n in range(1, longest + 1) if _even(n, window)]
    faster = max((n for n in hops if n <= exact), default=1)
    slower = min((n for n in hops if n >= exact), default=longest)
    names = " and ".join(f"{native / n:g}" for n in dict.fromkeys((faster, slower)))
    plural = "rates that do are" if faster != slower else "rate that does is"
    raise RateError(
        f"{rate:g} does not divide the encoder's {native:g} frames a second"
        f"{f' within its windows of {window}' if window else ''}. The nearest {plural} {names}."
    )


def _even(count: int, window: int | None) -> bool:
    return window is None or window % count == 0


def place(features: Features) -> str:
    """How an error names the table that asks for an encoder."""
    return f'[[features]] encoder "{features.encoder}"'
