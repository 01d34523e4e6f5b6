"""`sedimental cache` and what stands behind it: conversion, and answers to people and scripts."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from sedimental.cache.cli import app
from sedimental.cache.manifest import Clip, Manifest, write_manifest
from sedimental.cache.spec import FeatureSpec
from sedimental.cache.store.convert import convert
from sedimental.cache.store.store import open_store
from sedimental.cache.store.verify import verify
from sedimental.cache.store.writer import ClipFeatures, StoreWriter
from sedimental.cache.summary import size_text
from sedimental.errors import CorruptStoreError, StoreError

FORMATS = ("zarr", "hdf5")


def spec(weights: str = "random:0") -> FeatureSpec:
    return FeatureSpec(
        modality="audio",
        encoder="toy",
        source="toy",
        revision=None,
        weights=weights,
        weights_digest="0",
        layers=("0", "1", "final"),
        width=6,
        preprocessing={"rate": 5.0},
        recorded={"torch": "2"},
    )


def clip(name: str) -> ClipFeatures:
    random = np.random.default_rng([*name.encode()])
    n = 3 + len(name) % 3
    values = random.normal(size=(3, n, 6)).astype(np.float32)
    one = np.ones(n, np.float32)
    return ClipFeatures(name, "s", values, one, one, one > 0, {"special": one > 1})


@pytest.fixture
def store(tmp_path: Path) -> Path:
    corpus = tmp_path / "corpus"
    writer = StoreWriter.create(corpus, spec())
    names = [f"v$_${k}" for k in range(12)]
    for start in range(0, 12, 4):
        writer.add([clip(name) for name in names[start : start + 4]])
    writer.probe(np.ones((3, 2, 6)))
    assert writer.finish(dict.fromkeys([*names, "v$_$bad"], "s"), {"v$_$bad": "no [audio] stream"})
    table = [
        Clip(id=name, video_id="v", clip_id=name[3:], split="train" if k % 2 else "test")
        for k, name in enumerate([*names, "v$_$bad", "v$_$none"])
    ]
    write_manifest(corpus / "manifest.jsonl", Manifest("corpus", tmp_path, tuple(table)))
    return writer.path


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return result.stdout


def answer(*arguments: object, code: int = 0) -> Any:
    return json.loads(run(*arguments, "--json", code=code))


def snapshot(store: Path) -> dict[str, bytes]:
    files = (p for p in sorted(store.rglob("*")) if p.is_file() and "manifest-" not in p.name)
    return {str(p.relative_to(store)): p.read_bytes() for p in files}


def damage(store: Path) -> Path:
    file = min(store.glob("part-*/hidden/c.0.0.0"))
    data = bytearray(file.read_bytes())
    data[9] ^= 1
    file.write_bytes(data)
    return file


def test_there_and_back_is_bit_identical(store: Path) -> None:
    before, values = snapshot(store), open_store(store).layers().values.tobytes()
    for format in ("hdf5", "hdf5", "zarr"):
        assert convert(store, format) == store
        opened = open_store(store)
        assert opened.formats == (format,)
        assert opened.layers().values.tobytes() == values
        assert not verify(store).damage
    assert snapshot(store) == before


@pytest.mark.parametrize("format", FORMATS)
def test_a_copy_leaves_the_store_as_it_is(store: Path, tmp_path: Path, format: str) -> None:
    before = snapshot(store)
    target = Path(answer("convert", store, "--to", format, "--into", tmp_path / "copy")["path"])
    assert snapshot(store) == before
    copy = open_store(target)
    assert copy.layers().values.tobytes() == open_store(store).layers().values.tobytes()
    assert copy.failures == open_store(store).failures
    assert not verify(target).damage
    back = convert(target, "zarr")
    assert snapshot(back) == before


def test_a_conversion_stopped_half_way_goes_on(store: Path, monkeypatch: Any) -> None:
    values = open_store(store).layers().values.tobytes()
    from sedimental.cache.store import atomic_write as durable

    with monkeypatch.context() as patch:
        patch.setattr(durable, "remove", lambda path: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            convert(store, "hdf5")
    half = open_store(store)
    assert half.formats == ("hdf5", "zarr")
    assert half.layers().values.tobytes() == values
    convert(store, "hdf5")
    assert open_store(store).formats == ("hdf5",)
    assert open_store(store).layers().values.tobytes() == values


def test_damage_is_not_converted(store: Path) -> None:
    damage(store)
    before = snapshot(store)
    with pytest.raises(CorruptStoreError, match="not the bytes that were written"):
        convert(store, "hdf5")
    assert snapshot(store) == before


def test_ls_names_untrained_encoders(store: Path, tmp_path: Path) -> None:
    for shown in (run("ls", "--root", tmp_path), run("info", store)):
        assert "untrained (random:0)" in shown
    (line,) = answer("ls", "--root", tmp_path)
    assert line["untrained"]
    assert (line["clips"], line["failed"], line["complete"]) == (12, 1, True)
    trained = StoreWriter.create(tmp_path / "corpus", spec("hub"))
    assert not trained.finish({"a": "s"}, {})
    other = next(x for x in answer("ls", "--root", tmp_path) if x["weights"] == "hub")
    assert not other["untrained"]
    assert not other["complete"]


def test_ls_reads_the_pipeline(store: Path, tmp_path: Path) -> None:
    pipeline = tmp_path / "pipeline.toml"
    pipeline.write_text('[cache]\nroot = "."\n')
    assert [line["store"] for line in answer("ls", "--config", pipeline)] == [store.name]
    pipeline.write_text("[cache]\nrot = 1\n")
    run("ls", "--config", pipeline, code=2)


def test_ls_goes_on_past_a_store_that_cannot_be_opened(store: Path, tmp_path: Path) -> None:
    (store / "store.json").write_text("{}")
    assert "cannot be opened" in run("ls", "--root", tmp_path)
    assert "store.json" in answer("ls", "--root", tmp_path)[0]["fault"]


def test_info_tells_coverage_failures_and_statistics(store: Path) -> None:
    found = answer("info", store)
    assert found["coverage"]["train"] == {"clips": 7, "held": 6, "failed": 0}
    assert found["coverage"]["test"] == {"clips": 7, "held": 6, "failed": 1}
    assert found["failures"] == {"v$_$bad": "no [audio] stream"}
    assert found["spec"]["preprocessing"] == {"rate": 5.0}
    assert list(found["statistics"]) == ["0", "1", "final"]
    assert "no [audio] stream" in run("info", store)
    run("info", store.parent, code=1)


def test_verify_tells_and_repairs(store: Path) -> None:
    assert answer("verify", store)["damage"] == []
    file = damage(store)
    found = answer("verify", store, code=1)
    assert found["clips"] == [f"v$_${k}" for k in range(4)]
    assert found["damage"][0]["file"] == str(file.parents[1])
    assert "layer 0" in found["damage"][0]["what"]
    assert "--repair" in run("verify", store, code=1)
    assert answer("verify", store, "--repair")["repaired"]
    assert not file.exists()
    assert answer("verify", store)["damage"] == []
    run("verify", store.parent, code=1)


def test_rm_asks_and_removes_only_stores(store: Path) -> None:
    run("rm", store.parent, "--yes", code=1)
    assert CliRunner().invoke(app, ["rm", str(store)], input="n\n").exit_code == 1
    assert store.exists()
    assert answer("rm", store, "--yes")["removed"] == str(store)
    assert not store.exists()
    assert [p.name for p in store.parent.iterdir()] == ["manifest.jsonl"]


def test_wrong_usage_is_2(store: Path) -> None:
    run("convert", store, "--to", "parquet", code=2)
    run("frobnicate", code=2)
    with pytest.raises(StoreError):
        StoreWriter.create(store.parent, spec(), "parquet")  # type: ignore[arg-type]


def test_the_commands_load_nothing_heavy() -> None:
    heavy = "{'torch', 'numpy', 'zarr', 'h5py', 'rich.table'}"
    code = f"import sys, sedimental.cache.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"


def test_sizes_are_read_at_a_glance() -> None:
    assert [size_text(n) for n in (7, 999, 1000, 2_500_000)] == [
        "7 B",
        "999 B",
        "1.00 kB",
        "2.50 MB",
    ]
