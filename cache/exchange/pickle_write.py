"""Pickles that any numpy from 1.20 on can load: its functions go by the names they had before 2."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

PROTOCOL = 4
NEW, OLD = "numpy._core.", "numpy.core."


class _Pickler(pickle._Pickler):
    """Python's own, in Python, where it says a name.

    numpy 2 still answers to the old names, numpy 1 never to the new ones.
    """

    def save_global(self, obj: Any, name: Any = None) -> None:
        module = str(getattr(obj, "__module__", ""))
        own: Any = self  # its methods have no types
        base: Any = super()
        if module.startswith(NEW):
            own.save(OLD + module.removeprefix(NEW))
            own.save(obj.__qualname__)
            own.write(pickle.STACK_GLOBAL)
            own.memoize(obj)
        else:
            base.save_global(obj, name)


def write_pickle(file: IO[bytes], value: Any) -> None:
    """Write `value`, of builtins and numpy arrays, as a pickle of protocol 4."""
    _Pickler(file, PROTOCOL).dump(value)


def write_object_npz(path: Path, values: Mapping[str, Any]) -> None:
    """Write a .npz of one object a member, as ``np.savez(path, name=value)`` does."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in values.items():
            array = np.empty((), object)
            array[()] = value
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                head = {"descr": "|O", "fortran_order": False, "shape": ()}
                npy.write_array_header_1_0(file, head)
                write_pickle(file, array)
