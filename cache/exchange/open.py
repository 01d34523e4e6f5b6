"""Which kind of file or folder of features lies at a path."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..corpus.official_files import official
from ..safe_pickle.globals import HINTS
from ..safe_pickle.load import load_plain
from ..safe_pickle.npy import load_npy, load_npz, torch_file
from ..spec import SPLIT_NAMES, Modality
from .added_formats import open_added
from .csd import read as csd
from .foreign import ExchangeError, FeatureFile
from .labels import LabelKind
from .merbench import read as merbench
from .merbench.read import Language
from .mmsa import read as mmsa

FOREIGN_MAGIC = {
    b"\x1f\x8b": "packed with gzip: unpack it first (`gunzip FILE`).",
    b"7z": "packed with 7-Zip: unpack it first (`7z x FILE`).",
    b"BZh": "packed with bzip2: unpack it first (`bunzip2 FILE`).",
    b"\xfd7zXZ": "packed with xz: unpack it first (`unxz FILE`).",
    b"\x89HDF": "an HDF5 file: name it .csd if it holds computational sequences; else write its "
    "arrays with numpy.savez as train_audio, train_id, … and import that.",
    b"PAR1": "a Parquet file: write its columns with numpy.savez as train_audio, train_id, … and "
    "import that.",
}
"""What files begin with that are read by others only, and the way out."""


def open_foreign(
    path: Path,
    names: Mapping[Modality, str],
    labels: LabelKind | None = None,
    language: Language | None = None,
    aligned: csd.Aligned | None = None,
) -> FeatureFile:
    """The features at `path`, whatever holds them.

    A file: a pickle, .npz or .npy of MMSA's or MultiBench's tables, or a .csd. A folder: MERBench's
    layout, .csd files, or a folder a split with a .npy a column. Forms that installed packages add
    come first. Of a folder, `names` says which
    features are which modality; `labels` what the labels are, and `language` which of MERBench's
    two transcripts is meant, where the data do not say; `aligned` puts .csd sequences on the steps
    of one of them. Raises ExchangeError or PickleRefusedError
    with what is wrong.
    """
    if (added := open_added(path, names)) is not None:
        return added
    if path.is_dir():
        if any(path.glob("*.csd")):
            return csd.open_folder(path, names, labels, None, aligned)
        columns = sorted(path.glob("*/*.npy"))
        tables: dict[str, dict[str, Any]] = {}
        for file in columns:
            if file.parent.name.lower() in SPLIT_NAMES:
                tables.setdefault(file.parent.name, {})[file.stem] = load_npy(file)
        if tables and not any((path / name).is_file() for name in merbench.LABELS):
            return mmsa.open_tables(path, _digest(columns), tables, labels)
        return merbench.open_tree(path, names, language)
    if not path.is_file():
        raise ExchangeError(f"{path}: no such file or folder. Check the path.")
    if path.suffix == ".csd":
        return csd.open_folder(path.parent, names, labels, path, aligned)
    digest = _digest([path])
    found = mmsa.open_tables(path, digest, _content(path), labels)
    if known := official(digest):
        found.notes.insert(0, f"{known}.")
    return found


def _content(path: Path) -> Any:
    """What a file holds, by how it begins."""
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(b"\x93NUMPY"):
        found = load_npy(path)
        return found.item() if found.shape == () else found
    if start.startswith(b"PK\3\4"):
        if torch_file(path):
            raise ExchangeError(f"{path}: a file of torch.save. {HINTS['torch']}")
        return _by_split(load_npz(path))
    for magic, what in FOREIGN_MAGIC.items():
        if start.startswith(magic):
            raise ExchangeError(f"{path}: {what}")
    return load_plain(path)


def _by_split(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Arrays named ``train_audio`` or ``train/audio`` as tables; others as they are."""
    found: dict[str, Any] = {}
    for key, array in arrays.items():
        split, _, column = key.replace("/", "_").partition("_")
        if column and split.lower() in SPLIT_NAMES:
            table = found.setdefault(split, {})
            if isinstance(table, dict):
                table[column] = array
        else:
            found[key] = array
    return found


def _digest(files: Sequence[Path]) -> str:
    whole = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            own = hashlib.file_digest(file, "sha256")
        if len(files) == 1:
            return own.hexdigest()
        whole.update(f"{path.parent.name}/{path.name} {own.hexdigest()}\n".encode())
    return whole.hexdigest()


def corpus_name(path: Path) -> str:
    """What to call the corpus where nobody says: by the folder of its name, else by the file.

    >>> corpus_name(Path("MOSI/Processed/unaligned_50.pkl")), corpus_name(Path("mine.pkl"))
    ('mosi', 'mine')
    """
    parents = [part.lower() for part in path.resolve().parts[:-1]]
    known = [part for part in reversed(parents) if part in ("mosi", "mosei", "sims", "simsv2")]
    return known[0] if known else path.resolve().stem
