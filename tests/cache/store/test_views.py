"""A store as others' libraries see it: Zarr, HDF5, xarray; and features as rows and samples."""

import csv
import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from sedimental.cache.exchange.export_features import ExportSource
from sedimental.cache.exchange.foreign import ExchangeError
from sedimental.cache.exchange.rows_write import AT_ONCE, write_parquet, write_shards
from sedimental.cache.manifest import Clip, Manifest
from sedimental.cache.spec import FeatureSpec
from sedimental.cache.store.clip_features import ClipFeatures
from sedimental.cache.store.store import Store, open_store
from sedimental.cache.store.views import hdf5_view, zarr_view
from sedimental.cache.store.writer import StoreWriter
from sedimental.cache.table_file import check_table, write_table
from sedimental.errors import ConfigError


def made(folder: Path, format: str, clips: int = 9) -> Store:
    """A store of several parts, of which some clips were written again."""
    spec = FeatureSpec("audio", "toy", "toy", None, "hub", "00", ("0", "1", "final"), 3)
    by, writer = np.random.default_rng(0), StoreWriter.create(folder, spec, format)  # type: ignore[arg-type]
    for names in (range(clips), range(2, 4), range(clips - 2, clips)):
        values = [by.normal(size=(3, 1 + k % 4, 3)).astype("f2") for k in names]
        writer.add(
            [
                ClipFeatures(  # type: ignore[call-arg]
                    f"v$_${k}",
                    f"{len(own)}",
                    own,
                    *np.zeros((2, own.shape[1]), "f4"),
                    np.arange(own.shape[1]) != 1,
                    {},
                )
                for k, own in zip(names, values, strict=True)
            ]
        )
    writer.finish({f"v$_${k}": "3" for k in range(clips)}, {})
    return open_store(writer.path)


@pytest.mark.parametrize("format", ["zarr", "hdf5"])
def test_zarr_reads_the_whole_store_chunk_by_chunk(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zarr_view, "FRAMES", 4)  # chunks that end within parts and clips
    store = made(tmp_path, format)
    assert store.part_count > 1
    group, whole = store.as_zarr(), store.layers()
    hidden: Any = group["hidden"]
    assert hidden.chunks == (1, 4, 3)
    np.testing.assert_array_equal(hidden[:], whole.values)
    np.testing.assert_array_equal(hidden[1, 3:9], whole.values[1, 3:9])
    clip: Any = group["clip"]
    assert [group.attrs["clips"][k] for k in clip[:]] == [  # type: ignore[index]
        name for name, n in zip(store.clips, store.frames, strict=True) for _ in range(n)
    ]
    valid: Any = group["valid"]
    np.testing.assert_array_equal(valid[:], store.side("valid"))
    assert sorted(group.array_keys()) == ["clip", "durations", "hidden", "times", "valid"]
    with pytest.raises(ValueError, match=r"read.only"):
        hidden[0, 0, 0] = 1


def test_xarray_opens_it(tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    store = made(tmp_path, "zarr")
    data = xarray.open_zarr(store.as_zarr().store, consolidated=False)
    assert data["hidden"].dims == ("layer", "frame", "width")
    np.testing.assert_array_equal(data["hidden"].values, store.layers().values)


@pytest.mark.parametrize("format", ["zarr", "hdf5"])
@pytest.mark.parametrize("most", [1000, 2])
def test_hdf5_reads_the_parts_own_bytes(
    format: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5_view, "MOST", most)
    monkeypatch.chdir(tmp_path.parent)
    store = made(tmp_path, format)
    with store.as_h5py() as file:
        for k, layer in enumerate(store.spec.layers):
            data: Any = file[f"hidden/{layer}"]
            np.testing.assert_array_equal(data[:], store.layers().values[k])
        names: Any = file["clips"]
        assert tuple(names.asstr()[:]) == store.clips
        offsets: Any = file["offsets"]
        np.testing.assert_array_equal(offsets[:], store.offsets())
        assert file.attrs["encoder"] == "toy"
    assert not list(Path().glob("*.h5"))


def test_hdf5_takes_as_many_stretches_as_it_is_given(tmp_path: Path) -> None:
    """`MOST` is within what HDF5 keeps, for paths of a usual length."""
    path = tmp_path / ("x" * 100)
    path.write_bytes(bytes(4 * hdf5_view.MOST))
    places = [(str(path), 4 * k, 4) for k in range(hdf5_view.MOST)]
    with h5py.File("x.h5", "w", driver="core", backing_store=False) as file:
        data = file.create_dataset("x", (hdf5_view.MOST,), "f4", external=places)
        assert data[:].sum() == 0


def corpus(store: Store, folder: Path) -> tuple[Manifest, tuple[ExportSource, ...]]:
    clips = tuple(
        Clip(
            id,
            "v",
            id[-1],
            ("train", "valid", "test")[k % 3],
            text="=hä",
            dimensions={"valence": float(k), "arousal": 0.5},
        )
        for k, id in enumerate([*store.clips, "v$_$none"])
    )
    return Manifest("x", folder, clips), (ExportSource("audio", store, ("1", "final")),)


def test_shards_hold_a_sample_a_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sedimental.cache.exchange.rows_write.AT_ONCE", 2)
    assert AT_ONCE == 256
    store = made(tmp_path / "store", "zarr")
    manifest, chosen = corpus(store, tmp_path)
    sent = write_shards(tmp_path / "out", manifest, chosen)
    assert (sent.clips, sent.shipped[0].lacking) == ({"train": 4, "valid": 3, "test": 3}, 1)
    found: dict[str, dict[str, bytes]] = {}
    for path in sorted((tmp_path / "out").glob("*.tar")):
        with tarfile.open(path) as shard:
            for member in shard:
                key, _, ending = member.name.partition(".")
                data = shard.extractfile(member)
                assert data is not None
                found.setdefault(f"{path.stem[:-7]} {key}", {})[ending] = data.read()
    assert len(found) == 10
    for sample in found.values():
        row = json.loads(sample["json"])
        assert row["dimensions"]["arousal"] == 0.5
        if row["id"] == "v$_$none":
            assert list(sample) == ["json"]
            continue
        [want] = chosen[0].read([row["id"]])
        np.testing.assert_array_equal(np.load(io.BytesIO(sample["audio.npy"])), want)
        [real] = chosen[0].side("valid", [row["id"]])
        assert ("audio.valid.npy" in sample) == (not real.all())
    write_shards(tmp_path / "again", manifest, chosen)
    for path in (tmp_path / "out").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
    with pytest.raises(ExchangeError, match="is there already"):
        write_shards(tmp_path / "out", manifest, chosen)


def test_parquet_has_a_row_a_clip_where_pyarrow_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = made(tmp_path / "store", "zarr")
    manifest, chosen = corpus(store, tmp_path)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(ConfigError, match=r"--to parquet .*needs pyarrow.*pip install pyarrow"):
            write_parquet(tmp_path / "x.parquet", manifest, chosen)
        with pytest.raises(ConfigError, match="needs pyarrow"):
            check_table(tmp_path / "x.parquet", "--predictions")
    assert not (tmp_path / "x.parquet").exists()
    parquet = pytest.importorskip("pyarrow.parquet")
    write_parquet(tmp_path / "x.parquet", manifest, chosen)
    rows = parquet.read_table(tmp_path / "x.parquet").to_pylist()
    assert [row["id"] for row in rows] == [clip.id for clip in manifest.clips]
    for row in rows[:-1]:
        [want] = chosen[0].read([row["id"]])
        np.testing.assert_array_equal(np.array(row["audio_features"], "f4"), want)
    assert rows[-1]["audio_features"] is None
    assert rows[1]["dimensions_valence"] == 1


def test_tables_are_csv_or_parquet(tmp_path: Path) -> None:
    columns = {"id": ["=a", "b"], "score": [1.5, None]}
    write_table(tmp_path / "x.csv", columns)  # type: ignore[arg-type]
    with (tmp_path / "x.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["id", "score"], ["'=a", "1.5"], ["b", ""]]
    with pytest.raises(ConfigError, match=r"--predictions .*x\.txt: should end in \.csv"):
        check_table(tmp_path / "x.txt", "--predictions")
    parquet = pytest.importorskip("pyarrow.parquet")
    write_table(tmp_path / "x.parquet", columns)  # type: ignore[arg-type]
    assert parquet.read_table(tmp_path / "x.parquet").to_pydict() == columns
