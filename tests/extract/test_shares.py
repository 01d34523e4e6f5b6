"""Work that is shared: between processes, between encoders of the same faces, between two runs."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sedimental.cache.face_boxes import BoxStore, Found
from sedimental.cache.store.store import Store, list_stores, open_store
from sedimental.config import Config, ConfigError, load_config
from sedimental.extract.faces import mtcnn as detector
from sedimental.extract.run import extract
from sedimental.extract.shards import Shard

VISION = '[[features]]\nmodality = "vision"\nencoder = "tiny-clip"\n'


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


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of frames of every look for faces."""
    counts: list[int] = []
    original = detector.Detector.find

    def find(self: Any, images: Any) -> Any:
        counts.append(len(images))
        return original(self, images)

    monkeypatch.setattr(detector.Detector, "find", find)
    return counts


def test_no_frame_is_looked_at_twice_for_another_encoder_or_margin(
    make_corpus: Any, make_pipeline: Any, looks: list[int]
) -> None:
    corpus = make_corpus(3)
    first = load_config(make_pipeline(corpus, modalities=("vision",)))
    extract(first)
    frames = stores(first)["vision"].frames.sum()
    assert sum(looks) == frames
    looks.clear()
    again = load_config(make_pipeline(corpus, modalities=("vision",), more="margin = 20\n"))
    extract(again)
    assert not looks
    kept = [open_store(path) for path in list_stores(again.cache.root)]
    assert len(kept) == 2
    one, other = kept
    np.testing.assert_array_equal(one.side("boxes", other.clips), other.side("boxes"))
    assert np.abs(one.read([-1], other.clips).values - other.layer(-1).values).max() > 0


def test_two_encoders_of_one_run_look_for_faces_together(
    make_corpus: Any, make_pipeline: Any, looks: list[int]
) -> None:
    corpus = make_corpus(3)
    folder = corpus.parent / "another-clip"
    from transformers import CLIPVisionConfig, CLIPVisionModel

    config = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
    )
    CLIPVisionModel(config).save_pretrained(folder)
    second = VISION.replace("tiny-clip", str(folder))
    both = load_config(make_pipeline(corpus, modalities=("vision",), more=second))
    result = extract(both)
    assert [(s.new, s.failed) for s in result.stores] == [(3, 0)] * 2
    assert sum(looks) == result.stores[0].frames == result.stores[1].frames
    one, other = (open_store(path) for path in list_stores(both.cache.root))
    np.testing.assert_array_equal(one.side("boxes", other.clips), other.side("boxes"))


def test_a_clip_without_a_face_is_not_decoded_again(
    make_corpus: Any, make_pipeline: Any, write_video: Any, looks: list[int]
) -> None:
    corpus = make_corpus(2)
    noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    write_video(corpus / "Raw/demo_01a/0002.mp4", [noise] * 40)
    config = load_config(make_pipeline(corpus, modalities=("vision",)))
    (first,) = extract(config).failures
    looks.clear()
    (again,) = extract(config).failures
    assert again == first
    assert again.reason == "no face in any of 5 frames"
    assert not looks
    whole = load_config(
        make_pipeline(corpus, modalities=("vision",), more="no_face = 'full-frame'\n")
    )
    assert not extract(whole).failures
    assert not looks


def test_boxes_come_back_as_they_were_and_damage_is_as_good_as_absence(tmp_path: Path) -> None:
    settings: dict[str, str | float] = {"detector": "d", "fps": 3.0}
    random = np.random.default_rng(0)
    counts = [np.array([1, 0, 2]), np.array([0, 0]), np.array([3])]
    found = {
        f"{n:016x}": Found(c, random.normal(size=(c.sum(), 5)).astype(np.float32))
        for n, c in enumerate(counts)
    }
    BoxStore(tmp_path, settings).add(dict(list(found.items())[:2]))
    BoxStore(tmp_path, settings).add(dict(list(found.items())[2:]))
    again = BoxStore(tmp_path, settings)
    for source, one in found.items():
        kept = again.get(source)
        assert kept is not None
        np.testing.assert_array_equal(kept.counts, one.counts)
        np.testing.assert_array_equal(kept.faces, one.faces)
        assert [len(f) for f in kept.frames] == one.counts.tolist()
    assert again.get("f" * 16) is None
    assert BoxStore(tmp_path, settings | {"fps": 5.0}).get("0" * 16) is None
    assert json.loads((again.path / "settings.json").read_text()) == settings
    first, second = sorted(again.path.glob("faces-*.npz"))
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 255
    first.write_bytes(data)
    second.write_bytes(second.read_bytes()[:100])
    hurt = BoxStore(tmp_path, settings)
    assert [hurt.get(source) for source in found] == [None] * 3


def test_the_order_of_the_table_changes_nothing(make_corpus: Any, make_pipeline: Any) -> None:
    corpus = make_corpus(6)
    one = load_config(make_pipeline(corpus, cache="part_clips = 4"))
    extract(one)
    table = corpus / "label.csv"
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows([rows[k] for k in (3, 0, 5, 4, 1, 2)])
    other = load_config(make_pipeline(corpus, cache='root = "other"\npart_clips = 4'))
    extract(other)
    for modality, store in stores(one).items():
        same(store, stores(other)[modality])


def test_shards_at_once_fill_one_store(make_corpus: Any, make_pipeline: Any) -> None:
    corpus = make_corpus(6)
    (corpus / "Raw/demo_01a/0002.mp4").write_bytes(b"nothing")
    path = make_pipeline(corpus, modalities=("audio", "text"))
    command = [sys.executable, "-P", "-m", "sedimental", "extract", "--json", "-c", str(path)]
    runs = [
        subprocess.Popen([*command, "--shard", f"{n}/2"], stdout=subprocess.PIPE) for n in (1, 2)
    ]
    results = [json.loads(run.communicate()[0]) for run in runs]
    assert sorted(run.returncode for run in runs) == [0, 3]
    assert [sum(r["stores"][n]["new"] for r in results) for n in (0, 1)] == [5, 6]
    (failure,) = [f for r in results for f in r["failures"]]
    assert failure["clip"].endswith("0002")
    config = load_config(path)
    for store in stores(config).values():
        assert store.complete  # whoever came last saw the failures of all
    assert set(stores(config)["audio"].failures) == {failure["clip"]}
    one = load_config(make_pipeline(corpus, modalities=("audio", "text"), cache='root = "one"'))
    extract(one)
    for modality, store in stores(one).items():
        own = stores(config)[modality].read(None, store.clips).values
        np.testing.assert_allclose(own, store.layers(None).values, atol=2e-3)


def test_a_lone_shard_leaves_the_store_incomplete(make_corpus: Any, make_pipeline: Any) -> None:
    config = load_config(make_pipeline(make_corpus(4), modalities=("text",)))
    result = extract(config, shard=Shard(2, 2))
    assert result.stores[0].new == 2
    assert result.failures_file.name == "failures-2-of-2.csv"
    assert not stores(config)["text"].complete
    assert extract(config).stores[0].new == 2
    assert stores(config)["text"].complete


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0", "-1/4"])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="should be i/n"):
        Shard.parse(text)
