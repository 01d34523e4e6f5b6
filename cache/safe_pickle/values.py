"""What stands on the reader's stack beside plain data, and the one pass that makes it plain."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

from .arrays import Order, dtype_of, objects_of
from .limits import Budget, Limits, RefusedError

WEIGHT = 16
"""Bytes that a value counts where a result is weighed as if nothing in it were shared."""
FEW = 16
"""Values in a container that is sooner looked at again, where it is shared, than remembered."""

_ESCAPES = re.compile(rb"\\(x[0-9a-fA-F]{2}|[\\'\"abfnrtv])")
_SIGNS = {
    ord(sign): code
    for sign, code in zip(b"\\'\"abfnrtv".decode(), b"\\'\"\a\b\f\n\r\t\v", strict=True)
}


class Raw:
    """Bytes that are text, or those of an array; only their use tells which."""

    __slots__ = ("raw",)

    def __init__(self, raw: bytes) -> None:
        self.raw = raw


class OldText(Raw):
    """A string of Python 2."""

    __slots__ = ()

    @property
    def text(self) -> str:
        """UTF-8 where it is that, else Latin-1."""
        try:
            return self.raw.decode("utf-8")
        except UnicodeDecodeError:
            return self.raw.decode("latin-1")


def quoted(line: bytes) -> OldText:
    """What a line of protocol 0 says between its quotes; ValueError where it has none.

    >>> quoted(b"'a\\\\x41\\\\n'").raw
    b'aA\\n'
    """
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in b"'\"":
        raise ValueError("a string without its quotes")
    return OldText(_ESCAPES.sub(_unescaped, line[1:-1]))


def _unescaped(match: re.Match[bytes]) -> bytes:
    said = match[1]
    return bytes([int(said[1:], 16) if said[:1] == b"x" else _SIGNS[said[0]]])


class LatinText(Raw):
    """A long text, kept as what it is in Latin-1: protocol 2 writes the bytes of arrays so, and the
    array takes them as they lie here."""

    __slots__ = ()

    def __sizeof__(self) -> int:
        return self.raw.__sizeof__()

    @property
    def text(self) -> str:
        """The text."""
        return self.raw.decode("latin-1")


class Global:
    """A name that the pickle may say; it stands for nothing that could run."""

    __slots__ = ("call", "name")

    def __init__(self, name: str, call: Callable[..., Any] | None) -> None:
        self.name, self.call = name, call


class DtypeSaid:
    """A numpy type as it is said: a code first, its byte order later."""

    __slots__ = ("_code", "dtype")

    def __init__(self, code: str) -> None:
        self._code, self.dtype = code, dtype_of(code)

    def build(self, state: Any) -> None:
        """Take the byte order from a type's state, and nothing else."""
        if type(state) is not tuple or len(state) < 5:
            raise RefusedError("it holds the state of a type that is none")
        order = text_of(state[1])
        if any(part is not None for part in state[2:5]) or order not in ("<", ">", "|", "="):
            raise RefusedError("it holds an array of records")
        if self.dtype.kind in "iufcU":
            self.dtype = dtype_of(self._code, "" if order == "|" else order)


class ArraySaid:
    """An array as it is said: empty first, its numbers or objects later."""

    __slots__ = ("array", "items", "order", "shape")

    def __init__(self) -> None:
        self.array: NDArray[Any] | None = None
        self.items: list[Any] | None = None
        self.shape: Sequence[int] = ()
        self.order: Order = "C"

    def put_numbers(self, array: NDArray[Any]) -> "ArraySaid":
        """Keep an array of numbers or text."""
        self.array = array
        return self

    def put_objects(self, items: list[Any], shape: Sequence[int], order: Order) -> None:
        """Keep a list of objects, which the pickle may still fill."""
        self.items, self.shape, self.order = items, shape, order


def text_of(value: Any) -> str | None:
    """The text of a string of any Python; None of anything else."""
    if type(value) is OldText:
        return value.text
    return value if type(value) is str else None


class Plain:
    """The pass over what was read: every value plain, nothing in itself, and not too large.

    Shared values are kept once, but weighed as often as they are met: whoever walks through the
    result has no more to do than the budget says.
    """

    def __init__(self, limits: Limits, budget: Budget) -> None:
        self._limits, self._budget = limits, budget
        self._done: dict[int, tuple[Any, int, int]] = {}
        self._seen: list[Any] = []  # alive, so that no id means two of them
        self._open: set[int] = set()

    def whole(self, value: Any) -> Any:
        """`value`, plain; raises RefusedError for what cannot be."""
        result, weight, _ = self._plain(value, 0)
        self._budget.weigh(weight)
        return result

    def _plain(self, value: Any, depth: int) -> tuple[Any, int, int]:
        """The value itself, its weight, and how many containers deep it is."""
        kind = type(value)
        if kind is str or kind is bytes:
            return value, WEIGHT + len(value), 0
        if kind is OldText or kind is LatinText:
            return value.text, WEIGHT + len(value.raw), 0
        if kind is DtypeSaid or kind is Global:
            raise RefusedError("it holds the name of a type where a value should be")
        if kind not in _CONTAINERS:
            return value, WEIGHT, 0
        if (kind is list or kind is tuple) and len(value) <= FEW and _is_plain(value):
            if depth >= self._limits.depth:
                raise RefusedError(f"it is nested more than {self._limits.depth} deep")
            return value, _weight(value), 1
        key = id(value)
        if (found := self._done.get(key)) is None:
            if key in self._open:
                raise RefusedError("it holds something that holds itself")
            if depth > self._limits.depth:
                raise RefusedError(f"it is nested more than {self._limits.depth} deep")
            self._open.add(key)
            found = self._container(value, depth)
            self._open.discard(key)
            self._done[key] = found
            self._seen.append(value)
        if depth + found[2] > self._limits.depth:
            raise RefusedError(f"it is nested more than {self._limits.depth} deep")
        return found

    def _container(self, value: Any, depth: int) -> tuple[Any, int, int]:
        kind = type(value)
        if kind is dict:
            values, weight, deep = self._each(value.values(), depth)
            if type(values) is list:
                value.update(zip(value, values, strict=True))
            weight += sum(len(name) for name in value if type(name) is str)
            return value, weight + WEIGHT * len(value), deep
        if kind is ArraySaid:
            if value.array is not None:
                return value.array, WEIGHT + int(value.array.nbytes), 0
            if value.items is None:
                raise RefusedError("it holds an array without its numbers")
            values, weight, deep = self._each(value.items, depth)
            return objects_of(values, value.shape, value.order), weight, deep
        values, weight, deep = self._each(value, depth)
        if values is value:
            return value, weight, deep
        if kind is tuple:
            return tuple(values), weight, deep
        if kind is list:
            value[:] = values
        return value, weight, deep

    def _each(self, values: Any, depth: int) -> tuple[Any, int, int]:
        """A list of the values, plain, or `values` itself if they all are; weight and depth."""
        if _is_plain(values):
            weight = _weight(values)
            self._budget.weigh(weight)
            return values, weight, 1
        found, weight, deep = [], WEIGHT, 0
        for value in values:
            kind = type(value)
            if kind is float or kind is int:
                found.append(value)
                weight += WEIGHT
                continue
            own, heavy, deeper = self._plain(value, depth + 1)
            found.append(own)
            weight, deep = weight + heavy, max(deep, deeper)
            self._budget.weigh(weight)
        return found, weight, deep + 1


def _is_plain(values: Any) -> bool:
    """Whether all of `values` may stay as they are: no container, nothing that stands for more."""
    return _PLAIN.issuperset(map(type, values))


def _weight(values: Any) -> int:
    """Of a container of such."""
    letters = sum(len(value) for value in values if type(value) in (str, bytes))
    return WEIGHT * (1 + len(values)) + letters


_PLAIN = frozenset({int, float, bool, complex, type(None), str, bytes})
_CONTAINERS = frozenset({dict, list, tuple, set, frozenset, ArraySaid})
