"""Our features a clip at a time: rows of a Parquet file, or samples in shards of tar files.

The shards are what WebDataset reads: files whose names agree up to the first dot are one sample.
"""

import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...progress import Progress, Silent
from ..manifest import Clip, Manifest
from ..spec import SPLITS, Modality
from ..store.atomic_write import explained, fresh
from ..table_file import pyarrow
from .export_features import ExportResult, ExportSource, exported, refuse_existing

AT_ONCE = 256
"""Clips read at a time: rows of a group, samples of a shard."""
LABELS = ("label", "label_T", "label_A", "label_V")
Features = Mapping[Modality, tuple[NDArray[np.float32], NDArray[Any]]]
"""What a clip has of each modality: values (frames, width) and which frames are real (frames,)."""


def write_shards(
    path: Path, manifest: Manifest, chosen: Sequence[ExportSource], progress: Progress | None = None
) -> ExportResult:
    """Write a folder of shards, ``train-000000.tar`` …, of 256 clips at most.

    A sample is ``<number>.json``, the clip's row of the corpus table, and of each modality that it
    has ``<number>.<modality>.npy``, (frames, width) float32; ``<number>.<modality>.valid.npy``
    (frames,) bool says which frames are real where some are not. Equal stores make equal bytes.
    Raises ExchangeError if `path` is there.
    """
    refuse_existing(path)
    with explained(path), fresh(path) as folder:
        folder.mkdir()
        for split in SPLITS:
            groups = _groups(manifest.split(split), chosen, progress or Silent())
            for number, group in enumerate(groups):
                with tarfile.open(folder / f"{split}-{number:06}.tar", "w") as shard:
                    for k, (clip, own) in enumerate(group):
                        _add_sample(shard, f"{number * AT_ONCE + k:09}", clip, own)
    return exported(path, "webdataset", manifest, manifest.clips, chosen)


def _add_sample(shard: tarfile.TarFile, key: str, clip: Clip, own: Features) -> None:
    row = {k: v for k, v in asdict(clip).items() if v not in (None, (), {})}
    _add(shard, f"{key}.json", json.dumps(row, ensure_ascii=False).encode())
    for modality, (values, valid) in own.items():
        _add(shard, f"{key}.{modality}.npy", _npy(values))
        if not valid.all():
            _add(shard, f"{key}.{modality}.valid.npy", _npy(valid.astype(bool)))


def _add(shard: tarfile.TarFile, name: str, data: bytes) -> None:
    about = tarfile.TarInfo(name)  # of no time and no user: equal stores make equal bytes
    about.size = len(data)
    shard.addfile(about, io.BytesIO(data))


def _npy(values: NDArray[Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, values, allow_pickle=False)
    return out.getvalue()


def write_parquet(
    path: Path, manifest: Manifest, chosen: Sequence[ExportSource], progress: Progress | None = None
) -> ExportResult:
    """Write one file, a row a clip: id, video_id, clip_id, split, text, speaker, labels; of each
    modality ``<modality>_features``, a list of frames of so many float32, and ``<modality>_valid``.

    A clip without a modality has null there. Raises ExchangeError if `path` is there, ConfigError
    without pyarrow.
    """
    refuse_existing(path)
    arrow = pyarrow(f"--to parquet {path}")
    named = {kind: _names(manifest, kind) for kind in ("dimensions", "emotions")}
    texts = ("id", "video_id", "clip_id", "split", "text", "speaker", "category")
    fields = [(name, arrow.string()) for name in texts]
    fields += [(name, arrow.float64()) for name in LABELS]
    fields += [(f"{kind}_{n}", arrow.float64()) for kind, names in named.items() for n in names]
    for one in chosen:
        frame = arrow.list_(arrow.float32(), one.width)
        fields += [(f"{one.modality}_features", arrow.list_(frame))]
        fields += [(f"{one.modality}_valid", arrow.list_(arrow.bool_()))]
    schema = arrow.schema(fields)
    with (
        explained(path),
        fresh(path) as temporary,
        temporary.open("wb") as file,
        arrow.parquet.ParquetWriter(file, schema) as out,
    ):
        for group in _groups(manifest.clips, chosen, progress or Silent()):
            rows = [_row(clip, own, named) for clip, own in group]
            out.write_table(arrow.Table.from_pylist(rows, schema))
    return exported(path, "parquet", manifest, manifest.clips, chosen)


def _names(manifest: Manifest, kind: str) -> list[str]:
    return list(dict.fromkeys(name for clip in manifest.clips for name in getattr(clip, kind)))


def _row(clip: Clip, own: Features, named: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    row = asdict(clip)
    several = {f"{k}_{n}": getattr(clip, k).get(n) for k, names in named.items() for n in names}
    features = {f"{m}_features": list(values) for m, (values, _) in own.items()}
    valid = {f"{m}_valid": real.astype(bool).tolist() for m, (_, real) in own.items()}
    return row | several | features | valid


def _groups(
    clips: Sequence[Clip], chosen: Sequence[ExportSource], progress: Progress
) -> Iterator[list[tuple[Clip, Features]]]:
    """Clips with what they have, (values, valid) by modality, `AT_ONCE` at a time."""
    held = {one.modality: one.frames for one in chosen}
    for begin in range(0, len(clips), AT_ONCE):
        some = clips[begin : begin + AT_ONCE]
        found: dict[str, dict[Modality, Any]] = {clip.id: {} for clip in some}
        for one in chosen:
            if not begin:
                progress.start(one.name, len(clips))
            ids = [clip.id for clip in some if clip.id in held[one.modality]]
            valid = one.side("valid", ids) if ids else []
            for id_, values, real in zip(ids, one.read(ids) if ids else [], valid, strict=True):
                found[id_][one.modality] = (values, real)
            progress.advance(one.name, len(some))
        yield [(clip, found[clip.id]) for clip in some]
