"""The feature file of MMSA and of what is built on it: Self-MM, TFR-Net, EMT-DLFR, SUGRM.

A table a split (`train`, `valid`, `test`), each with columns of N rows::

    id (N,) "<video>$_$<clip>"      raw_text (N,)       regression_labels (N,), …_T, …_A, …_V
    text, audio, vision (N, T, W)   padded with zeros, at the end or in front
    text_bert (N, 3, T)             token ids, mask, segments of what `text` was made from
    audio_lengths, vision_lengths   real frames, in unaligned files; in aligned ones every modality
                                    has a frame a token
    annotations (N,)                Negative, Neutral, Positive
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...manifest import Clip
from ...safe_pickle.limits import shown
from ...spec import MODALITIES, Modality, Split, is_untrained
from ...store.clip_features import ClipFeatures
from ..columns import HALF_LETTER, ColumnError, frame_rows, lengths, numbers, texts, width_of
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
from ..labels import LabelKind, Labels
from .feature_tables import (
    LABELS,
    TOKENS,
    FeatureTables,
    Table,
    lacking_notes,
    table_faults,
    tables_of,
)
from .padding import MASK, Columns, Padding, edges_of


def open_tables(
    path: Path, digest: str, content: Any, labels: LabelKind | None = None
) -> "MmsaFile":
    """The features in the `content` of a file; `labels` says what they are, where that is asked.

    Raises ExchangeError with every fault.
    """
    try:
        found = tables_of(content)
    except ColumnError as fault:
        raise ExchangeError(f"{path}: {fault}") from None
    return MmsaFile(path, digest, found, labels)


class MmsaFile:
    """An opened file; its columns are let go of as they are taken."""

    def __init__(
        self, path: Path, digest: str, found: FeatureTables, labels: LabelKind | None
    ) -> None:
        """Use `open_tables`."""
        self.path, self.digest, self._tables = path, digest, found.splits
        self.title = "MultiBench features" if found.family == "multibench" else "MMSA features"
        self.notes = [*found.notes]
        self._family, self._made = found.family, found.made
        faults = list(table_faults(found.splits))
        refuse(path, faults)
        self._ids = self._each("id", _ids, faults)
        self._masks = self._each("text_bert", _mask, faults)
        present = [m for m in MODALITIES if any(m in t for t in found.splits.values())]
        self._rows = {m: self._each(m, partial(_frames, m), faults) for m in present}
        self._said = self._each("raw_text", _said, faults)
        self._classes = self._each("annotations", _classes, faults)
        scores = {key: self._each(key, partial(_scores, key), faults) for key in LABELS}
        try:
            main = {s: t[LABELS[0]] for s, t in found.splits.items() if LABELS[0] in t}
            self._labels = Labels(main, labels)
        except ColumnError as fault:
            faults.append(f"{fault}.")
        refuse(path, [*faults, *self._id_faults(), *_widths(self._rows)])
        self._scores = scores
        self._padding = self._paddings(found.family == "multibench")
        self._tokens = "text" in present and all(
            self._padding["text"].by_mask(split) for split, ids in self._ids.items() if ids
        )
        self.offers: Mapping[Modality, ModalityFeatures] = {m: self._offer(m) for m in present}
        self.clips = with_contexts([clip for split in found.splits for clip in self._clips(split)])
        self.notes += [*lacking_notes(found.splits), *self._labels.notes, *self._half_letters()]
        for padding in self._padding.values():
            self.notes += padding.notes
        if "text" in present and not any(mask is not None for mask in self._masks.values()):
            self.notes.append("no text_bert in it: token ids are not kept.")

    def _each(self, name: str, read: Callable[[Table], Any], faults: list[str]) -> dict[Split, Any]:
        """What `read` makes of every split; what it cannot is added to `faults`."""
        found = {}
        for split, table in self._tables.items():
            try:
                found[split] = read(table)
            except ColumnError as fault:
                faults.append(f"{split}: {name} {fault}.")
        return found

    def take(self, modality: Modality) -> Iterator[ClipFeatures | MissingFeatures]:
        """Every clip's features, once: split by split, and a split is let go of when it is done."""
        infinite = list[str]()
        count = 0
        for split in self._tables:
            rows = self._rows[modality].pop(split)
            for number, id_ in enumerate(self._ids[split]):
                one = self._one(split, modality, number, rows[number])
                if modality == "audio" and isinstance(one, ClipFeatures):
                    below = int(np.isneginf(rows[number]).sum())
                    infinite, count = infinite + [id_] * bool(below), count + below
                yield one
        if count:
            self.notes.append(
                f"audio: {count} values of -inf in {len(infinite)} clips were taken as 0, as MMSA "
                f"does ({', '.join(infinite[:3])}{', …' if len(infinite) > 3 else ''})."
            )

    def _one(
        self, split: Split, modality: Modality, number: int, row: NDArray[Any]
    ) -> ClipFeatures | MissingFeatures:
        id_, padding = self._ids[split][number], self._padding[modality]
        span = padding.span(split, number)
        if isinstance(span, str):
            return MissingFeatures(id_, span)
        begin, end = span
        valid, side = None, {}
        mask = self._masks[split]
        if modality == "text" and self._tokens and mask is not None:
            valid = mask[number, begin:end]
            side = _token_ids(self._tables[split][TOKENS][number], begin, end)
        return features(id_, self.digest[:16], modality, row[begin:end], side, valid)

    def _paddings(self, joint: bool) -> dict[Modality, Padding]:
        edges = {(s, m): edges_of(r) for m, own in self._rows.items() for s, r in own.items()}
        aligned = {max(edges[s, m].frames, default=0) for s, m in edges if len(self._ids[s])}
        before = None
        if joint and len(aligned) == 1:  # the modalities are aligned: padding in front is common
            before = {
                s: np.min([edges[s, m].lead for m in self._rows], axis=0) for s in self._tables
            }
        found = {}
        for m in self._rows:
            splits = {}
            for split, table in self._tables.items():
                key, mask, own = f"{m}_lengths", self._masks[split], edges[split, m]
                longest = max(own.frames, default=0)
                fits = mask is not None and (longest == mask.shape[1] or not len(mask))
                stated = lengths(table[key]) if key in table else None
                splits[split] = Columns(self._ids[split], own, stated, mask if fits else None)
            found[m] = Padding(m, splits, before)
        return found

    def _clips(self, split: Split) -> Iterator[Clip]:
        for number, id_ in enumerate(self._ids[split]):
            video, clip = named(id_)
            score = {key: own[split][number] for key, own in self._scores.items() if own[split]}
            classes = self._classes[split]
            yield Clip(
                id=id_,
                video_id=video,
                clip_id=clip,
                split=split,
                text=HALF_LETTER.sub("\ufffd", self._said[split][number])
                if self._said[split]
                else "",
                label=self._labels.score(split, number),
                label_T=score.get(LABELS[1]),
                label_A=score.get(LABELS[2]),
                label_V=score.get(LABELS[3]),
                category=classes[number] if classes else self._labels.category(split, number),
            )

    def _id_faults(self) -> Iterator[str]:
        seen: dict[str, Split] = {}
        for split, ids in self._ids.items():
            for number, id_ in enumerate(ids):
                if not id_.removesuffix(f"{INTERNAL}0") or HALF_LETTER.search(id_) or "\0" in id_:
                    yield f"{split}: the id in row {number} is {shown(ascii(id_))}."
                elif id_ in seen:
                    yield f"{split}: {id_} stands already in {seen[id_]}."
                seen[id_] = split

    def _half_letters(self) -> Iterator[str]:
        for split, said in self._said.items():
            odd = [
                self._ids[split][k] for k, text in enumerate(said or ()) if HALF_LETTER.search(text)
            ]
            if odd:
                yield f"{split}: half letters in the text of {', '.join(odd[:3])} became \ufffd."

    def _offer(self, modality: Modality) -> ModalityFeatures:
        width = max(map(width_of, self._rows[modality].values()))
        padding = self._padding[modality]
        aligned = "-aligned" if padding.how == MASK and modality != "text" else ""
        name, weights = self._made.get(f"{modality}_features"), "imported"
        if isinstance(name, str):  # what we exported says what made it
            origin = self._made.get(modality)
            had = str(origin.get("weights", "")) if isinstance(origin, Mapping) else ""
            weights = f"imported {had}" if is_untrained(had) else weights
        else:
            name = f"{self._family}{aligned}-{modality}-{width}"
        return ModalityFeatures(
            width, name, {"lengths": padding.how}, weights, self._padded(modality)
        )

    def _padded(self, modality: Modality) -> int | None:
        """Frames to which the file pads the modality, if all splits have the same."""
        shapes = {
            rows.shape[1] if isinstance(rows, np.ndarray) and rows.ndim == 3 else None
            for rows in self._rows[modality].values()
            if len(rows)
        }
        return shapes.pop() if len(shapes) == 1 else None


def _mask(table: Table) -> NDArray[np.bool_] | None:
    if TOKENS not in table or not len(table[TOKENS]):
        return None
    try:
        ids = np.asarray(table[TOKENS])
    except ValueError:  # of different lengths
        ids = np.empty(0)
    if ids.ndim != 3 or ids.shape[1] != 3 or ids.dtype.kind not in "fiub":
        raise ColumnError(f"has the shape {ids.shape} of {ids.dtype}, not (clips, 3, tokens)")
    if not np.isfinite(ids).all() or (ids[:, 0] < 0).any() or (ids[:, 0] >= 2**31).any():
        raise ColumnError("holds token ids that are none")
    table[TOKENS] = ids
    return np.asarray(ids[:, 1] > 0)


def _token_ids(text_bert: NDArray[Any], begin: int, end: int) -> dict[str, NDArray[Any]]:
    """Token ids, and which are special: the first and the last, as BERT's and RoBERTa's are."""
    special = np.zeros(end - begin, np.bool_)
    special[[0, -1] if end > begin else []] = True
    return {"token_ids": np.asarray(text_bert[0][begin:end], np.int32), "special": special}


def _ids(table: Table) -> list[str]:
    return [INTERNAL.join(named(id_)) for id_ in texts(table["id"])]


def _frames(modality: Modality, table: Table) -> Sequence[NDArray[Any]]:
    """The rows of a modality, which the table lets go of."""
    return frame_rows(table.pop(modality))


def _said(table: Table) -> list[str] | None:
    return texts(table["raw_text"]) if "raw_text" in table else None


def _scores(key: str, table: Table) -> list[float | None] | None:
    return numbers(table[key]) if key in table and key != LABELS[0] else None


def _classes(table: Table) -> list[str] | None:
    """Class names; numbered classes count only where there are no scores they were made from."""
    for key in ("annotations", "annotation"):
        if key in table:
            return texts(table[key])
    numbered = LABELS[0] not in table and "classification_labels" in table
    return texts(table["classification_labels"]) if numbered else None


def _widths(rows: Mapping[Modality, Mapping[Split, Sequence[NDArray[Any]]]]) -> list[str]:
    found = []
    for m, splits in rows.items():
        widths = {width_of(own) for own in splits.values()} - {0}
        if len(widths) > 1:
            found.append(f"{m}: the splits have widths {', '.join(map(str, sorted(widths)))}.")
        if not widths:
            found.append(f"{m}: no clip of it has a frame.")
    return found
