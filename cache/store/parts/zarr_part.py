"""A part as a Zarr v3 group: an uncompressed array a folder, the hidden states one shard file.

The shard holds an inner chunk a layer, end to end, then the index that Zarr wants: (offset, length)
of each chunk and a CRC-32C. All but the arrays' own bytes follows from the part's `Head`.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import google_crc32c

from ....errors import CorruptStoreError
from ..sealed_json import REPAIR, dump, seal, unreadable, unseal
from .part import HIDDEN, Array, Head, Place

SUFFIX = ""
ATTRIBUTE = "sedimental"
_FILL: Mapping[str, object] = {"f": "NaN", "b": False}
"""A chunk that is missing must not read as zeros; only floats can say so."""


def allocate(path: Path, arrays: Mapping[str, Array]) -> Mapping[str, Place]:
    """Make the group's folder with all metadata and files of `arrays` but for their values."""
    for name, array in arrays.items():
        folder = path / name
        folder.mkdir(parents=True)
        (folder / "zarr.json").write_bytes(_array_metadata(name, array))
        with (path / _places(arrays)[name].file).open("wb") as file:
            file.seek(array.nbytes)
            file.write(_index(name, array))
    return _places(arrays)


def seal_part(path: Path, head: Head) -> None:
    """Write the group's metadata, which makes the folder a part."""
    (path / "zarr.json").write_bytes(_group_metadata(head))


def read_head(path: Path) -> tuple[Head, Mapping[str, Place]]:
    """The group's attributes, checked against their digest."""
    file = path / "zarr.json"
    try:
        document = json.loads(file.read_bytes())
        head = Head.from_json(unseal("part", document["attributes"][ATTRIBUTE], file))
    except (
        ValueError,
        KeyError,
        TypeError,
        RecursionError,
        FileNotFoundError,
        NotADirectoryError,
    ) as fault:
        raise CorruptStoreError(f"{file}: not the metadata of a part ({fault}). {REPAIR}") from None
    except OSError as fault:
        raise unreadable(file, fault) from fault
    return head, _places(head.arrays)


def faults(path: Path) -> Sequence[str]:
    """Metadata and index files whose bytes are not what the part's head makes them."""
    head, places = read_head(path)
    try:
        return _faults(path, head, places)
    except OSError as fault:
        raise unreadable(path, fault) from fault


def _faults(path: Path, head: Head, places: Mapping[str, Place]) -> Sequence[str]:
    found = []
    expected = {"zarr.json": _group_metadata(head)}
    for name, array in head.arrays.items():
        expected[f"{name}/zarr.json"] = _array_metadata(name, array)
    for file, text in expected.items():
        if not (path / file).is_file() or (path / file).read_bytes() != text:
            found.append(f"{file}: metadata differ from what was written")
    for name, array in head.arrays.items():
        file = places[name].file
        size = (path / file).stat().st_size if (path / file).is_file() else -1
        if size != array.nbytes + len(_index(name, array)):
            found.append(f"{file}: {'missing' if size < 0 else 'wrong length'}")
        elif index := _index(name, array):
            with (path / file).open("rb") as shard:
                shard.seek(array.nbytes)
                if shard.read() != index:
                    found.append(f"{file}: the shard's index differs from what was written")
    return found


def _places(arrays: Mapping[str, Array]) -> Mapping[str, Place]:
    return {n: Place(f"{n}/c{'.0' * len(a.shape)}", 0) for n, a in arrays.items()}


def _group_metadata(head: Head) -> bytes:
    attributes = {ATTRIBUTE: seal("part", head.to_json())}
    return dump({"zarr_format": 3, "node_type": "group", "attributes": attributes})


def _array_metadata(name: str, array: Array) -> bytes:
    little: dict[str, Any] = {"name": "bytes", "configuration": {"endian": "little"}}
    codec = little
    if name == HIDDEN:
        codec = {
            "name": "sharding_indexed",
            "configuration": {
                "chunk_shape": [1, *array.shape[1:]],
                "codecs": [little],
                "index_codecs": [little, {"name": "crc32c"}],
                "index_location": "end",
            },
        }
    metadata = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": array.shape,
        "data_type": array.dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": array.shape}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": _FILL.get(array.dtype[0], 0),
        "codecs": [codec],
        "attributes": {},
    }
    return dump(metadata)


def _index(name: str, array: Array) -> bytes:
    """What follows an array's values in its file: nothing, or the index of the shard."""
    if name != HIDDEN:
        return b""
    layers = array.shape[0]
    size = array.nbytes // layers
    index = struct.pack(f"<{2 * layers}Q", *(v for k in range(layers) for v in (k * size, size)))
    return index + struct.pack("<I", google_crc32c.value(index))
