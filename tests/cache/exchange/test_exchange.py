"""Features for others and from others: what is written is what is read, and nothing else runs."""

import json
import pickle
import tempfile
import tracemalloc
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from sedimental.cache.cli import app
from sedimental.cache.exchange import import_features as receiving
from sedimental.cache.exchange.export_features import choose
from sedimental.cache.exchange.foreign import ExchangeError
from sedimental.cache.exchange.import_features import Received, receive
from sedimental.cache.exchange.merbench.write import write_tree
from sedimental.cache.exchange.mmsa.write import write_mmsa
from sedimental.cache.exchange.open import open_foreign
from sedimental.cache.failures import read_failures
from sedimental.cache.manifest import Clip, Manifest, contexts, read_manifest, write_manifest
from sedimental.cache.safe_pickle.limits import PickleRefusedError
from sedimental.cache.safe_pickle.load import load_plain
from sedimental.cache.spec import MODALITIES, FeatureSpec, Modality, Split
from sedimental.cache.store.clip_features import ClipFeatures
from sedimental.cache.store.store import open_store
from sedimental.cache.store.writer import StoreWriter
from sedimental.config import Config, ConfigError, load_config
from sedimental.errors import SedimentalError

WIDTH: Mapping[Modality, int] = {"text": 4, "audio": 3, "vision": 5}
SPLITS: tuple[Split, ...] = ("train", "train", "valid", "test")


def features_of(frames: Mapping[Modality, Sequence[int]], root: Path, weights: str) -> Config:
    """A cache with clips of so many frames (0: none), and the pipeline that names it."""
    random, folder = np.random.default_rng(len(frames["text"])), root / "features" / "toy"
    clips = [
        Clip(
            id=f"v{k % 2}$_$0{k}",
            video_id=f"v{k % 2}",
            clip_id=f"0{k}",
            split=SPLITS[k % 4],
            text=f"w\u00f6rd {k}",
            label=round(k / 5 - 1, 1),
        )
        for k in range(len(frames["text"]))
    ]
    before = contexts(clips)
    clips = [replace(clip, context=before[clip.id]) for clip in clips]
    write_manifest(folder / "manifest.jsonl", Manifest("toy", root, tuple(clips)))
    lines = tables = ""
    for m in MODALITIES:
        spec = FeatureSpec(m, f"toy-{m}", "toy", None, weights, "00", ("0", "1"), WIDTH[m])
        writer = StoreWriter.create(folder, spec)
        made = []
        for clip, n in zip(clips, frames[m], strict=True):
            values, times = random.normal(3, 1, (2, n, WIDTH[m])), np.arange(n, dtype=np.float32)
            valid = np.ones(n, bool)
            if m == "vision" and n > 2:
                valid[1] = values[:, 1] = 0  # no face there
            ids = random.integers(1, 30_000, n).astype(np.int32)
            side = {"token_ids": ids, "special": ids > 9} if m == "text" else {}
            if n:
                made.append(ClipFeatures(clip.id, "s", values, times, times, valid, side))
        if made:
            writer.add(made)
        writer.finish({c.id: "s" for c in clips}, {c.id: "none" for c in clips})
        tables += f'[[features]]\nmodality = "{m}"\nencoder = "toy-{m}"\n'
        lines += f'{m} = {{ encoder = "toy-{m}", layers = {[1, 0] if m == "audio" else -1} }}\n'
    text = f'[corpus]\nkind = "csv"\npath = "toy.csv"\n{tables}[train.inputs]\n{lines}'
    (root / "pipeline.toml").write_text(text)
    return load_config(root / "pipeline.toml")


def imported(path: Path, root: Path, names: Mapping[Modality, str] | None = None) -> Received:
    return receive(open_foreign(path, names or {}), root, names or {})


def assert_same(config: Config, received: Received) -> None:
    """The imported stores hold, clip by clip, what the chosen layers of the originals do."""
    for one, arrival in zip(choose(config, {}), received.arrivals, strict=True):
        here = open_store(arrival.path)
        assert set(here.clips) == set(one.store.clips)
        assert here.failures.keys() == {c.id for c in received.manifest.clips} - set(here.clips)
        own = here.layer(-1)
        for id_, a, b in zip(own.clips, own.offsets, own.offsets[1:], strict=False):
            np.testing.assert_array_equal(own.values[0, a:b], one.read([id_])[0])
        ids = list(here.clips)
        np.testing.assert_array_equal(here.side("valid", ids), one.store.side("valid", ids))
        if one.modality == "text" and ids:
            tokens = one.store.side("token_ids", ids)
            np.testing.assert_array_equal(here.side("token_ids", ids), tokens)


@settings(max_examples=5)
@given(data=st.data(), clips=st.integers(4, 9))
def test_round_trip_through_the_mmsa_pickle(data: st.DataObject, clips: int) -> None:
    lengths = st.lists(st.integers(0, 7), min_size=clips, max_size=clips)
    frames = {m: data.draw(lengths.filter(any), label=m) for m in MODALITIES}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        config = features_of(frames, root, "hub")
        manifest = read_manifest(config.corpus_cache / "manifest.jsonl")
        sent = write_mmsa(root / "toy.pkl", manifest, choose(config, {}))
        assert [s.lacking for s in sent.shipped] == [frames[m].count(0) for m in MODALITIES]
        received = imported(root / "toy.pkl", root / "features" / "twin")
        assert_same(config, received)
        for ours, theirs in zip(received.manifest.clips, _by_split(manifest), strict=True):
            assert (ours.id, ours.split, ours.text) == (theirs.id, theirs.split, theirs.text)
            assert (ours.label, ours.context) == (theirs.label, theirs.context)


def _by_split(manifest: Manifest) -> list[Clip]:
    return [c for split in ("train", "valid", "test") for c in manifest.clips if c.split == split]


def test_round_trip_through_an_npz_without_pickles(tmp_path: Path) -> None:
    frames = {"text": [3, 5, 4, 2], "audio": [0, 2, 6, 1], "vision": [3, 1, 2, 4]}
    config = features_of(frames, tmp_path, "random:0")  # type: ignore[arg-type]
    manifest = read_manifest(config.corpus_cache / "manifest.jsonl")
    write_mmsa(tmp_path / "toy.npz", manifest, choose(config, {}), npz=True)
    with np.load(tmp_path / "toy.npz", allow_pickle=False) as arrays:
        assert arrays["train_audio"].shape == (2, 6, 6)
        assert arrays["train_raw_text"].tolist() == ["w\u00f6rd 0", "w\u00f6rd 1"]
    received = imported(tmp_path / "toy.npz", tmp_path / "features" / "twin")
    assert_same(config, received)
    assert all(open_store(one.path).spec.untrained for one in received.arrivals)
    for ours, theirs in zip(received.manifest.clips, _by_split(manifest), strict=True):
        assert (ours.id, ours.split, ours.text) == (theirs.id, theirs.split, theirs.text)
        assert ours.label == theirs.label


def test_the_pickle_is_what_mmsa_reads(tmp_path: Path) -> None:
    frames = {"text": [3, 5, 4, 2], "audio": [0, 2, 6, 1], "vision": [3, 1, 2, 4]}
    config = features_of(frames, tmp_path, "random:0")  # type: ignore[arg-type]
    manifest = read_manifest(config.corpus_cache / "manifest.jsonl")
    write_mmsa(tmp_path / "toy.pkl", manifest, choose(config, {"audio": "toy-audio:0"}))
    found = pickle.loads((tmp_path / "toy.pkl").read_bytes())  # our own, just written
    assert list(found) == ["train", "valid", "test", "config"]
    train = found["train"]
    assert {m: (train[m].shape, train[m].dtype.name) for m in MODALITIES} == {
        "text": ((2, 5, 4), "float32"),
        "audio": ((2, 6, 3), "float32"),
        "vision": ((2, 4, 5), "float32"),
    }
    assert (train["audio_lengths"], train["vision_lengths"]) == ([1, 2], [3, 1])
    assert not train["audio"][0].any()
    assert not train["text"][0, 3:].any()
    assert train["text_bert"].shape == (2, 3, 5)
    np.testing.assert_array_equal(train["text_bert"][:, 1], [[1, 1, 1, 0, 0], [1] * 5])
    assert train["id"].tolist() == ["v0$_$00", "v1$_$01"]
    assert train["annotations"].tolist() == ["Negative", "Negative"]
    assert train["classification_labels"].tolist() == [0, 0]
    np.testing.assert_allclose(train["regression_labels"], [-1.0, -0.8], rtol=1e-6)
    assert found["config"]["text"]["weights"] == "random:0"
    # features of random weights stay that, whoever imports them
    (text, *_) = imported(tmp_path / "toy.pkl", tmp_path / "features" / "twin").arrivals
    spec = open_store(text.path).spec
    assert (spec.encoder, spec.weights, spec.untrained) == (
        "untrained-toy-text-1",
        "imported random:0",
        True,
    )
    with pytest.raises(ExchangeError, match="is there already"):
        write_mmsa(tmp_path / "toy.pkl", manifest, choose(config, {}))


def mmsa(count: int = 4, **more: Any) -> dict[str, Any]:
    """A split as MMSA's unaligned files have them: 5 tokens, 8 frames of sound, 6 of faces."""
    random = np.random.default_rng(count)
    mask = np.arange(5) < np.array([[3], [5], [2], [4]])[:count]
    table = {
        "id": np.array([f"vid${'_'}${k}" for k in range(count)]),
        "raw_text": np.array([f"said {k}" for k in range(count)], object),
        "text": random.normal(size=(count, 5, 4)) * mask[..., None],
        "text_bert": np.stack([mask * 7, mask, mask * 0], axis=1).astype(np.float32),
        "audio": random.normal(size=(count, 8, 3)),
        "vision": random.normal(size=(count, 6, 2)).astype(np.float32),
        "audio_lengths": [8, 2, 5, 1][:count],
        "vision_lengths": [6, 6, 3, 2][:count],
        "regression_labels": np.array([0.4, -1.8, 0.0, 3.0][:count], np.float32),
        "annotations": np.array(["Positive", "Negative", "Neutral", "Positive"][:count]),
    }
    return {k: v for k, v in (table | more).items() if v is not None}


def pickled(path: Path, protocol: int = 4, **splits: Any) -> Path:
    path.write_bytes(pickle.dumps(splits, protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_an_unaligned_file(tmp_path: Path, protocol: int) -> None:
    table = mmsa()
    table["audio"][0, 6, 1] = -np.inf
    table["audio"][1, 1, 2] = np.nan
    table["vision"][0, 1:3] = 0
    table["vision"][2] = 0
    valid = {k: v[:1] for k, v in mmsa().items()} | {"id": ["other$_$0001"]}
    path = pickled(tmp_path / "mine.pkl", protocol, train=table, dev=valid)
    received = imported(path, tmp_path / "mosi")
    assert received.manifest.sizes == {"train": 4, "valid": 1, "test": 0}
    first = received.manifest.clips[0]
    assert (first.label, first.text, first.category) == (0.4, "said 0", "Positive")
    text, audio, vision = (open_store(one.path) for one in received.arrivals)
    assert [s.spec.encoder for s in (text, audio, vision)] == [
        "mmsa-text-4",
        "mmsa-audio-3",
        "mmsa-vision-2",
    ]
    assert text.frames.tolist() == [3, 5, 2, 4, 3]
    table["audio"][0, 6, 1] = 0  # as every reader of such files has it
    sound = audio.read([-1], ["vid$_$0"]).values[0]
    np.testing.assert_array_equal(sound, table["audio"][0].astype(np.float32))
    assert dict(audio.failures) == {"vid$_$1": "frame 1, number 2 is nan"}
    assert vision.side("valid", ["vid$_$0"]).tolist() == [True, False, False, True, True, True]
    assert dict(vision.failures) == {"vid$_$2": "every frame is zero"}
    listed = {(f.clip, f.encoder, f.stage) for f in read_failures(tmp_path / "mosi/failures.csv")}
    assert listed == {
        ("vid$_$1", "mmsa-audio-3", "import"),
        ("vid$_$2", "mmsa-vision-2", "import"),
    }
    again = imported(path, tmp_path / "mosi")
    assert [one.new for one in again.arrivals] == [0, 0, 0]
    assert [one.path for one in again.arrivals] == [one.path for one in received.arrivals]


def test_an_aligned_file_counts_tokens_and_any_other_its_trailing_zeros(tmp_path: Path) -> None:
    sound = np.ones((4, 5, 3))
    gone = {"audio_lengths": None, "vision_lengths": None}
    path = pickled(tmp_path / "a.pkl", train=mmsa(audio=sound, vision=sound[..., :2], **gone))  # type: ignore[arg-type]
    received = imported(path, tmp_path / "aligned")
    for one in received.arrivals:
        assert open_store(one.path).frames.tolist() == [3, 5, 2, 4]
    assert received.arrivals[1].encoder == "mmsa-aligned-audio-3"
    sound[0, 2:] = sound[1] = sound[2, 1] = 0  # a pause is no padding
    path = pickled(tmp_path / "b.pkl", train=mmsa(audio=sound, text_bert=None, **gone))  # type: ignore[arg-type]
    audio = open_store(imported(path, tmp_path / "bare").arrivals[1].path)
    assert dict(zip(audio.clips, audio.frames.tolist(), strict=True)) == {
        "vid$_$0": 2,
        "vid$_$2": 5,
        "vid$_$3": 5,
    }


def test_every_fault_of_a_file_in_one_answer(tmp_path: Path) -> None:
    bad = mmsa(vision=np.ones(4), audio_lengths=[1, 2])
    path = pickled(tmp_path / "bad.pkl", train=bad, test={"text": 1})
    with pytest.raises(ExchangeError) as found:
        open_foreign(path, {})
    assert [line.removeprefix(f"{path}: ") for line in str(found.value).splitlines()] == [
        "train: audio_lengths has 2 rows, id has 4.",
        "train: vision is an array (4,) of float64, where (clips, frames, width) should be.",
        "test: no column `id`.",
    ]
    with pytest.raises(ExchangeError, match=r"vid\$_\$0 stands already in train"):
        open_foreign(pickled(tmp_path / "twice.pkl", train=mmsa(), test=mmsa(1)), {})
    with pytest.raises(ExchangeError, match="test: no column `text_bert`, which other splits"):
        open_foreign(pickled(tmp_path / "some.pkl", train=mmsa(), test=mmsa(1, text_bert=None)), {})
    with pytest.raises(ExchangeError, match="no tables train, valid and test"):
        open_foreign(pickled(tmp_path / "none.pkl", rows=[1]), {})
    with pytest.raises(ExchangeError, match="no name fit for a folder"):
        imported(pickled(tmp_path / "f.pkl", train=mmsa()), tmp_path / "x", {"text": "a/b"})
    assert not (tmp_path / "x").exists()


def test_a_corpus_that_is_there_is_added_to(tmp_path: Path) -> None:
    folder = tmp_path / "mosi"
    clips = [Clip(f"vid$_${k}", "vid", str(k), "train", label=v) for k, v in ((0, 0.4), (9, 1.0))]
    write_manifest(folder / "manifest.jsonl", Manifest("mosi", tmp_path, tuple(clips)))
    before = (folder / "manifest.jsonl").read_bytes()
    received = imported(pickled(tmp_path / "a.pkl", train=mmsa()), folder)
    assert (folder / "manifest.jsonl").read_bytes() == before
    assert [one.held for one in received.arrivals] == [1, 1, 1]
    assert received.arrivals[0].absent == {"vid$_$9": "not in the file"}
    assert received.notes[0].startswith("3 clips of the file are not in")
    other = pickled(tmp_path / "b.pkl", test=mmsa(regression_labels=np.zeros(4)))
    with pytest.raises(ExchangeError) as found:
        imported(other, folder)
    assert "vid$_$0 is in test" in str(found.value)
    assert "vid$_$0 has the label 0.0" in str(found.value)
    # the same names from another file: said, as a [[features]] table means one store
    second = imported(pickled(tmp_path / "c.pkl", train=mmsa(audio=np.ones((4, 8, 3)))), folder)
    assert any("of the same name" in note for note in second.notes)


class Explosive:
    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call


def test_nothing_in_a_pickle_runs(tmp_path: Path) -> None:
    import os

    trace = tmp_path / "ran"
    calls = {
        "posix.system": (os.system, (f"touch {trace}",)),
        "builtins.eval": (eval, (f"open({str(trace)!r}, 'w')",)),
    }
    for name, call in calls.items():
        path = pickled(tmp_path / "evil.pkl", train=mmsa(text=Explosive(*call)))
        with pytest.raises(PickleRefusedError, match=f"it asks for {name}"):
            open_foreign(path, {})
        result = CliRunner().invoke(app, ["import", str(path), "-c", str(tmp_path / "p.toml")])
        assert result.exit_code == 1
        (tmp_path / "features/x-FRA").mkdir(parents=True, exist_ok=True)
        np.savez(tmp_path / "label.npz", train_corpus=np.array(Explosive(*call), object))
        with pytest.raises(PickleRefusedError, match=rf"label\.npz, train_corpus\.npy.*{name}"):
            open_foreign(tmp_path, {"text": "x"})
    assert not trace.exists()
    assert not (tmp_path / "p.toml").exists()


def test_no_array_makes_numpy_read_bytes_as_addresses(tmp_path: Path) -> None:
    """Flags of a type, taken from the file, would make an array of objects out of raw bytes."""
    objects = np.empty(1, object)
    shaped = objects.__reduce__()
    kind = np.dtype("O")
    forged = (*kind.__reduce__()[:2], (3, "|", None, None, None, -1, -1, 0))
    state = (1, (1,), Explosive(*forged), False, b"\x01" * 8)
    path = tmp_path / "p"
    path.write_bytes(pickle.dumps(Explosive(*shaped[:2], state)))
    with pytest.raises(PickleRefusedError, match="bytes where objects should be"):
        load_plain(path)
    records = np.zeros(2, [("a", "f4"), ("b", "O")])
    path.write_bytes(pickle.dumps(records))
    with pytest.raises(PickleRefusedError, match="it holds an array of V"):
        load_plain(path)
    # BUILD of a function's own attributes: (None, {"__defaults__": …})
    path.write_bytes(b"\x80\x04c_codecs\nencode\nN}X\x01\x00\x00\x00aK\x01s\x86b.")
    with pytest.raises(PickleRefusedError, match="it changes a function"):
        load_plain(path)


def test_a_large_file_is_in_memory_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "PART", 10**6)
    sound = np.random.default_rng(0).normal(size=(300, 200, 30)).astype(np.float32)
    table = {"id": [f"v$_${k}" for k in range(300)], "audio": sound, "vision": sound + 1}
    path = pickled(tmp_path / "large.pkl", train=table | {"regression_labels": np.ones(300)})
    del sound, table
    tracemalloc.start()
    try:
        imported(path, tmp_path / "large")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.3 * path.stat().st_size


def test_multibench_files_have_other_names_and_may_be_padded_in_front(tmp_path: Path) -> None:
    values = np.ones((2, 6, 3), np.float32)
    values[0, :4] = values[1, 5:] = 0
    faces = values[..., :2].copy()
    faces[0, 4] = 0  # no face in the first real frame: the modalities stay in step
    table = {
        "vision": faces,
        "audio": values,
        "text": values,
        "labels": np.array([[[1.0]], [[-0.5]]]),
        "id": np.array([b"vid[3]", b"vid[12]"]),
    }
    received = imported(pickled(tmp_path / "m.pkl", train=table), tmp_path / "m")
    assert [(c.id, c.label) for c in received.manifest.clips] == [
        ("vid$_$3", 1.0),
        ("vid$_$12", -0.5),
    ]
    stores = [open_store(one.path) for one in received.arrivals]
    assert [s.frames.tolist() for s in stores] == [[2, 5]] * 3
    assert stores[2].side("valid", ["vid$_$3"]).tolist() == [False, True]
    assert stores[0].spec.encoder == "multibench-text-3"


def test_what_is_to_be_exported_must_be_there_and_definite(tmp_path: Path) -> None:
    frames = {"text": [3, 5, 4, 2], "audio": [0, 2, 6, 1], "vision": [2, 1, 2, 4]}
    config = features_of(frames, tmp_path, "hub")  # type: ignore[arg-type]
    for asked, fault in {
        "nope:1": r'--audio: no \[\[features\]\] table makes "nope"',
        "toy-audio:x": '"x" is no layer',
        "toy-audio:7": "layer 7 is not stored",
    }.items():
        with pytest.raises(SedimentalError, match=fault):
            choose(config, {"audio": asked})
    path = tmp_path / "pipeline.toml"
    path.write_text(path.read_text().replace("layers = [1, 0]", 'layers = "weighted"'))
    with pytest.raises(ExchangeError, match=r"a sum that each model learns.*--audio toy-audio:"):
        choose(load_config(path), {})


def test_round_trip_through_the_merbench_folder(tmp_path: Path) -> None:
    frames = {"text": [3, 5, 4, 2], "audio": [0, 2, 6, 1], "vision": [2, 1, 2, 4]}
    config = features_of(frames, tmp_path, "hub")  # type: ignore[arg-type]
    manifest = read_manifest(config.corpus_cache / "manifest.jsonl")
    chosen = choose(config, {})
    names: dict[Modality, str] = {one.modality: one.name for one in chosen}
    write_tree(tmp_path / "fra", manifest, chosen, pooled=False)
    received = imported(tmp_path / "fra", tmp_path / "features" / "twin", names)
    for clip in manifest.clips:
        twin = next(c for c in received.manifest.clips if c.id == clip.id)
        assert (twin.label, twin.split, twin.text) == (clip.label, clip.split, clip.text)
    write_tree(tmp_path / "utt", manifest, chosen, pooled=True)
    for one, arrival in zip(chosen, received.arrivals, strict=True):
        store = open_store(arrival.path)
        for id_ in one.store.clips:
            seen = one.read([id_])[0][one.store.side("valid", [id_]).astype(bool)]
            np.testing.assert_array_equal(store.read([-1], [id_]).values[0], seen)
            mean = np.load(tmp_path / "utt/features" / f"{one.name}-UTT" / f"{id_}.npy")
            np.testing.assert_allclose(mean, seen.mean(axis=0), rtol=1e-6)
    assert received.arrivals[1].absent == {"v0$_$00": "no file"}
    # a folder in the place of a file holds a file a frame
    own = tmp_path / "fra/features" / f"{names['text']}-FRA"
    values = np.load(own / "v0$_$00.npy")
    (own / "v0$_$00.npy").unlink()
    (own / "v0$_$00").mkdir()
    for k, row in enumerate(values):
        np.save(own / "v0$_$00" / f"{k:04d}.npy", row)
    again = imported(tmp_path / "fra", tmp_path / "features" / "third", {"text": names["text"]})
    store = open_store(again.arrivals[0].path)
    np.testing.assert_array_equal(store.read([-1], ["v0$_$00"]).values[0], values)
    with pytest.raises(ExchangeError, match=r"say which features are which.*toy-text-1-FRA"):
        open_foreign(tmp_path / "fra", {})


def test_training_on_imported_features_is_training_on_the_originals(tmp_path: Path) -> None:
    from sedimental.cli import app as whole
    from sedimental.train.run import train

    random = np.random.default_rng(3)
    frames = {m: random.integers(1, 7, 16).tolist() for m in MODALITIES}
    features_of(frames, tmp_path, "hub")
    settings = "[train]\nseeds = [5]\nepochs = 2\n[train.uegd]\nhidden = 8\nembedding = 4\n"
    original = tmp_path / "pipeline.toml"
    original.write_text(settings + original.read_text())
    run = CliRunner().invoke
    out, twin = tmp_path / "out.pkl", tmp_path / "twin.toml"
    sent = run(app, ["export", str(out), "-c", str(original), "--json"])
    assert sent.exit_code == 0, sent.output
    assert json.loads(sent.stdout)["clips"] == {"train": 8, "valid": 4, "test": 4}
    made = run(app, ["import", str(out), "--corpus", "twin", "-c", str(twin), "--json"])
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["splits"] == {"train": 8, "valid": 4, "test": 4}
    text = twin.read_text()
    inputs = text[text.index("[train.inputs]") :]
    twin.write_text(settings + text[: text.index("[train]")] + inputs)
    extracted = run(whole, ["extract", "-c", str(twin)])
    assert extracted.exit_code == 0, extracted.output
    assert "there is nothing to extract" in extracted.stderr
    (ours,), (theirs,) = train(load_config(original)), train(load_config(twin))
    one, other = ours.predictions, theirs.predictions
    place = [other.ids.index(id_) for id_ in one.ids]  # the pickle has its clips split by split,
    # so that means over frames are summed in another order
    np.testing.assert_allclose(other.values[place], one.values, rtol=1e-5, atol=1e-6)
    reported = run(whole, ["report", "-c", str(twin), "--json"])
    assert "ntrained" not in json.dumps(json.loads(reported.stdout)["cautions"])


@pytest.mark.parametrize("corpus", ["mosi", "sims", "mine"])
@pytest.mark.parametrize("without", [(), ("vision",), ("text", "audio")])
def test_the_written_pipeline_is_sound(
    tmp_path: Path, corpus: str, without: tuple[Modality, ...]
) -> None:
    from sedimental.extract.encoders.presets.table import encoder_faults
    from sedimental.train.models import option_faults

    few = {k: v for k, v in mmsa().items() if k not in without}
    path = pickled(tmp_path / "a.pkl", train=few)
    made = tmp_path / "p.toml"
    result = CliRunner().invoke(
        app, ["import", str(path), "--corpus", corpus, "-c", str(made), "--json"]
    )
    assert result.exit_code == 0, result.output
    config = load_config(made, [encoder_faults, option_faults])
    assert config.corpus_cache == tmp_path / "features" / corpus
    assert config.evaluate.protocol == "mosi"
    assert {f.modality for f in config.features} == {*MODALITIES} - {*without}
    pasted = load_config(_written(tmp_path / "q.toml", json.loads(result.stdout)["pipeline"]))
    assert (pasted.corpus, pasted.features) == (config.corpus, config.features)
    assert pasted.train.inputs == config.train.inputs


def _written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_imported_has_no_encoder_to_train(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(
        '[corpus]\nkind = "imported"\npath = "features/x"\n[train]\nmode = "finetune"\n'
        '[train.inputs]\ntext = { encoder = "mmsa-text-768", live = true }\n'
        '[[features]]\nmodality = "text"\nencoder = "mmsa-text-768"\nweights = "imported"\n'
    )
    with pytest.raises(ConfigError, match=r"train.inputs.text.live: mmsa-text-768 is imported"):
        load_config(path)


def test_what_an_import_knew_is_in_the_export(tmp_path: Path) -> None:
    """I13: padded lengths, scores of the modalities, the mark "untrained"; the rest is said."""
    frames = {"text": [3, 5, 4, 2], "audio": [1, 2, 6, 1], "vision": [2, 1, 2, 4]}
    config = features_of(frames, tmp_path, "random:0")  # type: ignore[arg-type]
    manifest = read_manifest(config.corpus_cache / "manifest.jsonl")
    rated = tuple(replace(c, label_T=0.5, label_A=-0.5, label_V=0.25) for c in manifest.clips)
    manifest = replace(manifest, clips=rated)
    chosen = choose(config, {})
    write_tree(tmp_path / "fra", manifest, chosen, pooled=False)
    names: dict[Modality, str] = {one.modality: one.name for one in chosen}
    received = imported(tmp_path / "fra", tmp_path / "features" / "twin", names)
    assert all(open_store(one.path).spec.untrained for one in received.arrivals)
    for clip in received.manifest.clips:
        assert (clip.label_T, clip.label_A, clip.label_V) == (0.5, -0.5, 0.25)

    # a file that pads to more than its longest clip has, as CH-SIMS's 400 frames of 399
    sound = np.ones((4, 8, 3)) * (np.arange(8) < 7)[:, None]
    path = pickled(tmp_path / "sims.pkl", train=mmsa(audio=sound, audio_lengths=[7] * 4))
    padded = imported(path, tmp_path / "features" / "sims")
    encoder = padded.arrivals[1].encoder
    (tmp_path / "sims.toml").write_text(
        '[corpus]\nkind = "imported"\npath = "features/sims"\n[cache]\nroot = "features"\n'
        f'[[features]]\nmodality = "audio"\nencoder = "{encoder}"\nweights = "imported"\n'
        f'[train.inputs]\naudio = {{ encoder = "{encoder}", layers = 1 }}\n'
    )
    again = choose(load_config(tmp_path / "sims.toml"), {})
    sent = write_mmsa(tmp_path / "out.pkl", padded.manifest, again)
    assert max(again[0].frames.values()) == 7
    assert load_plain(tmp_path / "out.pkl")["train"]["audio"].shape == (4, 8, 3)
    assert any("no text and no vision in it; MMSA's loader reads all" in n for n in sent.notes)
