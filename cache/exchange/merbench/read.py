"""The layout of MERBench: label.npz, and below features/ a folder an encoder, a file a clip.

``<encoder>-FRA/<clip>.npy`` is (frames, width), ``<encoder>-UTT/<clip>.npy`` (width,); a folder in
the place of a file holds a file a frame. ``label.npz`` has a table a split (``train_corpus``,
``val_corpus``, ``test_corpus`` or ``test1`` …): clip -> ``{"emo": class, "val": score}``. Words
stand in ``transcription-engchi-polish.csv`` (name, english, chinese), where there is one.
"""

import csv
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ....errors import SedimentalError
from ...manifest import Clip
from ...safe_pickle.limits import shown
from ...safe_pickle.npy import load_npy, load_npz
from ...spec import MODALITIES, SPLIT_NAMES, Modality
from ...store.clip_features import ClipFeatures
from ..columns import ColumnError, numbers, texts
from ..foreign import (
    INTERNAL,
    ExchangeError,
    MissingFeatures,
    ModalityFeatures,
    features,
    named,
    refuse,
    with_contexts,
)

FEATURES = "features"
LABELS = ("label.npz", "label-6way.npz")
WORDS = "transcription-engchi-polish.csv"
KINDS = ("-FRA", "-UTT")
LOOKED_AT = 9
"""Files whose width is compared before any is taken."""
NO_SCORE = -10.0
"""What stands in ``val`` where a corpus has classes only."""
SCORES = ("val", "val_T", "val_A", "val_V")
"""Keys of an entry; the last three are of our exports alone."""
UNTRAINED = "untrained-"
"""How names of features of random weights begin, as our exports write them."""
Language = Literal["chinese", "english"]
SPOKEN: Mapping[Language, tuple[str, ...]] = {
    "chinese": ("mer20", "mer2023", "mer2024", "mer2025", "sims", "chinese"),
    "english": ("iemocap", "mosi", "mosei", "meld", "english"),
}
"""Words of a folder's name that give away the language of its corpus."""


def open_tree(
    folder: Path, names: Mapping[Modality, str], language: Language | None = None
) -> "MerbenchTree":
    """The features in `folder`; `names` says which folder of features is which modality.

    `language` says which transcript is what was said, where the folder has two. A name may lack
    its ``-FRA`` or ``-UTT``: frames are taken where there are both. Raises ExchangeError naming
    what is missing, PickleRefusedError for labels that are no plain data.
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
    return MerbenchTree(folder, labels, found, language)


class MerbenchTree:
    """An opened folder; files are read as they are taken."""

    title = "MERBench features"

    def __init__(
        self,
        folder: Path,
        labels: Path,
        places: Mapping[Modality, Path],
        language: Language | None,
    ) -> None:
        """Use `open_tree`."""
        self.path, self._places, self.notes = folder, places, list[str]()
        self._files: dict[str, str] = {}
        words = _words(folder / WORDS, language or _language(folder))
        self.clips = with_contexts(list(self._clips(read_labels(labels), words)))
        self.digest = self._digest(labels)
        self.offers: Mapping[Modality, ModalityFeatures] = {m: self._offer(m) for m in places}

    def take(self, modality: Modality) -> Iterator[ClipFeatures | MissingFeatures]:
        """Every clip's features."""
        for clip in self.clips:
            try:
                values = self._values(modality, clip.id)
            except SedimentalError as fault:
                yield MissingFeatures(clip.id, str(fault))
                continue
            if values is None:
                yield MissingFeatures(clip.id, "no file")
            elif values.shape[1] != self.offers[modality].width:
                width = self.offers[modality].width
                yield MissingFeatures(
                    clip.id, f"has frames of {values.shape[1]} numbers, others {width}"
                )
            else:
                yield features(clip.id, self.digest[:16], modality, values, {})

    def _offer(self, modality: Modality) -> ModalityFeatures:
        """The width that most of the first files have."""
        place, fault, widths = self._places[modality], "", Counter[int]()
        for clip in self.clips:
            try:
                values = self._values(modality, clip.id)
            except SedimentalError as damaged:
                fault = fault or f" The first: {damaged}"
                continue
            if values is not None and values.shape[1]:
                widths[values.shape[1]] += 1
            if widths.total() == LOOKED_AT:
                break
        if not widths:
            raise ExchangeError(f"{place}: no file of any clip of the labels.{fault}")
        untrained = place.name.startswith(UNTRAINED)
        weights = "imported random:unknown" if untrained else "imported"
        width = widths.most_common(1)[0][0]
        return ModalityFeatures(width, place.name, {"lengths": "of the files"}, weights)

    def _values(self, modality: Modality, id_: str) -> NDArray[Any] | None:
        """(frames, width), or None where the clip has no file."""
        own = self._places[modality] / self._files[id_]
        file = own.with_name(f"{own.name}.npy")
        if file.is_file():
            return _load(file)
        frames = [_load(f) for f in sorted(own.glob("*.npy"))] if own.is_dir() else []
        if len({frame.shape[1] for frame in frames}) > 1:
            raise ExchangeError(f"{own}: its frames are of different widths.")
        return np.concatenate(frames) if frames else None

    def _clips(
        self, tables: Mapping[str, Mapping[str, Any]], words: Mapping[str, str]
    ) -> Iterator[Clip]:
        faults: list[str] = []
        entries = [e for table in tables.values() for e in table.values()]
        classes = {str(e["emo"]) for e in entries if isinstance(e, Mapping) and "emo" in e}
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
                try:
                    scores = [_score(entry, key) for key in SCORES]
                    category = texts([entry["emo"]])[0] if len(classes) > 1 else None
                except (ColumnError, KeyError, TypeError) as wrong:
                    what = f"has no {wrong}" if isinstance(wrong, KeyError) else f"is {entry!r:.60}"
                    faults.append(f"{key}: {name} {what}.")
                    continue
                yield Clip(
                    id=id_,
                    video_id=video,
                    clip_id=clip,
                    split=split,
                    text=words.get(str(name), ""),
                    label=scores[0],
                    label_T=scores[1],
                    label_A=scores[2],
                    label_V=scores[3],
                    category=category,
                )
        refuse(self.path, faults)

    def _digest(self, labels: Path) -> str:
        whole = hashlib.sha256(labels.read_bytes())
        for place in self._places.values():
            for file in sorted(place.rglob("*.npy")):
                whole.update(str(file.relative_to(self.path)).encode())
                with file.open("rb") as data:
                    whole.update(hashlib.file_digest(data, "sha256").digest())
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


def _score(entry: Any, key: str) -> float | None:
    """A score of a clip; none where there is none, or the mark of that."""
    if not isinstance(entry, Mapping):
        raise TypeError
    (score,) = numbers([entry.get(key)])
    return None if score == NO_SCORE else score


def _words(path: Path, language: Language | None) -> Mapping[str, str]:
    """Clip -> what was said; raises ExchangeError where two languages leave that open."""
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row.get("name")]
    except (OSError, ValueError, csv.Error) as fault:
        raise ExchangeError(f"{path}: cannot be read as a table in UTF-8: {fault}.") from None
    if language is None and any(all(row.get(tongue) for tongue in SPOKEN) for row in rows):
        raise ExchangeError(
            f"{path}: has what was said in English and in Chinese, one a translation. Say "
            "--language english or --language chinese."
        )
    first = language or "english"
    other = None if language else "chinese"
    return {row["name"]: row.get(first) or (other and row.get(other)) or "" for row in rows}


def _language(folder: Path) -> Language | None:
    """The language of a known corpus, by the folder's name."""
    parts = [part.lower() for part in folder.resolve().parts[-2:]]
    found = {lang for lang, names in SPOKEN.items() if any(n in p for n in names for p in parts)}
    return found.pop() if len(found) == 1 else None
