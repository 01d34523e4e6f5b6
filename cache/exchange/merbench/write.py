"""Our features as MERBench keeps them: a file a clip, and label.npz; see `merbench`."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....progress import Progress, Silent
from ...manifest import Clip, Manifest
from ...store.atomic_write import explained, fresh
from ..export_features import ExportResult, ExportSource, exported, labelled, refuse_existing
from ..foreign import ExchangeError
from ..pickle_write import write_object_npz
from .read import FEATURES, LABELS, SCORES, WORDS

AT_ONCE = 256
"""Clips read at a time."""
CORPORA = {"train": "train_corpus", "valid": "val_corpus", "test": "test_corpus"}


def write_tree(
    path: Path,
    manifest: Manifest,
    chosen: Sequence[ExportSource],
    pooled: bool,
    progress: Progress | None = None,
) -> ExportResult:
    """Write a folder: (frames, width) a clip, or its mean over real frames if `pooled`.

    Frames without a face are left out, as MERBench has faces alone. A clip without features has no
    file. Raises ExchangeError if `path` is there, or an id is no file name.
    """
    refuse_existing(path)
    progress, clips = progress or Silent(), labelled(manifest)
    if odd := next((clip.id for clip in clips if "/" in clip.id or clip.id.startswith(".")), None):
        raise ExchangeError(f"{path}: clip {odd!r} cannot be a file name.")
    with explained(path), fresh(path) as folder:
        folder.mkdir()
        write_object_npz(folder / LABELS[0], _labels(clips))
        _write_words(folder / WORDS, clips)
        for one in chosen:
            place = folder / FEATURES / f"{one.name}-{'UTT' if pooled else 'FRA'}"
            place.mkdir(parents=True)
            progress.start(place.name, len(clips))
            for begin in range(0, len(clips), AT_ONCE):
                _write_some(place, one, clips[begin : begin + AT_ONCE], pooled)
                progress.advance(place.name, min(AT_ONCE, len(clips) - begin))
    return exported(path, "utt" if pooled else "fra", manifest, clips, chosen)


def _write_some(place: Path, one: ExportSource, clips: Sequence[Clip], pooled: bool) -> None:
    held = one.frames
    ids = [clip.id for clip in clips if clip.id in held]
    real: list[NDArray[Any]] = one.side("valid", ids)
    for id_, values, valid in zip(ids, one.read(ids), real, strict=True):
        seen = values[valid.astype(bool)]
        if len(seen):
            kept = seen.mean(axis=0, dtype=np.float64).astype(np.float32) if pooled else seen
            np.save(place / f"{id_}.npy", kept, allow_pickle=False)


def _labels(clips: Sequence[Clip]) -> dict[str, dict[str, dict[str, Any]]]:
    """A table a split: clip -> number of its class (``emo``), its score (``val``), its others."""
    classes = [name for name, _ in sorted(Counter(str(c.category) for c in clips).items())]
    tables: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in CORPORA.values()}
    for clip in clips:
        score = np.nan if clip.label is None else clip.label
        entry = {"emo": classes.index(str(clip.category)), "val": score}
        for key, own in zip(SCORES[1:], (clip.label_T, clip.label_A, clip.label_V), strict=True):
            if own is not None:
                entry[key] = own
        tables[CORPORA[clip.split]][clip.id] = entry
    return tables


def _write_words(path: Path, clips: Sequence[Clip]) -> None:
    """The words, under the language whose letters they are written in."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["name", "chinese", "english"])
        for clip in clips:
            chinese = any("\u4e00" <= letter <= "\u9fff" for letter in clip.text)
            said = (clip.text, "") if chinese else ("", clip.text)
            table.writerow([clip.id, *said])
