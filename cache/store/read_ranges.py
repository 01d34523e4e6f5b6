"""The hot path: byte ranges of many files, read by a few threads straight into one buffer."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import CorruptStoreError, StoreError
from .file_system import advise, read_at
from .sealed_json import REPAIR, unreadable

THREADS = min(4, max(2, os.cpu_count() or 1))
"""More than the cores gain nothing from a disk, and cost where the pages are in memory already."""
PIECE = 1 << 24
"""Longest single read in bytes: a longer range is worth several threads."""
TASK = 1 << 22
"""Bytes after which a thread takes new work."""

Longs = NDArray[np.int64]


class Stretches(NamedTuple):
    """Frames that lie next to each other, to be read one stretch after the other."""

    part: Longs
    begin: Longs
    """First frame within the part."""
    frames: Longs

    def between(self, first: int, last: int) -> "Stretches":
        """Those of the frames `first` to `last`, counted over all of them."""
        ends = np.cumsum(self.frames)
        begins = ends - self.frames
        kept = (ends > first) & (begins < last)
        skipped = np.maximum(first - begins[kept], 0)
        over = np.maximum(ends[kept] - last, 0)
        frames = self.frames[kept] - skipped - over
        return Stretches(self.part[kept], self.begin[kept] + skipped, frames)


def fill(
    buffer: NDArray[np.uint8], files: Sequence[Path], file: Longs, start: Longs, size: Longs
) -> None:
    """Fill `buffer` (bytes,) with byte ranges laid end to end.

    Range k is `size[k]` bytes of ``files[file[k]]`` from `start[k]`. Ranges that go on where the
    one before ended are read as one. Raises CorruptStoreError if a file ends early, StoreError if
    one is gone.
    """
    file, start, size = _merged(file, start, size)
    file, start, size = _split(file, start, size)
    target = np.cumsum(size) - size
    order = np.lexsort((start, file))  # disks like their requests in order
    file, start, size, target = file[order], start[order], size[order], target[order]
    view = buffer.data

    def read(first: int, last: int) -> None:
        path = files[file[first]]
        ranges = zip(
            start[first:last].tolist(),
            size[first:last].tolist(),
            target[first:last].tolist(),
            strict=True,
        )
        try:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except FileNotFoundError:
            raise StoreError(
                f"{path}: gone since the store was opened (converted, repaired?). Open it again; "
                "`sedimental extract` writes clips anew that are missing then."
            ) from None
        except OSError as fault:
            raise unreadable(path, fault) from fault
        try:
            if size[first:last].max() < PIECE:  # else the kernel reads on past the end of a layer
                advise(descriptor, 0, 0, "RANDOM")
            for at, length, to in ranges:
                done = read_at(descriptor, view[to : to + length], at)
                while done < length:
                    got = read_at(descriptor, view[to + done : to + length], at + done)
                    if not got:
                        raise CorruptStoreError(f"{path}: shorter than it was written. {REPAIR}")
                    done += got
        except OSError as fault:
            raise unreadable(path, fault) from fault
        finally:
            os.close(descriptor)

    tasks = _tasks(file, size)
    left = iter(tasks)

    def work() -> None:
        for first, last in left:  # a list's iterator gives each task to one thread
            read(first, last)

    helpers = min(THREADS, len(tasks)) - 1
    running = [_pool(os.getpid()).submit(work) for _ in range(helpers)]
    try:
        work()
    finally:  # nobody may write into the buffer once the caller has it, or has let it go
        wait(running)
    for helper in running:
        helper.result()


def read_range(file: Path, start: int, size: int) -> NDArray[np.uint8]:
    """`size` bytes of `file` from `start`; raises as `fill` does."""
    out = np.empty(size, np.uint8)
    one = np.zeros(1, np.int64)
    fill(out, [file], one, one + start, one + size)
    return out


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """One pool a process: a fork takes none of its parent's threads along."""
    return ThreadPoolExecutor(THREADS, thread_name_prefix="sedimental-read")


def _merged(file: Longs, start: Longs, size: Longs) -> tuple[Longs, Longs, Longs]:
    if not len(file):
        return file, start, size
    new = (file[1:] != file[:-1]) | (start[1:] != start[:-1] + size[:-1])
    first = np.flatnonzero(np.concatenate([[True], new]))
    return file[first], start[first], np.add.reduceat(size, first)


def _split(file: Longs, start: Longs, size: Longs) -> tuple[Longs, Longs, Longs]:
    pieces = -(-size // PIECE)
    rank = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    left = np.repeat(size, pieces) - rank * PIECE
    return (
        np.repeat(file, pieces),
        np.repeat(start, pieces) + rank * PIECE,
        np.minimum(left, PIECE),
    )


def _tasks(file: Longs, size: Longs) -> list[tuple[int, int]]:
    """Runs of ranges of one file each, of about TASK bytes."""
    share = (np.cumsum(size) - 1) // TASK
    new = (file[1:] != file[:-1]) | (share[1:] != share[:-1])
    bounds = [0, *(np.flatnonzero(new) + 1).tolist(), len(file)]
    return list(pairwise(bounds)) if len(file) else []


def bytes_of(array: NDArray[Any]) -> NDArray[np.uint8]:
    """The memory of a C-contiguous `array` as bytes."""
    return array.reshape(-1).view(np.uint8)
