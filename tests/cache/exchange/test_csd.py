"""Computational sequences (.csd), made with h5py after their schema: in, aligned, and out again."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from sedimental.cache.alignment.time_align import COLLAPSE, align
from sedimental.cache.cli import app
from sedimental.cache.exchange.csd.file import CsdFile
from sedimental.cache.exchange.csd.read import Aligned, open_folder
from sedimental.cache.exchange.export_features import choose
from sedimental.cache.exchange.foreign import ExchangeError, MissingFeatures
from sedimental.cache.exchange.import_features import receive
from sedimental.cache.exchange.open import open_foreign
from sedimental.cache.manifest import read_manifest
from sedimental.cache.store.store import open_store
from sedimental.config import load_config


def sequence(folder: Path, name: str, keys: dict[str, tuple[Any, Any]]) -> Path:
    """A file as the SDK lays them out: key -> features, intervals."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.csd"
    with h5py.File(path, "w") as file:
        for key, (values, intervals) in keys.items():
            file[f"{name}/data/{key}/features"] = np.asarray(values)
            file[f"{name}/data/{key}/intervals"] = np.asarray(intervals, "f8").reshape(-1, 2)
        file[f"{name}/metadata/root name"] = [json.dumps(name).encode()]
    return path


def steps(count: int, width: float, begin: float = 0.0) -> list[list[float]]:
    return [[begin + k * width, begin + (k + 1) * width] for k in range(count)]


@pytest.fixture
def mosi(tmp_path: Path) -> Path:
    """Two videos: sound ten times a second, words, sentiment of segments."""
    folder = tmp_path / "mosi"
    sound = {
        v: (np.arange(60, dtype="f4").reshape(30, 2) + k, steps(30, 0.1))
        for k, v in enumerate("ab")
    }
    sequence(folder, "CMU_MOSI_COVAREP", sound)
    words = np.array([[b"sp"], [b"good"], [b"film"], [b"sp"], [b"w\xc3\xb6rd"]])
    sequence(folder, "CMU_MOSI_TimestampedWords", {v: (words, steps(5, 0.5)) for v in "ab"})
    rated = {
        "a": ([[1.6], [-0.4]], [[0.0, 1.0], [1.5, 2.5]]),
        "b": ([[2.0]], [[0.5, 1.5]]),
    }
    sequence(folder, "CMU_MOSI_Opinion_Labels", rated)
    (folder / "splits.json").write_text(json.dumps({"train": ["a"], "test": ["b"]}))
    return folder


def test_sequences_of_videos_are_cut_to_the_segments_of_the_labels(mosi: Path) -> None:
    """I7: a .csd was "not a pickle"."""
    found = open_foreign(mosi, {})
    assert [(c.id, c.split, c.label, c.text, c.start, c.end) for c in found.clips] == [
        ("a$_$0", "train", 1.6, "good", 0.0, 1.0),
        ("a$_$1", "train", -0.4, "w\u00f6rd", 1.5, 2.5),
        ("b$_$0", "test", 2.0, "good film", 0.5, 1.5),
    ]
    (first, second, third) = found.take("audio")
    assert not isinstance(first, MissingFeatures)
    assert not isinstance(second, MissingFeatures)
    assert not isinstance(third, MissingFeatures)
    np.testing.assert_array_equal(first.values[0], np.arange(20).reshape(10, 2))
    np.testing.assert_array_equal(second.values[0], np.arange(30, 50).reshape(10, 2))
    np.testing.assert_array_equal(third.values[0], np.arange(10, 30).reshape(10, 2) + 1)
    np.testing.assert_allclose(second.times, np.arange(10) / 10, atol=1e-6)
    np.testing.assert_allclose(second.durations, 0.1, rtol=1e-5)


def test_keys_of_segments_and_labels_with_emotions(tmp_path: Path) -> None:
    rated = {f"v[{k}]": ([[k - 1.0, 0, 1, 0, 0, 0, 0]], [[k, k + 1]]) for k in range(3)}
    sequence(tmp_path / "x", "All Labels", rated)
    sound = {f"v[{k}]": (np.full((2, 4), k + 1.0), steps(2, 0.5, k)) for k in range(2)}
    sequence(tmp_path / "x", "OpenSMILE", sound)
    found = open_foreign(tmp_path / "x", {})
    assert [c.label for c in found.clips] == [-1, 0, 1]
    assert {c.split for c in found.clips} == {found.clips[0].split}  # a video is in one split
    assert any("the six emotions of CMU-MOSEI" in note for note in found.notes)
    assert any("by a rule" in note for note in found.notes)
    *held, last = found.take("audio")
    assert [one.values.shape for one in held if not isinstance(one, MissingFeatures)] == [
        (1, 2, 4)
    ] * 2
    assert last == MissingFeatures("v$_$2", "not in the sequence")


@pytest.mark.parametrize(
    ("collapse", "expected"),
    [("mean", 4.0), ("max", 6.0), ("min", 2.0), ("sum", 12.0), ("first", 2.0), ("last", 6.0)],
)
def test_what_overlaps_a_step_is_collapsed(collapse: str, expected: float) -> None:
    values = np.array([[2.0], [4.0], [6.0], [100.0]])
    times = np.array([[0, 1], [1, 2], [2, 3], [7, 8.0]])
    made, seen = align(values, times, np.array([[0.5, 2.5], [4, 5.0]]), COLLAPSE[collapse])
    assert made.tolist() == [[expected], [0]]
    assert seen.tolist() == [True, False]


def test_the_weighted_mean_is_by_seconds_of_overlap() -> None:
    values, times = np.array([[1.0], [5.0]]), np.array([[0, 3], [3, 4.0]])
    made, _ = align(values, times, np.array([[0, 4.0]]), COLLAPSE["weighted"])
    assert made.tolist() == [[2.0]]
    # rows that only touch a step are not in it; one without length is where it lies
    made, seen = align(values, np.array([[0, 1], [2, 2.0]]), np.array([[1, 3.0]]), COLLAPSE["mean"])
    assert (made.tolist(), seen.tolist()) == ([[5.0]], [True])


def test_sequences_are_put_on_the_steps_of_a_reference(mosi: Path) -> None:
    found = open_folder(mosi, {}, aligned=Aligned("CMU_MOSI_TimestampedWords", "mean"))
    (first, *_) = found.take("audio")
    assert not isinstance(first, MissingFeatures)
    np.testing.assert_allclose(first.values[0], [[4, 5], [14, 15]])  # two words, five frames each
    assert first.valid.tolist() == [True, True]
    np.testing.assert_allclose(first.times, [0, 0.5])
    assert found.offers["audio"].how["aligned to"] == "CMU_MOSI_TimestampedWords"
    with pytest.raises(ExchangeError, match="--collapse median: choose of mean"):
        open_folder(mosi, {}, aligned=Aligned("CMU_MOSI_TimestampedWords", "median"))


def test_a_pipeline_is_written_for_sequences(mosi: Path, tmp_path: Path) -> None:
    made = tmp_path / "p.toml"
    aligned = ["--align", "CMU_MOSI_TimestampedWords", "--collapse", "max"]
    result = CliRunner().invoke(app, ["import", str(mosi), "-c", str(made), *aligned, "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["splits"] == {"train": 2, "valid": 0, "test": 1}
    assert load_config(made).corpus.kind == "imported"


def test_what_leaves_the_file_or_does_not_fit_is_refused(tmp_path: Path, mosi: Path) -> None:
    """H13, I7: links to other files, bytes of other files, sizes that nothing holds."""
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(range(64)))
    path = sequence(tmp_path / "x", "COVAREP", {"a": (np.ones((2, 2)), steps(2, 1))})
    with h5py.File(path, "a") as file:
        data = file["COVAREP/data"]
        for key in ("soft", "external", "raw", "huge", "ragged", "text"):
            data.create_group(key)["intervals"] = np.array(steps(2, 1))
        data["soft/features"] = h5py.SoftLink("/COVAREP/data/a/features")
        data["external/features"] = h5py.ExternalLink(str(mosi / "CMU_MOSI_COVAREP.csd"), "/")
        data["raw"].create_dataset("features", (2, 4), "f8", external=[(str(secret), 0, 64)])
        data["huge"].create_dataset("features", (10**9, 4), "f8", chunks=(1024, 4))
        data["ragged/features"] = np.ones((3, 2))
        data["text/features"] = np.ones((2, 2, 2))
    with CsdFile(path) as opened:
        for key in ("soft", "external", "raw", "huge", "ragged", "text", "none"):
            with pytest.raises(ExchangeError, match=f"COVAREP.csd: {key}: ") as found:
                opened.rows(key)
            assert len(str(found.value).splitlines()) == 1
        assert opened.rows("a").features.tolist() == [[1, 1], [1, 1]]
    for content, fault in ((b"no HDF5", "not a .csd"), (b"", "not a .csd")):
        (tmp_path / "x" / "bad.csd").write_bytes(content)
        with pytest.raises(ExchangeError, match=fault):
            open_foreign(tmp_path / "x", {})


def test_what_is_written_is_what_is_read(mosi: Path, tmp_path: Path) -> None:
    """I7: bit for bit, with times, words, splits and scores."""
    given = {"audio": "CMU_MOSI_COVAREP"}
    received = receive(open_foreign(mosi, given), tmp_path / "features" / "mosi", {})  # type: ignore[arg-type]
    pipeline = tmp_path / "p.toml"
    pipeline.write_text(
        '[corpus]\nkind = "imported"\npath = "features/mosi"\n[cache]\nroot = "features"\n'
        '[[features]]\nmodality = "audio"\nencoder = "CMU_MOSI_COVAREP"\nweights = "imported"\n'
        '[train.inputs]\naudio = { encoder = "CMU_MOSI_COVAREP", layers = 1 }\n'
    )
    result = CliRunner().invoke(
        app, ["export", str(tmp_path / "out"), "--to", "csd", "-c", str(pipeline)]
    )
    assert result.exit_code == 0, result.output
    with h5py.File(tmp_path / "out" / "audio-CMU_MOSI_COVAREP.csd") as file:
        data = file["CMU_MOSI_COVAREP/data/a[1]"]
        assert (data["features"].shape, data["intervals"].shape) == ((10, 2), (10, 2))
        np.testing.assert_allclose(data["intervals"][0], [1.5, 1.6], atol=1e-5)
        about = file["CMU_MOSI_COVAREP/metadata/root name"][0]
        assert json.loads(about) == "CMU_MOSI_COVAREP"
    twin = receive(open_foreign(tmp_path / "out", {}), tmp_path / "features" / "twin", {})
    for ours, theirs in zip(twin.manifest.clips, received.manifest.clips, strict=True):
        for key in ("id", "split", "text", "label", "start", "end"):
            assert getattr(ours, key) == getattr(theirs, key)
    config, here = load_config(pipeline), open_store(twin.arrivals[0].path)
    (chosen,) = choose(config, {})
    for clip in read_manifest(config.corpus_cache / "manifest.jsonl").clips:
        (values,) = chosen.read([clip.id])
        np.testing.assert_array_equal(here.read([-1], [clip.id]).values[0], values)
        for name in ("times", "durations"):
            (own,) = chosen.side(name, [clip.id])
            np.testing.assert_allclose(here.side(name, [clip.id]), own, atol=1e-5)  # type: ignore[arg-type]
