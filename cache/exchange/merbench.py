"""The layout of MERBench: label.npz, and below features/ a folder an encoder, a file a clip.

``<encoder>-FRA/<clip>.npy`` is (frames, width), ``<encoder>-UTT/<clip>.npy`` (width,); a folder in
the place of a file holds a file a frame. ``label.npz`` has a table a split (``train_corpus``,
``val_corpus``, ``test_corpus`` or ``test1`` …): clip -> ``{"emo": class, "val": score}``. Words
stand in ``transcription-engchi-polish.csv`` (name, english, chinese), where there is one.
"""

import csv
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..manifest import Clip
from ..safe_pickle.limits import shown
from ..safe_pickle.npy import load_npy, load_npz
from ..spec import MODALITIES, SPLIT_NAMES, Modality
from ..store.clip_features import ClipFeatures
from .foreign import INTERNAL, Absent, ExchangeError, Offer, features, named, refuse, with_contexts

FEATURES = "features"
LABELS = ("label.npz", "label-6way.npz")
WORDS = "transcription-engchi-polish.csv"
KINDS = ("-FRA", "-UTT")


def open_tree(folder: Path, names: Mapping[Modality, str]) -> "MerbenchTree":
    """The features in `folder`; `names` says which folder of features is which modality.

    A name may lack its ``-FRA`` or ``-UTT``: frames are taken where there are both. Raises
    ExchangeError naming what is missing, PickleRefusedError for labels that are no plain data.
    """
    labels = next((folder / name for name in LABELS if (folder / name).is_file()), None)
    if labels is None:
        raise ExchangeError(
            f"{folder}: no {LABELS[0]} in this folder. MERBench's layout is {LABELS[0]} beside "
            f"{FEATURES}/<encoder>-FRA/<clip>.npy."
        )
    here = sorted(p.name for p in (folder / FEATURES).glob("*") if p.name.endswith(KINDS))
    if not names:
        raise ExchangeError(
            f"{folder}: say which features are which: --text, --audio, --vision with one of "
            f"{', '.join(here) or 'none that is here'}."
        )
    found: dict[Modality, Path] = {}
    for modality in MODALITIES:
        if modality in names:
            wanted = names[modality]
            fitting = [name for name in here if name in (wanted, *(wanted + k for k in KINDS))]
            if not fitting:
                known = ", ".join(here) or "none"
                raise ExchangeError(f"{folder / FEATURES}: no {wanted}. There: {known}.")
            found[modality] = folder / FEATURES / fitting[0]
    return MerbenchTree(folder, labels, found)


class MerbenchTree:
    """An opened folder; files are read as they are taken."""

    title = "MERBench features"

    def __init__(self, folder: Path, labels: Path, places: Mapping[Modality, Path]) -> None:
        """Use `open_tree`."""
        self.path, self._places, self.notes = folder, places, list[str]()
        self._files: dict[str, str] = {}
        self.clips = with_contexts(list(self._clips(read_labels(labels), _words(folder / WORDS))))
        self.digest = self._digest(labels)
        self.offers: Mapping[Modality, Offer] = {m: self._offer(m) for m in places}

    def take(self, modality: Modality) -> Iterator[ClipFeatures | Absent]:
        """Every clip's features."""
        for clip in self.clips:
            values = self._values(modality, clip.id)
            if values is None:
                yield Absent(clip.id, "no file")
            else:
                yield features(clip.id, self.digest[:16], modality, values, {})

    def _offer(self, modality: Modality) -> Offer:
        found = (self._values(modality, clip.id) for clip in self.clips)
        first = next((values for values in found if values is not None), None)
        place = self._places[modality]
        if first is None:
            raise ExchangeError(f"{place}: no file of any clip of the labels.")
        return Offer(first.shape[1], place.name, {"lengths": "of the files"})

    def _values(self, modality: Modality, id_: str) -> NDArray[Any] | None:
        """(frames, width), or None where the clip has no file."""
        own = self._places[modality] / self._files[id_]
        file = own.with_name(f"{own.name}.npy")
        if file.is_file():
            return _load(file)
        frames = sorted(own.glob("*.npy")) if own.is_dir() else []
        return np.concatenate([_load(frame) for frame in frames]) if frames else None

    def _clips(
        self, tables: Mapping[str, Mapping[str, Any]], words: Mapping[str, str]
    ) -> Iterator[Clip]:
        faults: list[str] = []
        classes = {str(e.get("emo")) for table in tables.values() for e in table.values()}
        for key, table in tables.items():
            split = SPLIT_NAMES.get(key.split("_")[0].rstrip("0123456789").lower())
            if split is None:
                faults.append(f"label {key}: is not train, val or test.")
                continue
            for name, entry in table.items():
                if fault := _misnamed(name):
                    faults.append(f"{key}: {fault}")
                    continue
                video, clip = named(str(name))
                id_ = INTERNAL.join((video, clip))
                if id_ in self._files:
                    faults.append(f"{key}: {name} stands already in another split.")
                self._files[id_] = str(name)
                score = float(entry.get("val", np.nan))
                yield Clip(
                    id=id_,
                    video_id=video,
                    clip_id=clip,
                    split=split,
                    text=words.get(str(name), ""),
                    label=score if np.isfinite(score) else None,
                    category=str(entry["emo"]) if len(classes) > 1 else None,
                )
        refuse(self.path, faults)

    def _digest(self, labels: Path) -> str:
        whole = hashlib.sha256(labels.read_bytes())
        for place in self._places.values():
            for file in sorted(place.rglob("*.npy")):
                whole.update(str(file.relative_to(self.path)).encode())
                whole.update(file.read_bytes())
        return whole.hexdigest()


def read_labels(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """The tables of a label.npz: key -> clip -> {"emo", "val"}.

    Their dictionaries are pickles inside; they are read as plain data only.
    """
    tables: dict[str, Mapping[str, Any]] = {}
    for key, found in load_npz(path).items():
        table = found.item() if found.shape == () else None
        if not isinstance(table, Mapping):
            raise ExchangeError(f"{path}, {shown(key)}: holds no table of clips.")
        tables[key] = table
    return tables


def _load(file: Path) -> NDArray[Any]:
    """(frames, width); a vector is one frame."""
    found = load_npy(file)
    if found.ndim not in (1, 2) or found.dtype.kind not in "fiu":
        raise ExchangeError(
            f"{file}: an array {found.shape} of {found.dtype}, where (frames, width) should be."
        )
    return np.atleast_2d(found)


def _misnamed(name: Any) -> str | None:
    """Why a clip of the labels cannot be the name of a file in a folder of features."""
    text = str(name)
    if (
        text in ("", ".", "..")
        or {"/", "\\", "\0"} & set(text)
        or len(text.encode("utf-8", "replace")) > 200
    ):
        return f"clip {shown(repr(text))} cannot be the name of a file."
    return None


def _words(path: Path) -> Mapping[str, str]:
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        return {
            row["name"]: row.get("english") or row.get("chinese") or ""
            for row in csv.DictReader(file)
            if row.get("name")
        }
