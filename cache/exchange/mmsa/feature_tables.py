"""The tables train, valid and test of a foreign file, whatever their columns are called there."""

import contextlib
import json
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...safe_pickle.limits import shown
from ...spec import MODALITIES, SPLIT_NAMES, SPLITS, Modality, Split
from ..columns import ColumnError, frame_rows, kind_of, rows_of
from . import multibench

Table = MutableMapping[str, Any]
SUFFIXES = ("", "_T", "_A", "_V")
ALIASES: Mapping[str, Modality] = {
    "language": "text",
    "acoustic": "audio",
    "speech": "audio",
    "visual": "vision",
    "video": "vision",
}
"""Names of the modalities in other files of the field, each also before ``_lengths``."""
TOKENS = "text_bert"
LABELS = tuple(f"regression_labels{suffix}" for suffix in SUFFIXES)
KINDS = ("annotations", "annotation", "classification_labels")
ROWWISE = (
    *MODALITIES,
    *(f"{m}_lengths" for m in MODALITIES),
    *LABELS,
    *KINDS,
    "raw_text",
    TOKENS,
    "id",
)
MUST_AGREE = (*MODALITIES, TOKENS)
"""Columns that all splits have or none: without them clips would be compared on other inputs."""


@dataclass(frozen=True)
class FeatureTables:
    """What a file holds, under MMSA's names."""

    splits: Mapping[Split, Table]
    family: str
    """``mmsa`` or ``multibench``."""
    made: Mapping[str, Any]
    """What the file says made the features."""
    notes: tuple[str, ...]


def tables_of(found: Any) -> FeatureTables:
    """The tables in a file's content; raises ColumnError if there are none."""
    splits: dict[Split, Table] = {}
    entries = found.items() if isinstance(found, Mapping) else ()
    for key, value in entries:
        if isinstance(value, np.ndarray) and value.shape == ():  # a dict in a .npz
            value = value.item()
        name = SPLIT_NAMES.get(str(key).lower()) if isinstance(key, str) else None
        if name is not None and isinstance(value, MutableMapping):
            splits[name] = {str(k): v for k, v in value.items()}
    if not splits:
        keys = ", ".join(shown(str(key)) for key, _ in zip(entries, range(8), strict=False))
        what = f"keys {keys or 'none'}" if isinstance(found, Mapping) else kind_of(found)
        raise ColumnError(f"no tables train, valid and test in it, but {what}.")
    of_multibench = all(multibench.LABELS in table for table in splits.values())
    notes = list[str]()
    for split, table in splits.items():
        splits[split] = _renamed(split, table, of_multibench, notes)
    made = found.get("config")
    if isinstance(made, np.ndarray) and made.dtype.kind == "U" and made.shape == ():
        with contextlib.suppress(ValueError, RecursionError):
            made = json.loads(made.item())  # as a .npz of ours has it
    return FeatureTables(
        splits={split: splits[split] for split in SPLITS if split in splits},
        family="multibench" if of_multibench else "mmsa",
        made=made if isinstance(made, Mapping) else {},
        notes=tuple(dict.fromkeys(notes)),
    )


def _renamed(split: Split, table: Table, of_multibench: bool, notes: list[str]) -> Table:
    """The table under MMSA's names; what is called otherwise, and what is left out, is said."""
    if of_multibench:
        table = multibench.renamed(table)
    for alias, modality in ALIASES.items():
        for old, new in ((alias, modality), (f"{alias}_lengths", f"{modality}_lengths")):
            if old in table and new not in table:
                table[new] = table.pop(old)
                notes.append(f"the column {old} was taken for {new}.")
    shape = np.shape(table[TOKENS]) if isinstance(table.get(TOKENS), np.ndarray) else ()
    if "text" not in table and len(shape) == 3 and shape[1] != 3:
        table["text"] = table.pop(TOKENS)
        notes.append(f"the column {TOKENS} holds features and was taken for text.")
    elif "text" not in table and TOKENS in table:
        notes.append(f"{TOKENS} holds token ids and no features: there is no text without `text`.")
    if other := [shown(key) for key in table if key not in ROWWISE]:
        notes.append(f"columns that mean nothing here were left out: {', '.join(sorted(other))}.")
    return table


def table_faults(splits: Mapping[Split, Table]) -> Iterator[str]:
    """What of the columns does not fit together."""
    found = [fault for split, table in splits.items() for fault in _faults(split, table)]
    yield from found
    for column in MUST_AGREE:
        lacking = [split for split, table in splits.items() if column not in table]
        if not found and len(lacking) < len(splits):
            for split in lacking:
                yield f"{split}: no column `{column}`, which other splits have."


def _faults(split: Split, table: Table) -> Iterator[str]:
    if "id" not in table:
        yield f"{split}: no column `id`."
        return
    if not any(m in table for m in MODALITIES):
        also = f"; {TOKENS} holds token ids, no features" if TOKENS in table else ""
        there = ", ".join(shown(key) for key in list(table)[:12])
        yield f"{split}: none of the columns text, audio and vision, but {there}{also}."
    try:
        count = len(rows_of(table["id"]))
    except ColumnError as fault:
        yield f"{split}: id {fault}."
        return
    for key in ROWWISE:
        if key not in table:
            continue
        try:
            if (rows := len(rows_of(table[key]))) != count:
                yield f"{split}: {key} has {rows} rows, id has {count}."
        except ColumnError as fault:
            yield f"{split}: {key} {fault}."
            table = {k: v for k, v in table.items() if k != key}
    for m in MODALITIES:
        try:
            frame_rows(table.get(m, ()))
        except ColumnError as fault:
            yield f"{split}: {m} {fault}."


def lacking_notes(splits: Mapping[Split, Table]) -> Iterator[str]:
    """Columns that only some splits have, where the others can do without."""
    for column in ROWWISE:
        lacking = [split for split, table in splits.items() if column not in table]
        if column not in MUST_AGREE and 0 < len(lacking) < len(splits):
            yield f"no column `{column}` in {', '.join(lacking)}, which other splits have."
