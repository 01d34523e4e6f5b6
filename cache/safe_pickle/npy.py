"""numpy's own files: .npy and .npz, every size compared with the file before memory is taken.

The head of a .npy is matched, not evaluated. Arrays of objects are pickles inside, and are read as
those are.
"""

import io
import os
import re
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .arrays import check_content, count_of, dtype_of
from .limits import DEFAULT, Limits, PickleRefusedError, RefusedError, refusing, shown
from .load import read_plain

MAGIC = b"\x93NUMPY"
LONGEST_HEAD = 1 << 14
MOST_MEMBERS = 100_000
_HEAD = re.compile(
    r"\{\s*'descr':\s*'([^']{1,16})',\s*'fortran_order':\s*(True|False),\s*"
    r"'shape':\s*\(((?:\s*\d{1,18}L?\s*(?:,|(?=\))))*\s*)\),?\s*\}\s*"
)
_ZIP_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,  # a compression that is not known
    RuntimeError,  # encrypted
    EOFError,
    ValueError,
    KeyError,
    OverflowError,
)


def load_npy(path: Path, limits: Limits = DEFAULT) -> NDArray[Any]:
    """The array in a .npy; raises PickleRefusedError for what is none, or is cut short."""
    try:
        with path.open("rb") as file:
            return read_npy(file, str(path), os.fstat(file.fileno()).st_size, limits)
    except OSError as fault:
        raise PickleRefusedError(f"{path}: cannot be read: {fault.strerror}.") from None


def read_npy(file: IO[bytes], name: str, size: int, limits: Limits = DEFAULT) -> NDArray[Any]:
    """The same of an open file of `size` bytes."""
    with refusing(f"{name}: not an array that can be read", "Fetch the file again."):
        dtype, columns_first, shape, head = _head(file)
        if dtype.hasobject:
            found = read_plain(file, name, size - head, limits)
            if not isinstance(found, np.ndarray) or found.shape != shape:
                raise RefusedError("it does not hold the array that its head says")
            return found
        return _numbers(file, dtype, columns_first, shape, size - head)


def _head(file: IO[bytes]) -> tuple[np.dtype[Any], bool, tuple[int, ...], int]:
    """Type, order and shape of the array that follows, and how long the head is."""
    start = file.read(8)
    if not start.startswith(MAGIC) or len(start) < 8:
        raise RefusedError("it does not begin as a .npy does" if start else "it is empty")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(file.read(width), "little")
    head = file.read(min(length, LONGEST_HEAD))
    match = _HEAD.fullmatch(head.decode("latin-1"))
    if length > LONGEST_HEAD or len(head) != length or match is None:
        raise RefusedError("its head is not that of one plain array")
    descr, columns_first, axes = match.groups()
    shape = tuple(int(n.strip().removesuffix("L")) for n in axes.split(",") if n.strip())
    return dtype_of(descr), columns_first == "True", shape, 8 + width + length


def _numbers(
    file: IO[bytes], dtype: np.dtype[Any], columns_first: bool, shape: tuple[int, ...], left: int
) -> NDArray[Any]:
    count = count_of(shape)
    needed = count * dtype.itemsize
    if needed != left:
        raise RefusedError(f"an array {shape} of {dtype.name} has {needed} bytes, here are {left}")
    flat = np.empty(count, dtype)
    raw, done = flat.view(np.uint8), 0
    while done < needed:
        piece = file.read(min(needed - done, 1 << 24))
        if not piece:
            raise RefusedError("it is cut short")
        raw[done : done + len(piece)] = np.frombuffer(piece, np.uint8)
        done += len(piece)
    check_content(flat)
    flat.flags.writeable = False
    return flat.reshape(shape, order="F" if columns_first else "C")


def load_npz(path: Path, limits: Limits = DEFAULT) -> dict[str, NDArray[Any]]:
    """The arrays in a .npz, by name; raises PickleRefusedError naming the member that is none.

    What the members say they hold together must fit into the memory that a file of this size may
    take, so that no small archive fills it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if m.filename.endswith(".npy")]
            size = path.stat().st_size
            room = limits.bytes_for(size)
            whole = sum(member.file_size for member in members)
            if len(members) > MOST_MEMBERS or whole > room:
                raise PickleRefusedError(
                    f"{path}: unpacks to {whole / 1e6:,.0f} MB, from {size / 1e6:,.0f} MB; "
                    "that is more than features do. Nothing of it was read."
                )
            return {m.filename.removesuffix(".npy"): _member(archive, m, path) for m in members}
    except OSError as fault:
        raise PickleRefusedError(f"{path}: cannot be read: {fault.strerror}.") from None
    except _ZIP_FAULTS as fault:
        raise PickleRefusedError(
            f"{path}: a damaged .npz ({type(fault).__name__}). Fetch the file again."
        ) from None


def torch_file(path: Path) -> bool:
    """Whether an archive is one of torch.save; of a damaged one False."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist()[:100])
    except (OSError, *_ZIP_FAULTS):
        return False


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> NDArray[Any]:
    name = f"{path}, {shown(member.filename)}"
    with archive.open(member) as file:
        data = file.read(member.file_size)
    if len(data) != member.file_size:
        raise PickleRefusedError(f"{name}: is cut short. Fetch the file again.")
    return read_npy(io.BytesIO(data), name, len(data))
