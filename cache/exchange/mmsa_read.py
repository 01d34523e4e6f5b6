"""The feature pickle of MMSA and of what is built on it: Self-MM, TFR-Net, EMT-DLFR, SUGRM.

A table a split (`train`, `valid`, `test`), each with columns of N rows::

    id (N,) "<video>$_$<clip>"      raw_text (N,)       regression_labels (N,), …_T, …_A, …_V
    text, audio, vision (N, T, W)   padded with zeros at the end
    text_bert (N, 3, T)             token ids, mask, segments of what `text` was made from
    audio_lengths, vision_lengths   real frames, in unaligned files; in aligned ones every modality
                                    has a frame a token
    annotations (N,)                Negative, Neutral, Positive
"""

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..manifest import Clip
from ..safe_pickle.load import load_plain
from ..spec import MODALITIES, SPLIT_NAMES, SPLITS, Modality, Split, is_untrained
from ..store.clip_features import ClipFeatures
from . import multibench
from .columns import frame_rows, numbers, real_frames, texts, width_of
from .foreign import INTERNAL, Absent, ExchangeError, Offer, features, named, refuse, with_contexts

Table = MutableMapping[str, Any]
SUFFIXES = ("", "_T", "_A", "_V")
MASK, ZEROS = "text mask", "trailing zeros"
"""How the real lengths of a modality are known, where no `*_lengths` says them."""


def open_pickle(path: Path, digest: str) -> "MmsaFile":
    """The pickle at `path`: MMSA's, or MultiBench's, whose columns have other names.

    Raises PickleRefusedError for anything but plain data, ExchangeError with every fault.
    """
    found = load_plain(path)
    tables: dict[Split, Table] = {}
    for key, table in found.items() if isinstance(found, Mapping) else ():
        if str(key).lower() in SPLIT_NAMES and isinstance(table, MutableMapping):
            tables[SPLIT_NAMES[str(key).lower()]] = table
    if not tables:
        what = f"keys {', '.join(map(str, found))}" if isinstance(found, Mapping) else type(found)
        raise ExchangeError(f"{path}: no tables train, valid and test in it, but {what}.")
    of_multibench = all("labels" in table for table in tables.values())
    if of_multibench:
        tables = {split: multibench.renamed(table) for split, table in tables.items()}
    made = found.get("config")
    family = "multibench" if of_multibench else "mmsa"
    return MmsaFile(path, digest, tables, family, made if isinstance(made, Mapping) else {})


class MmsaFile:
    """An opened pickle; its columns are let go of as they are taken."""

    def __init__(
        self,
        path: Path,
        digest: str,
        tables: Mapping[Split, Table],
        family: str,
        made: Mapping[str, Any],
    ) -> None:
        """Use `open_pickle`."""
        self.path, self.digest, self._tables = path, digest, tables
        self.title = "MultiBench features" if family == "multibench" else "MMSA features"
        self.notes: list[str] = []
        faults: list[str] = []
        for split, table in tables.items():
            faults += _faults(split, table)
        refuse(path, faults)
        self._masks = {split: _mask(table) for split, table in tables.items()}
        present = [m for m in MODALITIES if any(m in table for table in tables.values())]
        refuse(path, _lacking(tables, (*present, "text_bert")))
        self._rows = {
            (split, m): frame_rows(table.pop(m)) for split, table in tables.items() for m in present
        }
        self._lengths = {
            split: _Lengths(table, self._masks[split], {m: self._rows[split, m] for m in present})
            for split, table in tables.items()
        }
        self.offers: Mapping[Modality, Offer] = {m: self._offer(m, family, made) for m in present}
        clips = [clip for split in SPLITS if split in tables for clip in self._clips(split)]
        widths = {m: {width_of(self._rows[s, m]) for s in tables} for m in present}
        refuse(path, _twice(clips) + _widths(widths))
        self.clips = with_contexts(clips)
        if "text" in present and all(mask is None for mask in self._masks.values()):
            self.notes.append("no text_bert in it: token ids are not kept.")

    def take(self, modality: Modality) -> Iterator[ClipFeatures | Absent]:
        """Every clip's features, once: split by split, and a split is let go of when it is done."""
        for split in SPLITS:
            if split in self._tables:
                yield from self._take(split, modality)

    def _take(self, split: Split, modality: Modality) -> Iterator[ClipFeatures | Absent]:
        lengths, mask = self._lengths[split], self._masks[split]
        rows = self._rows.pop((split, modality))
        for number, (id_, row) in enumerate(zip(self._ids(split), rows, strict=True)):
            frames = lengths.of(modality, number, row)
            valid, side = None, {}
            if modality == "text" and mask is not None and lengths.how("text") == MASK:
                valid = mask[number, :frames]
                side = _tokens(self._tables[split]["text_bert"], number, frames)
            yield features(id_, self.digest[:16], modality, row[:frames], side, valid)

    def _ids(self, split: Split) -> list[str]:
        return [INTERNAL.join(named(id_)) for id_ in texts(self._tables[split]["id"])]

    def _clips(self, split: Split) -> Iterator[Clip]:
        table, ids = self._tables[split], self._ids(split)
        said = texts(table["raw_text"]) if "raw_text" in table else [""] * len(ids)
        nothing: list[float | None] = [None] * len(ids)
        scores = [
            numbers(table[f"regression_labels{suffix}"])
            if f"regression_labels{suffix}" in table
            else nothing
            for suffix in SUFFIXES
        ]
        classes = _classes(table)
        for number, id_ in enumerate(ids):
            video, clip = named(id_)
            label, label_t, label_a, label_v = (column[number] for column in scores)
            yield Clip(
                id=id_,
                video_id=video,
                clip_id=clip,
                split=split,
                text=said[number],
                label=label,
                label_T=label_t,
                label_A=label_a,
                label_V=label_v,
                category=classes[number] if classes else None,
            )

    def _offer(self, modality: Modality, family: str, made: Mapping[str, Any]) -> Offer:
        width = max(width_of(self._rows[split, modality]) for split in self._tables)
        how = {lengths.how(modality) for lengths in self._lengths.values()}
        aligned = "-aligned" if how == {MASK} and modality != "text" else ""
        name, weights = made.get(f"{modality}_features"), "imported"
        if isinstance(name, str):  # what we exported says what made it
            origin = made.get(modality)
            had = str(origin.get("weights", "")) if isinstance(origin, Mapping) else ""
            weights = f"imported {had}" if is_untrained(had) else weights
        else:
            name = f"{family}{aligned}-{modality}-{width}"
        return Offer(width, name, {"lengths": " / ".join(sorted(how))}, weights)


class _Lengths:
    """How many frames of each clip of a split are real."""

    def __init__(
        self,
        table: Table,
        mask: NDArray[np.bool_] | None,
        rows: Mapping[Modality, Sequence[NDArray[Any]]],
    ) -> None:
        self._stated = {
            m: np.asarray(table[f"{m}_lengths"], np.int64).reshape(-1)
            for m in rows
            if f"{m}_lengths" in table
        }
        self._by_mask: set[Modality] = set()
        if mask is not None:
            padded = {m: max(map(len, own), default=0) for m, own in rows.items()}
            self._by_mask = {m for m in rows if padded[m] == mask.shape[1]} - self._stated.keys()
        # a mask may have holes; padding begins after the last token
        self._tokens = [real_frames(row[:, None]) for row in mask] if mask is not None else []

    def how(self, modality: Modality) -> str:
        """What tells the lengths."""
        if modality in self._stated:
            return f"{modality}_lengths"
        return MASK if modality in self._by_mask else ZEROS

    def of(self, modality: Modality, number: int, row: NDArray[Any]) -> int:
        """Real frames of a clip, of which `row` (frames, width) is all there is."""
        if modality in self._stated:
            return int(min(self._stated[modality][number], len(row)))
        return self._tokens[number] if modality in self._by_mask else real_frames(row)


def _mask(table: Table) -> NDArray[np.bool_] | None:
    return np.asarray(table["text_bert"])[:, 1] > 0 if "text_bert" in table else None


def _tokens(text_bert: Any, number: int, frames: int) -> dict[str, NDArray[Any]]:
    """Token ids, and which are special: the first and the last, as BERT's and RoBERTa's are."""
    special = np.zeros(frames, np.bool_)
    special[[0, -1] if frames else []] = True
    return {"token_ids": np.asarray(text_bert[number][0][:frames], np.int32), "special": special}


def _classes(table: Table) -> list[str] | None:
    """Class names; numbered classes count only where there are no scores they were made from."""
    for key in ("annotations", "annotation"):
        if key in table:
            return texts(table[key])
    numbered = "regression_labels" not in table and "classification_labels" in table
    return texts(table["classification_labels"]) if numbered else None


def _faults(split: Split, table: Table) -> list[str]:
    """What of a split's columns does not fit together."""
    if "id" not in table:
        return [f"{split}: no column `id`."]
    count, found = len(table["id"]), []
    if not any(m in table for m in MODALITIES):
        found.append(f"{split}: none of the columns text, audio and vision.")
    labels = [f"regression_labels{suffix}" for suffix in SUFFIXES]
    lengths = [f"{m}_lengths" for m in MODALITIES]
    columns = ("raw_text", "annotations", "annotation", "classification_labels", "text_bert")
    for key in (*MODALITIES, *labels, *lengths, *columns):
        if key in table and len(table[key]) != count:
            found.append(f"{split}: {key} has {len(table[key])} rows, id has {count}.")
    for m in MODALITIES:
        try:
            frame_rows(table.get(m, ()))
        except ValueError as fault:
            found.append(f"{split}: {m} is {fault}, where (clips, frames, width) should be.")
    shape = np.shape(table.get("text_bert", np.zeros((0, 3, 1))))
    if len(shape) != 3 or shape[1] != 3:
        found.append(f"{split}: text_bert has the shape {shape}, not (clips, 3, tokens).")
    return found


def _lacking(tables: Mapping[Split, Table], columns: Sequence[str]) -> list[str]:
    """Columns that some splits have and others do not."""
    return [
        f"{split}: no column `{column}`, which other splits have."
        for column in columns
        if any(column in table for table in tables.values())
        for split, table in tables.items()
        if column not in table
    ]


def _twice(clips: list[Clip]) -> list[str]:
    seen: dict[str, Split] = {}
    found = []
    for clip in clips:
        if clip.id in seen:
            found.append(f"{clip.split}: {clip.id} stands already in {seen[clip.id]}.")
        seen[clip.id] = clip.split
    return found


def _widths(widths: Mapping[Modality, set[int]]) -> list[str]:
    return [
        f"{m}: the splits have widths {', '.join(map(str, sorted(found)))}."
        for m, found in widths.items()
        if len(found - {0}) > 1
    ]
