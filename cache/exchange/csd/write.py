"""Our features as computational sequences (.csd), a file a modality; see `file`."""

import json
import uuid
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ....progress import Progress, Silent
from ...manifest import Clip, Manifest
from ...spec import MOSEI_EMOTIONS, SPLITS
from ...store.atomic_write import explained, fresh
from ..export_features import ExportResult, ExportSource, exported, labelled, refuse_existing
from .file import DATA, FEATURES, INTERVALS, METADATA
from .read import SPLITS_FILE

AT_ONCE = 256
"""Clips read at a time."""
LABELS, CLASSES, WORDS = "Opinion Segment Labels", "Class Labels", "Transcripts"

Entry = tuple[str, NDArray[Any], NDArray[np.float64]]
"""Key, features (rows, width), intervals (rows, 2)."""


def write_csd(
    path: Path, manifest: Manifest, chosen: Sequence[ExportSource], progress: Progress | None = None
) -> ExportResult:
    """Write a folder: a sequence a modality, the labels, the words, and splits.json.

    Keys are ``video[clip]``, times those of the video where the manifest has them, else from the
    clip's beginning. Frames that are masked are left out, as these files have no masks. Raises
    ExchangeError if `path` is there.
    """
    refuse_existing(path)
    progress, clips = progress or Silent(), labelled(manifest)
    timeless = set[str]()
    with explained(path), fresh(path) as folder:
        folder.mkdir(parents=True)
        for one in chosen:
            progress.start(one.name, len(clips))
            entries = _features(one, clips, timeless, progress)
            _write(folder / f"{one.modality}-{one.name}.csd", one.name, entries, manifest, one)
        rated, values = _labels(clips)
        seconds = {clip.id: _interval(clip, chosen) for clip in clips}
        labels = ((_key(c), values[c.id], seconds[c.id]) for c in clips)
        _write(folder / f"{rated}.csd", rated, labels, manifest)
        words = ((_key(c), np.array([[c.text.encode()]], object), seconds[c.id]) for c in clips)
        _write(folder / f"{WORDS}.csd", WORDS, words, manifest)
        splits = {split: [c.id for c in clips if c.split == split] for split in SPLITS}
        (folder / SPLITS_FILE).write_text(json.dumps(splits, ensure_ascii=False), encoding="utf-8")
    notes = [f"{name} tells no times: its frames lie a second apart." for name in sorted(timeless)]
    return exported(path, "csd", manifest, clips, chosen, notes)


def _key(clip: Clip) -> str:
    return f"{clip.video_id}[{clip.clip_id}]"


def _features(
    one: ExportSource, clips: Sequence[Clip], timeless: set[str], progress: Progress
) -> Iterable[Entry]:
    held = one.frames
    for begin in range(0, len(clips), AT_ONCE):
        here = [clip for clip in clips[begin : begin + AT_ONCE] if clip.id in held]
        ids = [clip.id for clip in here]
        sides = (one.side(name, ids) for name in ("valid", "times", "durations"))
        for clip, values, valid, times, lasting in zip(here, one.read(ids), *sides, strict=True):
            if not np.isfinite(times).all():
                timeless.add(one.name)
                times, lasting = np.arange(len(values)), np.ones(len(values))
            starts = times.astype(np.float64) + (clip.start or 0.0)
            real = valid.astype(bool)
            both = np.stack([starts, starts + lasting], axis=1)
            if real.any():
                yield _key(clip), values[real], both[real]
        progress.advance(one.name, min(AT_ONCE, len(clips) - begin))


def _interval(clip: Clip, chosen: Sequence[ExportSource]) -> NDArray[np.float64]:
    """When the clip is said: as the manifest has it, else as long as its features."""
    if clip.start is not None and clip.end is not None:
        return np.array([[clip.start, clip.end]])
    last = 0.0
    for one in chosen:
        if clip.id in one.frames:
            times, lasting = (one.side(n, [clip.id])[0] for n in ("times", "durations"))
            ends = times.astype(np.float64) + lasting.astype(np.float64)
            last = max(last, float(ends[-1]) if np.isfinite(ends).all() else float(len(ends)))
    return np.array([[0.0, last]]) + (clip.start or 0.0)


def _labels(clips: Sequence[Clip]) -> tuple[str, dict[str, NDArray[Any]]]:
    if clips and clips[0].label is not None:
        if all(list(clip.emotions) == list(MOSEI_EMOTIONS) for clip in clips):
            rows = {clip.id: [clip.label, *clip.emotions.values()] for clip in clips}
            return "All Labels", {id_: np.array([row], np.float64) for id_, row in rows.items()}
        return LABELS, {clip.id: np.array([[clip.label]], np.float64) for clip in clips}
    return CLASSES, {clip.id: np.array([[str(clip.category).encode()]], object) for clip in clips}


def _write(
    path: Path,
    root: str,
    entries: Iterable[Entry],
    manifest: Manifest,
    one: ExportSource | None = None,
) -> None:
    text, description = h5py.string_dtype("utf-8"), root
    if one:
        spec = one.store.spec
        layers = ", ".join(one.layers)
        description = f"{spec.encoder} ({spec.weights}), layers {layers}, {spec.fingerprint}"
    about: dict[str, Any] = {
        "root name": root,
        "computational sequence description": description,
        "dimension names": [str(k) for k in range(one.width)] if one else [root],
        "computational sequence version": "1.0",
        "alignment compatible": True,
        "dataset name": manifest.corpus,
        "dataset version": "1.0",
        "creator": f"sedimental {version('sedimental')}",
        "contact": "",
        "featureset bib citation": "",
        "dataset bib citation": "",
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{manifest.digest} {root}")),
    }
    with h5py.File(path, "w") as file:
        data = file.create_group(f"{root}/{DATA}")
        for key, values, intervals in entries:
            group = data.create_group(key)
            kind = text if values.dtype == object else None
            group.create_dataset(FEATURES, data=values, dtype=kind)
            group.create_dataset(INTERVALS, data=intervals)
        for name, value in about.items():
            place = f"{root}/{METADATA}/{name}"
            file.create_dataset(place, data=[json.dumps(value)], dtype=text)
