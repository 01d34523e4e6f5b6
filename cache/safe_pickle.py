"""Pickles from strangers, read without running anything that is in them."""

import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ManifestError

_PLAIN: dict[tuple[str, str], Any] = {
    (module, name): kind
    for module in ("builtins", "__builtin__")  # the second is what Python 2 wrote
    for name, kind in {
        "set": set,
        "frozenset": frozenset,
        "list": list,
        "tuple": tuple,
        "dict": dict,
        "str": str,
        "unicode": str,
        "bytes": bytes,
        "int": int,
        "long": int,
        "float": float,
        "complex": complex,
        "bool": bool,
    }.items()
}
_PLAIN[("collections", "OrderedDict")] = OrderedDict
_NUMBERS = re.compile(r"[|<>=]?([biufcSUa]\d+|O\d*|\?)")
"""Codes of numpy types that are numbers, text or objects; no records, no times."""


class PickleRefusedError(ManifestError):
    """A pickle that asks for more than plain data, or that is none."""

    code = 1


class _Function:
    """A function a pickle may call, and not change, as its BUILD could a plain one's defaults."""

    __slots__ = ("_run",)

    def __init__(self, run: Callable[..., Any]) -> None:
        self._run = run

    def __call__(self, *given: Any) -> Any:
        return self._run(*given)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it changes a function")


class _Kind:
    """A numpy type by its code and byte order alone.

    numpy would also take flags from the file, and those can make it read bytes as addresses.
    """

    __slots__ = ("_code", "_order")

    def __init__(self, code: Any, *_: Any) -> None:
        self._code = str(code)
        self._order: Any = "="
        if not _NUMBERS.fullmatch(self._code):
            raise pickle.UnpicklingError(f"it holds an array of {self._code}")

    def __setstate__(self, state: Any) -> None:
        _, order, within, names, *_ = state
        if within is not None or names is not None or order not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError("it holds an array of records")
        self._order = order

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type itself, made anew; objects have one size, whatever machine wrote them."""
        code = self._code.lstrip("|<>=")
        code = "O" if code.startswith("O") else code.replace("a", "S")
        return np.dtype(code).newbyteorder(self._order)


class _Array(np.ndarray[Any, Any]):
    """An array whose type, shape and bytes are looked at before numpy is given them."""

    def __setstate__(self, state: Any) -> None:
        *_, shape, kind, columns_first, data = state
        dtype = kind.dtype
        if isinstance(data, list) != (dtype.kind == "O"):
            raise pickle.UnpicklingError("it holds bytes where objects should be")
        checked: Any = (1, shape, dtype, bool(columns_first), data)
        super().__setstate__(checked)


def _blank(*_: Any) -> _Array:
    return np.ndarray.__new__(_Array, (0,), "b")


def _from_buffer(data: Any, kind: Any, shape: Any, order: Any) -> NDArray[Any]:
    """How protocol 5 writes arrays; numpy itself makes no arrays of objects in this way."""
    return np.frombuffer(data, dtype=kind.dtype).reshape(shape, order=order)


def _number(kind: Any, data: Any) -> Any:
    """One numpy scalar."""
    raw = data.encode("latin-1") if isinstance(data, str) else data
    return np.frombuffer(raw, dtype=kind.dtype, count=1)[0]


def _latin(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"it asks for the codec {encoding!r}")
    return text.encode("latin-1")


_CODECS = {("_codecs", "encode"): _Function(_latin)}  # how protocol 2 writes bytes
_NUMPY: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): "ndarray",  # only ever named to `_reconstruct`, which knows it
    ("numpy", "dtype"): _Function(_Kind),
} | {
    (f"numpy.{core}.{module}", name): _Function(run)
    for core in ("core", "_core")  # numpy 1, numpy 2
    for module, name, run in (
        ("multiarray", "_reconstruct", _blank),
        ("multiarray", "scalar", _number),
        ("numeric", "_frombuffer", _from_buffer),
    )
}
_KNOWN = _PLAIN | _CODECS | _NUMPY


class _PlainUnpickler(pickle.Unpickler):
    """Knows containers, text, numbers and numpy arrays of them; anything else is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _KNOWN[module, name]


def load_plain(path: Path) -> Any:
    """What the pickle at `path` holds, if that is containers, text, numbers and arrays of them.

    Nothing else is ever looked up, so no function that the file names can run. Raises
    PickleRefusedError naming the first thing refused, or what is wrong with the file. Text of
    Python 2 is read as UTF-8 where it is that, and else as Latin-1. Arrays hold the very bytes
    that were read: a large file is in memory once.
    """
    if not path.is_file():
        raise PickleRefusedError(f"{path}: no such file. Check the path.")
    return read_plain(lambda: path.open("rb"), str(path))


def read_plain(opened: Callable[[], IO[bytes]], name: str) -> Any:
    """The same of any file: `opened` opens it, perhaps twice, and `name` says it in errors."""
    wrong: Exception | None = None
    for encoding in ("utf-8", "latin-1"):
        try:
            with opened() as file:
                return _PlainUnpickler(file, encoding=encoding).load()
        except pickle.UnpicklingError as fault:
            raise PickleRefusedError(
                f"{name}: not a pickle of plain data: {fault}. Nothing of it was run; make sure "
                "that it is the published file."
            ) from None
        except ValueError as fault:  # also bytes of Python 2 that are no UTF-8
            wrong = fault
        except (EOFError, AttributeError, TypeError, IndexError, KeyError) as fault:
            wrong = fault
            break
    raise PickleRefusedError(
        f"{name}: a damaged pickle ({type(wrong).__name__}). Fetch the file again."
    )
