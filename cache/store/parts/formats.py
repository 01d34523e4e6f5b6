"""The formats a part can have."""

from collections.abc import Mapping

from . import hdf5_part, zarr_part
from .part import Layout

FORMATS: Mapping[str, Layout] = {"zarr": zarr_part, "hdf5": hdf5_part}


def format_of(part: str) -> str:
    """Format of the part of this name."""
    return "hdf5" if part.endswith(hdf5_part.SUFFIX) else "zarr"


def stem(part: str) -> str:
    """The part's name without what tells its format: it stays when the format changes."""
    return part.removesuffix(hdf5_part.SUFFIX)
