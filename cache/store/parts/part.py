"""What a part is: every layer of some whole clips, in one file or folder that never changes."""

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Protocol

import google_crc32c
import numpy as np

PART_NAME = re.compile(r"part-(n\d{8,}|\d{8}T\d{12}(-[0-9a-f]{8})*)-[0-9a-f]{8}(\.h5)?")
"""A part's number and some random digits, so that two writers never choose one name; later numbers
sort behind earlier ones, and behind the moments in time that parts were once named by."""
HIDDEN = "hidden"
"""The array of hidden states, (layers, frames, width): each layer one contiguous run of bytes."""
FRAMEWISE = ("times", "durations", "valid")
"""Arrays of one value a frame that every part has; the clips' own side arrays come after them."""
CRC32C = "crc32c:"
STATISTICS = ("mean", "std", "absmax")
"""(layers, width) over the valid frames, twice; (layers,) over all frames."""


@dataclass(frozen=True)
class Array:
    """One array of a part: little-endian, C order, uncompressed."""

    dtype: str
    """numpy's name."""
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Length in bytes."""
        return prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Place:
    """Where an array begins."""

    file: str
    """Relative to the part; empty: the part is itself the file."""
    offset: int
    """In bytes."""


@dataclass(frozen=True)
class Head:
    """What a part says about itself, the same in every format."""

    fingerprint: str
    clips: tuple[str, ...]
    sources: tuple[str, ...]
    """Digest of what each clip's features were made from."""
    frames: tuple[int, ...]
    """Per clip; their sum is the length of every array's frame axis."""
    arrays: Mapping[str, Array]
    digests: Mapping[str, tuple[str, ...]]
    """Per array, the `checksum` of each of its equal pieces: a layer, for the hidden states."""
    spec: Mapping[str, Any]
    """The store's FeatureSpec, so that a part found alone explains itself."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON document."""
        arrays = {name: [array.dtype, array.shape] for name, array in self.arrays.items()}
        return vars(self) | {"arrays": arrays}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Head":
        """What `to_json` wrote; KeyError, TypeError or ValueError if it did not."""
        return cls(
            fingerprint=values["fingerprint"],
            clips=tuple(values["clips"]),
            sources=tuple(values["sources"]),
            frames=tuple(values["frames"]),
            arrays={name: Array(d, tuple(shape)) for name, (d, shape) in values["arrays"].items()},
            digests={name: tuple(found) for name, found in values["digests"].items()},
            spec=values["spec"],
        )


@dataclass(frozen=True)
class Part:
    """One part of a store as its readers see it."""

    name: str
    head: Head
    places: Mapping[str, Place]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self.head.arrays.values())

    def file(self, store: Path, array: str) -> Path:
        """The file `array` lies in."""
        return store / self.name / self.places[array].file


class Layout(Protocol):
    """A format of parts: where arrays lie in it, and how the part describes itself."""

    SUFFIX: str
    """Of the part's name."""

    def allocate(self, path: Path, arrays: Mapping[str, Array]) -> Mapping[str, Place]:
        """Make room for `arrays` in a new part at `path`; their bytes are written by the caller."""

    def seal_part(self, path: Path, head: Head) -> None:
        """Finish the part at `path`, whose arrays are written, with its description."""

    def read_head(self, path: Path) -> tuple[Head, Mapping[str, Place]]:
        """The description and the places; CorruptStoreError or NewerStoreError name `path`."""

    def faults(self, path: Path) -> Sequence[str]:
        """What is not as written in all bytes of the part that belong to no array."""


def checksum(data: bytes | memoryview, like: str = CRC32C) -> str:
    """CRC-32C of `data`, which finds every changed byte faster than memory can be copied.

    `like` is a checksum to compare with: older parts have plain CRC-32.
    """
    if not like.startswith(CRC32C):
        return f"{zlib.crc32(data):08x}"
    view = np.frombuffer(data, np.uint8)
    view.flags.writeable = False  # the library takes nothing that may change under it
    return f"{CRC32C}{google_crc32c.value(view):08x}"
