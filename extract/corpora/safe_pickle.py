"""Pickles from strangers, read without running anything that is in them."""

import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from ...cache.errors import ManifestError

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
_ARRAY_PARTS = {
    # numpy's own two functions, by whatever module this version of it keeps them in
    "_reconstruct": np.zeros(1).__reduce__()[0],
    "scalar": np.float32(1).__reduce__()[0],
}


class PickleRefusedError(ManifestError):
    """A pickle that asks for more than plain data, or that is none."""


class _PlainUnpickler(pickle.Unpickler):
    """Knows containers, text, numbers and numpy arrays of them; anything else is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _PLAIN:
            return _PLAIN[module, name]
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name in _ARRAY_PARTS:
            return _ARRAY_PARTS[name]
        if name == "_frombuffer" and module in ("numpy.core.numeric", "numpy._core.numeric"):
            return _from_buffer
        if (module, name) == ("_codecs", "encode"):
            return _latin  # how protocol 2 writes bytes
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> Any:
    """How protocol 5 writes arrays; numpy itself makes no arrays of objects in this way."""
    return np.frombuffer(data, dtype=dtype).reshape(shape, order=order)


def _latin(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"it asks for the codec {encoding!r}")
    return text.encode("latin-1")


def load_plain(path: Path) -> Any:
    """What the pickle at `path` holds, if that is containers, text, numbers and arrays of numbers.

    Nothing else is ever looked up, so no function that the file names can run. Raises
    PickleRefusedError naming the first thing refused, or what is wrong with the file. Text of
    Python 2 is read as UTF-8 where it is that, and else as Latin-1.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise PickleRefusedError(f"{path}: no such file. Check corpus.path.") from None
    for encoding in ("utf-8", "latin-1"):
        try:
            return _PlainUnpickler(io.BytesIO(data), encoding=encoding).load()
        except UnicodeDecodeError:
            continue
        except pickle.UnpicklingError as fault:
            raise PickleRefusedError(
                f"{path}: not a pickle of plain data: {fault}. Nothing of it was run; make sure "
                "that it is the published file."
            ) from None
        except (EOFError, AttributeError, ValueError, TypeError, IndexError, KeyError) as fault:
            raise PickleRefusedError(
                f"{path}: a damaged pickle ({type(fault).__name__}). Fetch the file again."
            ) from None
    raise PickleRefusedError(f"{path}: a damaged pickle (text of no known kind).")
