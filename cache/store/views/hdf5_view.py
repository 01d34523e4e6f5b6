"""A whole store as one HDF5 file in memory whose datasets are the bytes of its parts.

What `Store.as_h5py` gives: HDF5 can say of a dataset that its bytes lie in other files, in
stretches, and that is what a part's arrays are, whatever its format.
"""

from typing import TYPE_CHECKING

import numpy as np

from ..parts.part import FRAMEWISE, HIDDEN

if TYPE_CHECKING:
    import h5py

    from ..store import Store

MOST = 1000
"""Stretches of bytes of one dataset; HDF5 keeps the list of them in 64 kB."""


def open_view(store: "Store") -> "h5py.File":
    """The file: ``hidden/<layer>`` (frames, width), ``times``, … (frames,), ``clips`` (clips,) and
    ``offsets`` (clips + 1,).

    A store of more than `MOST` stretches has its datasets joined of virtual ones.
    """
    import h5py

    file = h5py.File.in_memory() if hasattr(h5py.File, "in_memory") else None
    if file is None:
        file = h5py.File("view.h5", "w", driver="core", backing_store=False)
    spec = store.spec
    frames, kind = int(store.frames.sum()), np.dtype(spec.dtype)
    for number, layer in enumerate(spec.layers):
        places = [(str(path), at, size) for path, at, size in store.stretches(number)]
        name, row = f"{HIDDEN}/{layer}", kind.itemsize * spec.width
        if len(places) <= MOST:
            file.create_dataset(name, (frames, spec.width), kind, external=places or None)
            continue
        layout, done = h5py.VirtualLayout((frames, spec.width), kind), 0
        for k in range(0, len(places), MOST):
            some = places[k : k + MOST]
            rows = sum(size for *_, size in some) // row
            piece = file.create_dataset(
                f"pieces/{layer}/{k}", (rows, spec.width), kind, external=some
            )
            layout[done : done + rows] = h5py.VirtualSource(piece)
            done += rows
        file.create_virtual_dataset(name, layout)
    for side in FRAMEWISE:
        file.create_dataset(side, data=store.side(side))
    file.create_dataset("offsets", data=store.offsets())
    file.create_dataset("clips", data=list(store.clips), dtype=h5py.string_dtype())
    for key in ("modality", "encoder", "weights", "fingerprint"):
        file.attrs[key] = getattr(spec, key)
    file.attrs["layers"] = list(spec.layers)
    return file
