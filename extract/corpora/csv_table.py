"""Any table as a corpus: one row a clip, with the columns of a manifest."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ...cache.alignment.word import Word
from ...cache.manifest import Clip, Manifest
from .reading.table import Row, Table, finished, named
from .reading.word_times import read_words

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "id": ("clip", "name", "uid", "utt_id", "segment", "segment_id", "clip_name"),
    "video_id": ("dialogue_id", "dialog_id", "conversation_id"),
    "clip_id": ("utterance_id", "utt", "turn"),
    "split": ("mode", "set", "subset", "partition", "fold"),
    "label": ("labels", "sentiment", "score", "rating", "annotation"),
    "class": ("emotion", "category"),
    "text": ("transcript", "transcription", "utterance", "sentence", "caption", "words"),
    "media": (
        *("video_path", "media_path", "audio_path", "clip_path", "file_path", "filepath", "path"),
        *("file", "filename", "file_name", "video_file", "audio_file", "wav", "video"),
    ),
    "start": ("start_time", "begin", "onset"),
    "end": ("end_time", "stop", "offset"),
    "word_times": ("word_timings", "timings", "alignment", "word_alignment"),
    "label_T": (),
    "label_A": (),
    "label_V": (),
    "valence": (),
    "arousal": ("activation",),
    "dominance": (),
    "speaker": ("speaker_id", "actor", "subject"),
}
"""The columns that are read, and what they are called elsewhere; the first that is there counts."""
QUIET = {"mode": "split"}
"""Names that are as good as ours: not a word is said of them."""
DIMENSIONS = ("valence", "arousal", "dominance")
SEVERAL = {"dimensions": "dimension_", "emotions": "emotion_"}
"""What the names of columns of several labels a clip begin with; the rest is the label's name."""


def load(name: str, path: Path, unsplit: bool = False) -> Manifest:
    """The corpus in the table at `path`; media paths count from the table's folder.

    Columns: ``split`` (or ``mode``) and ``label`` (a number) or ``class`` (a name) are needed, and
    ``id`` or ``video_id`` with ``clip_id``; ``text media start end word_times label_T label_A
    label_V speaker`` may be there, any other is ignored. Instead of one label a clip may have
    several: scores in the columns ``valence``, ``arousal``, ``dominance`` or ``dimension_<name>``,
    or emotions in ``emotion_<name>`` (above 0: it is there). Names that differ in case or are of
    `COLUMNS` are understood, which the manifest's notes say. Without a ``media`` column it is a
    corpus of texts. An `unsplit` table needs no split: all are for training until they are dealt
    out. Raises ManifestError with every fault and its line.
    """
    table = Table(path)
    head: set[str] = set()
    notes: list[str] = []
    word_times: dict[str, tuple[Word, ...]] = {}

    def names(written: Sequence[str]) -> Mapping[str, str]:
        ours = understood(written)
        head.update(ours.get(column, column) for column in written)
        renamed = [f'"{c}" as {name}' for c, name in ours.items() if QUIET.get(c) != name]
        if renamed:
            notes.append(f"{path}: columns are read so: {', '.join(renamed)}.")
        return ours

    for row in table.rows(needed(unsplit), names=names):
        if "id" in head:
            id_ = row.required("id")
            video, _, number = id_.rpartition("$_$")
            video, number = row.text("video_id") or video or id_, row.text("clip_id") or number
        else:
            id_, video, number = named(row.required("video_id"), row.required("clip_id"))
        media = row.text("media")
        if "media" in head and media is None:
            row.fault("media is empty.")
        if words := read_words(row):
            word_times[id_] = words
        clip = Clip(
            id=id_,
            video_id=video,
            clip_id=number,
            split="train" if unsplit else row.split("split"),
            text=row.text("text") or "",
            media=media,
            start=row.number("start"),
            end=row.number("end"),
            label=row.number("label"),
            label_T=row.number("label_T"),
            label_A=row.number("label_A"),
            label_V=row.number("label_V"),
            category=row.text("class"),
            dimensions=several_labels(row, "dimensions"),
            emotions=several_labels(row, "emotions"),
            speaker=row.text("speaker"),
        )
        table.add(row.line, clip)
    manifest = finished(name, path.parent, table, notes=notes)
    return replace(manifest, word_times=word_times)


def needed(unsplit: bool) -> tuple[tuple[str, ...], ...]:
    """The columns that must be there, each with those that do as well."""
    split = () if unsplit else (("split",),)
    labels = ("label", "class", *DIMENSIONS, *SEVERAL.values())
    return (("id", "video_id"), ("id", "clip_id"), *split, labels, ("text", "media"))


def several_labels(row: Row, kind: Literal["dimensions", "emotions"]) -> dict[str, float]:
    """The labels of one kind that a row has, by name; an empty cell is not among them."""
    begin = SEVERAL[kind]
    columns = [c for c in row.cells if c.startswith(begin)]
    columns += [c for c in DIMENSIONS if c in row.cells] if kind == "dimensions" else []
    named = {column: row.number(column) for column in columns}
    return {c.removeprefix(begin): value for c, value in named.items() if value is not None}


def understood(written: Sequence[str]) -> dict[str, str]:
    """Columns of a head line whose names are not ours -> ours.

    >>> understood(["ID", "Transcript", "mode", "label"])
    {'ID': 'id', 'mode': 'split', 'Transcript': 'text'}
    """
    plain = {_plain(column): column for column in reversed(written)}
    ours: dict[str, str] = {}
    for name, others in COLUMNS.items():
        if name in written or (name == "id" and {"video_id", "clip_id"} <= plain.keys()):
            continue
        known = [_plain(name), *others]
        column = next((plain[p] for p in known if p in plain and plain[p] not in ours), None)
        if column is not None and column not in COLUMNS:
            ours[column] = name
    return ours


def _plain(column: str) -> str:
    return re.sub(r"[\W_]+", "_", column.strip().casefold()).strip("_")
