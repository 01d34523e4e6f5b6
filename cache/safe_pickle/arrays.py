"""Arrays as files describe them, and the numpy arrays made of that once everything fits.

numpy is given nothing that a file says: the type is made from a letter and a size that were looked
up here, the shape is compared with the number of bytes, and the bytes are exact.
"""

import math
import re
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .limits import RefusedError, shown

SIZES = {
    "b": (1,),
    "i": (1, 2, 4, 8),
    "u": (1, 2, 4, 8),
    "f": (2, 4, 8),
    "c": (8, 16),
    "O": (4, 8),
}
"""Bytes of a number by its letter; ``b1`` is bool, objects have the size of an address."""
LONGEST_TEXT = 10**6
MOST_AXES = 32
MOST_EMPTY = 10**6
"""Rows that an array without a single number may claim to have."""
_CODE = re.compile(r"([|<>=]?)(?:([biufcOSUa])(\d{1,7})|(\?|O))")

Order = Literal["C", "F"]


def dtype_of(code: str, order: str = "") -> np.dtype[Any]:
    """The numpy type of a code such as ``f4`` or ``<U12``; raises RefusedError for any other.

    >>> dtype_of("f4", ">"), dtype_of("|S3"), dtype_of("O8")
    (dtype('>f4'), dtype('S3'), dtype('O'))
    """
    match = _CODE.fullmatch(code)
    if match is None:
        raise RefusedError(f"it holds an array of {shown(code)}")
    own, letter, digits, whole = match.groups()
    if whole or letter == "O":
        return np.dtype("?" if whole == "?" else "O")
    letter, size = ("S" if letter == "a" else letter), int(digits)
    fits = 0 < size <= LONGEST_TEXT if letter in "SU" else size in SIZES[letter]
    if not fits:
        raise RefusedError(f"it holds an array of {shown(code)}")
    return np.dtype(f"{order or own or '='}{letter}{size}")


def numbers_of(
    data: bytes,
    dtype: np.dtype[Any],
    shape: Sequence[int],
    order: Order = "C",
    axes: Sequence[int] | None = None,
) -> NDArray[Any]:
    """The array of `shape` in `data`, which it keeps; raises RefusedError unless all of it fits."""
    if dtype.hasobject:
        raise RefusedError("it holds bytes where objects should be")
    count = count_of(shape)
    if len(data) != count * dtype.itemsize:
        raise RefusedError(
            f"it holds {len(data)} bytes where an array {tuple(shape)} of {dtype.name} has "
            f"{count * dtype.itemsize}"
        )
    flat = np.frombuffer(data, dtype) if count else np.empty(0, dtype)
    check_content(flat)
    array = flat.reshape(tuple(shape), order=order)
    if axes is None:
        return array
    if sorted(axes) != list(range(array.ndim)):
        raise RefusedError("it holds an array whose axes are no order")
    return array.transpose(tuple(axes))


def check_content(flat: NDArray[Any]) -> None:
    """Raise RefusedError for bytes that are no value of their type: text, truth values."""
    if flat.dtype.kind == "U" and len(flat):
        points = flat.view(np.dtype(np.uint32).newbyteorder(flat.dtype.byteorder))
        if points.max() > 0x10FFFF:
            raise RefusedError("it holds text that is none")
    if flat.dtype.kind == "b" and len(flat) and flat.view(np.uint8).max() > 1:
        raise RefusedError("it holds truth values that are neither true nor false")


def objects_of(values: Sequence[Any], shape: Sequence[int], order: Order = "C") -> NDArray[Any]:
    """The array of objects of `shape` that holds `values`, of which there must be as many."""
    if len(values) != count_of(shape):
        raise RefusedError(f"it holds {len(values)} objects where {tuple(shape)} should be")
    return np.fromiter(values, object, len(values)).reshape(tuple(shape), order=order)


def count_of(shape: Sequence[int]) -> int:
    """How many values an array of `shape` has; raises RefusedError if it is no shape."""
    if len(shape) > MOST_AXES or any(type(n) is not int or n < 0 for n in shape):
        raise RefusedError("it holds an array whose shape is none")
    count = math.prod(shape)
    if not count and any(n > MOST_EMPTY for n in shape):
        raise RefusedError(f"it holds an empty array of the shape {tuple(shape)}")
    return count
