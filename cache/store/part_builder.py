"""How a part comes to be: under a temporary name, synced, renamed, and only then in the index."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from . import index
from .atomic_write import explained, fresh
from .file_system import advise, write_at
from .parts.formats import FORMATS, format_of
from .parts.part import Array, Head, Part, checksum


class Builder:
    """A part under way: write every array, then describe it once."""

    def __init__(self, path: Path, name: str, arrays: Mapping[str, Array]) -> None:
        """Make room at the temporary `path` for the `arrays` of what will be the part `name`."""
        self._path, self._arrays = path, arrays
        self._layout = FORMATS[format_of(name)]
        self._places = self._layout.allocate(path, arrays)
        self._name = name
        self.part: Part | None = None

    def write(self, name: str, data: NDArray[Any], piece: int = 0) -> str:
        """Write `data` as the piece of that number of an array in equal pieces; its checksum."""
        place = self._places[name]
        descriptor = os.open(self._path / place.file, os.O_WRONLY | getattr(os, "O_BINARY", 0))
        try:
            start = place.offset + piece * data.nbytes
            write_at(descriptor, data.data.cast("B"), start)
            # starts the transfer to the disk now, while the next piece is being prepared
            advise(descriptor, start, data.nbytes, "DONTNEED")
        finally:
            os.close(descriptor)
        return checksum(data.data)

    def describe(self, head: Head) -> None:
        """Finish the part with its description."""
        self._layout.seal_part(self._path, head)
        self.part = Part(self._name, head, self._places)


@contextmanager
def building(path: Path, manifest: Path, arrays: Mapping[str, Array]) -> Iterator[Builder]:
    """A Builder of the part that will lie at `path`; on leaving it does, safe on disk and indexed.

    Raises StoreError with a remedy for what the system refuses; a part that fails leaves no trace.
    """
    with explained(path):
        with fresh(path) as temporary:
            builder = Builder(temporary, path.name, arrays)
            yield builder
        assert builder.part is not None
        index.append(manifest, builder.part)
