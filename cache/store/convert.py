"""A store in the other format, bit for bit: parts change their container, never their content."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from ...errors import CorruptStoreError
from ...progress import Progress, Silent
from . import atomic_write as durable
from . import index
from .part_builder import building
from .parts.formats import FORMATS, stem
from .parts.part import Part, checksum
from .reference_features import probe_path
from .sealed_json import COMPLETE, REPAIR
from .store import open_store
from .verify import read_piece
from .writer import StoreWriter


def convert(
    path: Path,
    format: Literal["zarr", "hdf5"],
    into: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Give every part of the store at `path` this format: in place, or as a copy below `into`.

    In place, a part is removed once its new form is safe on disk: the store is whole at any moment
    and needs room for one part more. Stopped half-way it has parts of both formats; converting
    again goes on. Returns the folder of the converted store. Raises CorruptStoreError, leaving the
    part as it is, if a byte read is not the byte that was written.
    """
    progress = progress or Silent()
    store = open_store(path, allow_partial=True)
    target = StoreWriter.create(into, store.spec, format).path if into else path
    durable.clear_stale(path)  # what a conversion that was killed has left
    manifest = index.new_manifest(target)
    progress.start("convert", store.part_count, "part")
    for name in index.part_names(path):
        new = target / (stem(name) + FORMATS[format].SUFFIX)
        if not new.exists():
            _copy(path, index.read_part(path, name), new, manifest)
        if new.parent.samefile(path) and new.name != name:
            with durable.explained(path):
                durable.remove(path / name)
        progress.advance("convert")
    if not target.samefile(path):
        for record in filter(None, (path / COMPLETE, probe_path(path))):
            if record.exists():
                with durable.explained(target):
                    durable.replace(target / record.name, record.read_bytes())
    return target


def _copy(store: Path, part: Part, target: Path, manifest: Path) -> None:
    with building(target, manifest, part.head.arrays) as builder:
        digests = dict[str, tuple[str, ...]]()
        for name, sums in part.head.digests.items():
            for piece, expected in enumerate(sums):
                data = np.frombuffer(read_piece(store, part, name, piece), np.uint8)
                digests[name] = (*digests.get(name, ()), builder.write(name, data, piece))
                if checksum(data.data, expected) != expected:
                    raise CorruptStoreError(
                        f"{part.file(store, name)}: not the bytes that were written. {REPAIR}"
                    )
        builder.describe(replace(part.head, digests=digests))
