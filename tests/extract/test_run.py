"""Stage 1 on real clips: nothing made twice, nothing lost, every failure with its reason."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sedimental.cache.store.store import Store, list_stores, open_store
from sedimental.config import Config, ConfigError, load_config
from sedimental.extract.corpora.demo import FOLDER as DEMO
from sedimental.extract.decode.media import read_media
from sedimental.extract.run import extract
from sedimental.extract.streams.streams import VisionStream


def stores(config: Config) -> dict[str, Store]:
    found = (open_store(path, allow_partial=True) for path in list_stores(config.cache.root))
    return {store.spec.modality: store for store in found}


def same(one: Store, other: Store) -> None:
    """Every value and every side array of every clip is equal, bit for bit."""
    assert sorted(one.clips) == sorted(other.clips)
    np.testing.assert_array_equal(
        one.read(None, other.clips).values.view(np.uint16),
        other.layers(None).values.view(np.uint16),
    )
    for name in one.sides:
        np.testing.assert_array_equal(one.side(name, other.clips), other.side(name))


class Count:
    """A progress that remembers what it was told."""

    def __init__(self) -> None:
        self.started: dict[str, int] = {}
        self.done: dict[str, int] = {}
        self.notes: list[str] = []

    def start(self, task: str, total: int, unit: str = "clip") -> None:
        self.started[task] = total

    def advance(self, task: str, by: int = 1) -> None:
        self.done[task] = self.done.get(task, 0) + by

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_extracts_all_layers_of_all_modalities_once(
    make_corpus: Any, make_pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(make_pipeline(make_corpus(5)))
    progress = Count()
    result = extract(config, progress)
    assert not result.failures
    assert [(s.modality, s.new, s.failed) for s in result.stores] == [
        ("vision", 5, 0),
        ("audio", 5, 0),
        ("text", 5, 0),
    ]
    looked = {"looking at clips": 15}  # once for each store, as sources differ
    expected = dict.fromkeys(progress.started, 5) | looked
    assert progress.started == progress.done == expected
    assert result.failures_file.read_text() == "clip,modality,encoder,stage,reason\n"
    for store in stores(config).values():
        assert store.complete
        ragged = store.layers(None)
        assert ragged.values.shape == (len(store.spec.layers), store.frames.sum(), 64)
        assert ragged.values.dtype == np.float16
        assert np.isfinite(ragged.values).all()
        assert ragged.values.std() > 0
    frames = stores(config)["vision"]
    assert frames.side("boxes").shape == (frames.frames.sum(), 4)
    # a second run loads no model and makes nothing
    monkeypatch.setattr(VisionStream, "load", lambda *_: pytest.fail("a model was loaded"))
    again = extract(config)
    assert [(s.held, s.new) for s in again.stores] == [(5, 0)] * 3


def test_only_what_changed_is_made_again(make_corpus: Any, make_pipeline: Any) -> None:
    corpus = make_corpus(4)
    config = load_config(make_pipeline(corpus))
    extract(config)
    before = stores(config)["text"].read(None, ["demo_01a$_$0001"]).values
    table = corpus / "label.csv"
    table.write_text(table.read_text().replace("I think the weather was poor.", "We loved it."))
    shutil.copy(corpus / "Raw/demo_01a/0003.mp4", corpus / "Raw/demo_01a/0002.mp4")
    result = extract(config)
    assert {s.modality: s.new for s in result.stores} == {"vision": 1, "audio": 1, "text": 1}
    parts = {m: store.part_count for m, store in stores(config).items()}
    assert parts == {"vision": 2, "audio": 2, "text": 2}
    after = stores(config)
    assert after["text"].read(None, ["demo_01a$_$0001"]).values.shape != before.shape
    second, third = (after["audio"].read(None, [f"demo_01a$_$000{n}"]).values for n in (2, 3))
    np.testing.assert_allclose(second, third, atol=2e-3)  # now of one and the same file
    assert [s.new for s in extract(config).stores] == [0, 0, 0]
    assert parts == {m: store.part_count for m, store in stores(config).items()}


def test_awkward_clips_fail_alone_and_are_tried_again(
    make_corpus: Any, make_pipeline: Any, write_video: Any, tmp_path: Path
) -> None:
    corpus = make_corpus(8)
    raw = corpus / "Raw/demo_01a"
    noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    hum = (0.3 * np.sin(np.arange(32_000) / 9)).astype("f4")[None]
    (raw / "0002.mp4").write_bytes((raw / "0002.mp4").read_bytes()[:9000])  # truncated
    (raw / "0003.mp4").write_bytes(b"")
    (raw / "0004.mp4").unlink()
    write_video(raw / "0005.mp4", sound=hum)  # sound alone
    write_video(raw / "0006.mp4", [noise] * 40, sound=hum)  # nobody to see
    write_video(raw / "0007.mp4", [noise] * 40, sound=0 * hum)  # silent, nobody to see
    table = corpus / "label.csv"
    text = table.read_text().replace("We had a great lesson yesterday.", " ")
    table.write_text(text)
    config = load_config(make_pipeline(corpus))
    result = extract(config)
    found = {(f.clip[-4:], f.modality): (f.stage, f.reason) for f in result.failures}
    assert found.pop(("0002", "vision"))[1].startswith("broken off")
    assert found.pop(("0002", "audio"))[1].startswith("broken off")
    assert found.pop(("0003", "vision"))[1].startswith("empty file")
    assert found.pop(("0003", "audio"))[1].startswith("empty file")
    assert found.pop(("0004", "vision"))[1] == "no such file: Raw/demo_01a/0004.mp4"
    assert found.pop(("0004", "audio"))[0] == "read"
    assert found.pop(("0004", "text")) == ("read", "empty text")
    assert found.pop(("0005", "vision")) == ("decode", "no video track")
    assert found.pop(("0006", "vision")) == ("detect", "no face in any of 5 frames")
    assert found.pop(("0007", "vision"))[0] == "detect"
    assert found.pop(("0007", "audio")) == ("decode", "silent audio track")
    assert not found
    with result.failures_file.open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(result.failures)
    good = stores(config)
    assert {m: len(s.clips) for m, s in good.items()} == {"vision": 2, "audio": 4, "text": 7}
    assert all(s.complete for s in good.values())
    assert set(good["vision"].failures) == {f"demo_01a$_$000{n}" for n in range(2, 8)}
    assert result.stores[0].coverage == {"train": (1, 4), "valid": (0, 2), "test": (1, 2)}
    # mended files are tried again, and only those
    for n in (2, 4):
        shutil.copy(raw / "0001.mp4", raw / f"000{n}.mp4")
    again = extract(config)
    assert {s.modality: s.new for s in again.stores} == {"vision": 2, "audio": 2, "text": 0}


def test_two_faces_half_a_face_and_a_camera_held_sideways(
    make_corpus: Any, make_pipeline: Any, write_video: Any, turned: Any
) -> None:
    corpus = make_corpus(4)
    raw = corpus / "Raw/demo_01a"
    faces = [
        read_media(DEMO / f"Raw/{name}/0001.mp4", fps=1.0, audio=False).frames
        for name in ("demo_01a", "demo_02a")
    ]
    one, other = (found.images[0] for found in faces if found is not None)
    small = other[24:-24:2, 24:-24:2]  # farther away
    two = np.full((one.shape[0], 340, 3), 200, np.uint8)
    two[:, : one.shape[1]] = one
    two[60 : 60 + small.shape[0], 240 : 240 + small.shape[1]] = small
    noise = np.random.default_rng(0).integers(0, 255, one.shape, np.uint8)
    write_video(raw / "0002.mp4", [two] * 50)
    write_video(raw / "0003.mp4", [one] * 25 + [noise] * 25)
    turned(write_video(raw / "0004.mp4", [np.rot90(one)] * 50), 1)
    config = load_config(make_pipeline(corpus, modalities=("vision",)))
    assert not extract(config).failures
    store = stores(config)["vision"]
    ids = [f"demo_01a$_$000{n}" for n in (2, 3, 4)]
    both, half, sideways = (store.side("boxes", [id_]) for id_ in ids)
    assert (both[:, 2] < 240).all()  # the larger one, all along
    assert np.isnan(half[:, 0]).tolist() == [False] * 3 + [True] * 3
    np.testing.assert_array_equal(store.side("valid", [ids[1]]), ~np.isnan(half[:, 0]))
    assert not store.read(None, [ids[1]]).values[:, 3:].any()
    # upright after the turn the file asks for: the face is where it is in the picture itself
    np.testing.assert_allclose(sideways[0], half[0], atol=6)


def test_values_that_do_not_fit_are_a_failure_of_their_clip(
    make_corpus: Any, make_pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sedimental.extract.encoders import text

    config = load_config(make_pipeline(make_corpus(3), modalities=("text",)))
    original = text.TextEncoder.encode

    def encode(self: Any, clips: Any) -> Any:
        found = original(self, clips)
        for clip, spoiled in zip(clips, found, strict=True):
            if clip.id.endswith("0002"):
                spoiled.values[3, 0, 0] = 1e6
        return found

    monkeypatch.setattr(text.TextEncoder, "encode", encode)
    (failure,) = extract(config).failures
    assert failure.clip.endswith("0002")
    assert failure.reason.startswith("layer 3 reaches 1e+06, more than float16 holds")


def test_a_corpus_of_texts_needs_no_media(tmp_path: Path, make_pipeline: Any) -> None:
    table = tmp_path / "texts.csv"
    table.write_text(
        "id,split,text,label\na,train,we loved it,2\nb,valid,it was bad,-1\nc,test,fine,0.4\n"
    )
    config = load_config(make_pipeline(table, modalities=("text",), kind="csv"))
    result = extract(config)
    assert [(s.modality, s.new) for s in result.stores] == [("text", 3)]
    with pytest.raises(ConfigError, match=r"has texts alone .* vision"):
        extract(load_config(make_pipeline(table, kind="csv")))


@pytest.mark.parametrize("workers", [1, 4])
def test_the_number_of_threads_changes_nothing(
    make_corpus: Any, make_pipeline: Any, workers: int, tmp_path: Path
) -> None:
    corpus = make_corpus(5)
    one = load_config(make_pipeline(corpus, more=f"[extract]\nworkers = {workers}\n"))
    other = load_config(
        make_pipeline(corpus, cache='root = "other"', more="[extract]\nworkers = 2\n")
    )
    extract(one)
    extract(other)
    for modality, store in stores(one).items():
        same(store, stores(other)[modality])


def test_a_clip_s_features_are_those_it_has_alone(make_corpus: Any, make_pipeline: Any) -> None:
    together = load_config(make_pipeline(make_corpus(4), cache='dtype = "float32"'))
    extract(together)
    alone = load_config(
        make_pipeline(make_corpus(1, "one"), cache='root = "alone"\ndtype = "float32"')
    )
    extract(alone)
    for modality, store in stores(alone).items():
        (clip,) = store.clips
        ours, own = stores(together)[modality].read(None, [clip]).values, store.layers(None).values
        assert np.abs(ours - own).max() <= 1e-5 * np.abs(own).max()


def test_killed_at_any_moment_it_goes_on_to_the_same_stores(
    make_corpus: Any, make_pipeline: Any
) -> None:
    corpus = make_corpus(12)
    whole = load_config(make_pipeline(corpus, cache='root = "whole"\npart_clips = 2'))
    extract(whole)
    path = make_pipeline(corpus, cache='root = "killed"\npart_clips = 2')
    command = [sys.executable, "-P", "-m", "sedimental", "extract", "-c", str(path)]
    config = load_config(path)
    killed = 0
    for wanted in (1, 3, 5):  # parts on disk when the blow falls
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as run:
            while run.poll() is None:
                written = len(list(config.cache.root.glob("*/vision-*/part-*")))
                if written >= wanted:
                    os.kill(run.pid, signal.SIGKILL)
                    killed += 1
                    break
                time.sleep(0.005)
    assert killed
    held = {m: set(s.clips) for m, s in stores(config).items()}
    extract(config)
    for modality, store in stores(config).items():
        assert store.complete
        assert held.get(modality, set()) <= set(store.clips)
        same(store, stores(whole)[modality])


def test_a_part_is_closed_by_time_so_that_a_kill_costs_little(
    make_corpus: Any, make_pipeline: Any
) -> None:
    """H18: parts of the usual size would hold all 12 clips, and a kill would lose all of them."""
    path = make_pipeline(make_corpus(12), ("vision",), cache="part_seconds = 0.001")
    config = load_config(path)
    command = [sys.executable, "-P", "-m", "sedimental", "extract", "-c", str(path)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as run:
        while run.poll() is None:
            if len(list(config.cache.root.glob("*/vision-*/part-*"))) >= 3:
                os.kill(run.pid, signal.SIGKILL)
                break
            time.sleep(0.005)
    assert run.returncode == -signal.SIGKILL
    held = stores(config)["vision"].clips
    assert len(held) >= 3
    boxes = next(config.cache.root.glob("*/boxes-*"))
    assert len(list(boxes.glob("faces-*.npz"))) >= 3
    quiet = Count()
    extract(config, quiet)
    store = stores(config)["vision"]
    assert store.complete
    assert set(held) <= set(store.clips)


def test_other_numerics_are_noticed_before_they_mix(
    make_corpus: Any, make_pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings and so the fingerprint are the same; the library computes otherwise."""
    from sedimental.extract.encoders import text

    corpus = make_corpus(4)
    path = make_pipeline(corpus, modalities=("text",))
    extract(load_config(path))
    table = corpus / "label.csv"
    changed = table.read_text().replace("I think the weather was poor.", "We loved it.")
    table.write_text(changed)
    quiet = Count()
    extract(load_config(path), quiet)
    assert not [n for n in quiet.notes if "warning" in n]
    table.write_text(changed.replace("We loved it.", "We liked it."))
    original = text.TextEncoder.encode

    def other(self: Any, clips: Any) -> Any:
        found = original(self, clips)
        for clip in found:
            clip.values[2] *= 1.05
        return found

    monkeypatch.setattr(text.TextEncoder, "encode", other)
    told = Count()
    extract(load_config(path), told)
    assert any("warning" in n and "entry 2 differs by 5.0%" in n for n in told.notes)
