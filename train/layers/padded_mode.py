"""Within `padded_mode` padding is computed on too: `torch.func.vmap` needs shapes that no data
changes, and the plain padded models of the benchmark need the library's own kernels."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_PADDED: ContextVar[bool] = ContextVar("padded_mode", default=False)


@contextmanager
def padded_mode() -> Iterator[None]:
    """Within, no shape depends on data."""
    token = _PADDED.set(True)
    try:
        yield
    finally:
        _PADDED.reset(token)


def in_padded_mode() -> bool:
    """Whether this is within `padded_mode`."""
    return _PADDED.get()
