"""Which kind of file or folder of features lies at a path."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from ..spec import Modality
from . import merbench, mmsa_read
from .foreign import ExchangeError, Foreign

OFFICIAL = {
    "78e0f8b5": "MOSI/Processed/unaligned_50.pkl",
    "d3994fd2": "MOSI/Processed/aligned_50.pkl",
    "ad8b23d5": "MOSEI/Processed/unaligned_50.pkl",
    "45eccfb7": "MOSEI/Processed/aligned_50.pkl",
    "c9e20c13": "SIMS/Processed/unaligned_39.pkl",
}
"""How the SHA-256 that MMSA states for its own files begin."""


def open_foreign(path: Path, names: Mapping[Modality, str]) -> Foreign:
    """The features at `path`: a pickle of MMSA or MultiBench, or a folder as MERBench has it.

    Of a folder, `names` says which features are which modality. Raises ExchangeError or
    PickleRefusedError with what is wrong.
    """
    if path.is_dir():
        return merbench.open_tree(path, names)
    if not path.is_file():
        raise ExchangeError(f"{path}: no such file or folder. Check the path.")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    found = mmsa_read.open_pickle(path, digest)
    if official := OFFICIAL.get(digest[:8]):
        found.notes.insert(0, f"its SHA-256 begins as that of MMSA's own {official}.")
    return found


def corpus_name(path: Path) -> str:
    """What to call the corpus where nobody says: by the folder of its name, else by the file.

    >>> corpus_name(Path("MOSI/Processed/unaligned_50.pkl")), corpus_name(Path("mine.pkl"))
    ('mosi', 'mine')
    """
    parents = [part.lower() for part in path.resolve().parts[:-1]]
    known = [part for part in reversed(parents) if part in ("mosi", "mosei", "sims", "simsv2")]
    return known[0] if known else path.resolve().stem
