"""A part as one HDF5 file of contiguous datasets, so that every array has a byte offset.

h5py lays the file out; the bytes of the arrays go the same way as for every format. HDF5 checks
nothing of its own structure, so a block in front of it (HDF5's "user block") says in plain JSON
where the arrays lie and seals every byte that belongs to none of them.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ....errors import CorruptStoreError
from ..sealed_json import REPAIR, dump, seal, unreadable, unseal
from .part import Array, Head, Place

SUFFIX = ".h5"
DATASET = "sedimental"
"""A string: the part's description as JSON."""
BLOCK = 4096
"""Bytes before the HDF5 superblock; the format allows powers of two from 512."""


def allocate(path: Path, arrays: Mapping[str, Array]) -> Mapping[str, Place]:
    """Make the file with room for `arrays`, whose values are not yet written."""
    import h5py
    import numpy as np

    # the earliest version of the format: its structure is flushed with the file and can be reopened
    with h5py.File(path, "w", libver="earliest", userblock_size=BLOCK) as file:
        layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        layout.set_layout(h5py.h5d.CONTIGUOUS)
        layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        layout.set_obj_track_times(False)
        places = {}
        for name, array in arrays.items():
            kind = h5py.h5t.py_create(np.dtype(array.dtype), logical=True)
            space = h5py.h5s.create_simple(array.shape)
            dataset = h5py.h5d.create(file.id, name.encode(), kind, space, layout)
            places[name] = Place("", dataset.get_offset())
    return places


def seal_part(path: Path, head: Head) -> None:
    """Add the description and the sealed block, which make the file a part."""
    import h5py

    text = dump(seal("part", head.to_json()))
    with h5py.File(path, "r+", libver="earliest") as file:
        kind = h5py.string_dtype("ascii", len(text))
        file.create_dataset(DATASET, data=text, dtype=kind, track_times=False)
        ranges = {name: (file[name].id.get_offset(), a.nbytes) for name, a in head.arrays.items()}
        ranges[DATASET] = (file[DATASET].id.get_offset(), len(text))
    with path.open("r+b") as file:
        file.write(_block(path, ranges, _digest(path, ranges)))


def read_head(path: Path) -> tuple[Head, Mapping[str, Place]]:
    """The description, after every byte that belongs to no array was checked."""
    try:
        with path.open("rb") as file:
            block = file.read(BLOCK)
            body = unseal("block", json.loads(block), path)
            ranges = {name: (int(at), int(size)) for name, (at, size) in body["ranges"].items()}
            if block != _block(path, ranges, body["digest"]) or body["digest"] != _digest(
                path, ranges
            ):
                raise ValueError("its structure is not what was written")
            file.seek(ranges[DATASET][0])
            text = file.read(ranges[DATASET][1])
        head = Head.from_json(unseal("part", json.loads(text), path))
    except (ValueError, KeyError, TypeError, RecursionError) as fault:
        raise CorruptStoreError(f"{path}: not a part in HDF5 ({fault}). {REPAIR}") from None
    except OSError as fault:
        raise unreadable(path, fault) from fault
    return head, {name: Place("", ranges[name][0]) for name in head.arrays}


def faults(path: Path) -> Sequence[str]:
    """Nothing more than `read_head` finds: it looks at all bytes that belong to no array."""
    read_head(path)
    return []


def _block(path: Path, ranges: Mapping[str, tuple[int, int]], digest: str) -> bytes:
    text = dump(seal("block", {"ranges": ranges, "digest": digest}))
    if len(text) >= BLOCK:
        raise ValueError(f"{path}: too many arrays for one part")
    return text.ljust(BLOCK - 1) + b"\n"


def _digest(path: Path, ranges: Mapping[str, tuple[int, int]]) -> str:
    """blake2b of all after the block that belongs to no array."""
    seen = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        file.seek(BLOCK)
        for name, (start, size) in sorted(ranges.items(), key=lambda item: item[1]):
            if name != DATASET:
                seen.update(file.read(max(0, start - file.tell())))
                file.seek(start + size)
        seen.update(file.read())
    return seen.hexdigest()
