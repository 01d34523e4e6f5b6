"""One BLAS thread a Python thread: on a busy machine two of each are ten times slower than one."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

_NAMES = (
    "scipy_openblas_{}_num_threads64_",  # in numpy's own wheels
    "openblas_{}_num_threads64_",
    "openblas_{}_num_threads",
)


@contextmanager
def single_threaded() -> Iterator[None]:
    """Numpy's OpenBLAS on one thread within, as before afterwards; any other BLAS as it is."""
    found = _controls()
    if found is None:
        yield
        return
    get, put = found
    before = get()
    put(1)
    try:
        yield
    finally:
        put(before)


def _controls() -> tuple[Callable[[], int], Callable[[int], Any]] | None:
    try:
        # a symbol is looked up in the extension and all libraries it needs, BLAS among them
        library = ctypes.CDLL(np.linalg._umath_linalg.__file__)
    except (AttributeError, OSError):
        return None
    for name in _NAMES:
        try:
            return library[name.format("get")], library[name.format("set")]
        except AttributeError:
            continue
    return None
