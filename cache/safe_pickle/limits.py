"""How much a file of others may ask for, and the error that says it asks for more."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ...errors import ManifestError


class PickleRefusedError(ManifestError):
    """A pickle, or a numpy file, that asks for more than plain data, or that is damaged."""

    code = 1


class RefusedError(Exception):
    """What is refused, in half a sentence; the reader adds the file's name and the way out."""


@contextmanager
def refusing(what: str, way_out: str) -> Iterator[None]:
    """Turn what is refused within into a PickleRefusedError: `what`, why, and the way out."""
    try:
        yield
    except RefusedError as fault:
        raise PickleRefusedError(f"{what}: {fault}. {way_out}") from None
    except MemoryError:
        raise PickleRefusedError(f"{what}: it needs more memory than there is.") from None


@dataclass(frozen=True)
class Limits:
    """Bounds on what one file can make of itself."""

    depth: int = 64
    """Containers within containers."""
    values: int = 20_000_000
    """Operations of a pickle: at least one a value."""
    memory: int = 200 * 10**6
    """Bytes that a file of any size may take; beyond them `ratio` times its own size."""
    ratio: int = 4

    def bytes_for(self, size: int) -> int:
        """What a file of `size` bytes may take in memory."""
        return self.memory + self.ratio * size


DEFAULT = Limits()


class Budget:
    """Bytes of memory that are left to a file while it is read."""

    __slots__ = ("_left", "_whole")

    def __init__(self, whole: int) -> None:
        self._left = self._whole = whole

    def charge(self, size: int) -> None:
        """Take `size` bytes; raises RefusedError where fewer are left."""
        self._left -= size
        if self._left < 0:
            raise self._spent()

    def weigh(self, size: int) -> None:
        """Raise RefusedError if `size` bytes alone are more than all there were."""
        if size > self._whole:
            raise self._spent()

    def _spent(self) -> RefusedError:
        return RefusedError(f"it would take more than {self._whole / 1e6:,.0f} MB of memory")


def shown(text: str) -> str:
    """A name out of a file, short and without signs that a terminal would obey.

    >>> shown("a\\x1b[31m")
    'a\\\\x1b[31m'
    """
    short = text if len(text) <= 60 else f"{text[:57]}..."
    return short if short.isprintable() else ascii(short)[1:-1]
