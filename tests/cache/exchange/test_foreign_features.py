"""Feature files as other people's tools and scripts write them: every form, odd and damaged ones.

Numbers as I3 are those of the list of faults that each test closes.
"""

import gzip
import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from sedimental.cache.cli import app
from sedimental.cache.exchange.foreign import ExchangeError
from sedimental.cache.exchange.import_features import Received, receive
from sedimental.cache.exchange.open import open_foreign
from sedimental.cache.exchange.pipeline_snippet import scale
from sedimental.cache.manifest import Clip, Manifest
from sedimental.cache.spec import Modality
from sedimental.cache.store.store import open_store
from sedimental.errors import SedimentalError

AUDIO = np.random.default_rng(0).normal(size=(4, 8, 3)).astype("f4")
LENGTHS = [8, 2, 5, 1]


def table(count: int = 4, first: int = 0, **more: Any) -> dict[str, Any]:
    """A split with sound alone, padded at the end."""
    sound = AUDIO[:count] * (np.arange(8) < np.array(LENGTHS[:count])[:, None])[..., None]
    found = {
        "id": [f"v$_${first + k}" for k in range(count)],
        "audio": sound,
        "audio_lengths": LENGTHS[:count],
        "regression_labels": np.array([0.4, -1.8, 0.0, 3.0][:count], np.float32),
    }
    return {k: v for k, v in (found | more).items() if v is not None}


def written(path: Path, **splits: Any) -> Path:
    path.write_bytes(pickle.dumps(splits, 4))
    return path


def taken(path: Path, root: Path, **names: str) -> Received:
    given: Mapping[Modality, str] = names  # type: ignore[assignment]
    return receive(open_foreign(path, given), root, given)


def frames(received: Received, modality: str = "audio") -> dict[str, int]:
    one = next(a for a in received.arrivals if a.modality == modality)
    store = open_store(one.path)
    return dict(zip(store.clips, store.frames.tolist(), strict=True))


REAL = dict(zip([f"v$_${k}" for k in range(4)], LENGTHS, strict=True))


@pytest.mark.parametrize("stated", [True, False])
def test_padding_in_front_is_seen_from_the_data(tmp_path: Path, stated: bool) -> None:
    """I3: MMSA-FET's padding_location "start", and MulT's and MultiBench's unaligned files."""
    front = np.zeros_like(AUDIO)
    for k, n in enumerate(LENGTHS):
        front[k, 8 - n :] = AUDIO[k, :n]
    lengths = LENGTHS if stated else None
    received = taken(
        written(tmp_path / "a.pkl", train=table(audio=front, audio_lengths=lengths)), tmp_path / "x"
    )
    assert frames(received) == REAL
    sound = open_store(received.arrivals[0].path).read([-1], ["v$_$2"]).values[0]
    np.testing.assert_array_equal(sound, AUDIO[2, :5])


def test_each_modality_of_a_multibench_file_has_a_side_of_its_own(tmp_path: Path) -> None:
    """I3: text of 50 tokens padded in front, sound of 500 frames at the end."""
    text, audio = np.zeros((3, 5, 2), "f4"), np.zeros((3, 9, 4), "f4")
    for k, (words, sounds) in enumerate(((5, 9), (2, 4), (3, 6))):
        text[k, 5 - words :], audio[k, :sounds] = 1, 1
    content = {
        "text": text,
        "audio": audio,
        "labels": np.array([[[0.5]], [[-1.5]], [[2.0]]]),
        "id": np.array([b"a[0]", b"a[1]", b"b[0]"]),
    }
    received = taken(written(tmp_path / "m.pkl", train=content), tmp_path / "x")
    assert [*frames(received, "text").values()] == [5, 2, 3]
    assert [*frames(received, "audio").values()] == [9, 4, 6]


def test_lengths_that_contradict_the_frames_are_named(tmp_path: Path) -> None:
    """I3, I9: fewer than there are, more than the file holds, none, and no numbers."""
    stated = [3, 999, -1, "x"]
    received = taken(written(tmp_path / "a.pkl", train=table(audio_lengths=stated)), tmp_path / "x")
    assert frames(received) == {"v$_$0": 8, "v$_$1": 2}
    assert dict(received.arrivals[0].absent) == {
        "v$_$2": "audio_lengths says -1",
        "v$_$3": "audio_lengths says 'x'",
    }
    (note,) = (note for note in received.notes if "contradict" in note)
    assert "v$_$0: 3, where 8 frames are not zero" in note
    assert "v$_$1: 999, of 8 frames" in note
    # where no clip is filled up with zeros, the lengths are all there is
    full = taken(written(tmp_path / "c.pkl", train=table(audio=AUDIO)), tmp_path / "z")
    assert frames(full) == REAL
    assert any("3 audio_lengths contradict the frames; the lengths" in n for n in full.notes)
    with_nan = written(tmp_path / "b.pkl", train=table(audio_lengths=np.array([8, 2, np.nan, 1])))
    assert taken(with_nan, tmp_path / "y").arrivals[0].absent == {"v$_$2": "audio_lengths says nan"}


@pytest.mark.parametrize("name", ["visual", "video"])
def test_other_names_of_the_modalities_are_known_and_said(tmp_path: Path, name: str) -> None:
    """I6: and what is left out is named."""
    content = table() | {name: AUDIO[:, :4], "acoustic": AUDIO, "language": AUDIO, "extra": [1] * 4}
    del content["audio"], content["audio_lengths"]
    received = taken(written(tmp_path / "a.pkl", train=content), tmp_path / "x")
    assert [one.modality for one in received.arrivals] == ["text", "audio", "vision"]
    notes = " ".join(received.notes)
    for said in (f"{name} was taken for vision", "acoustic was taken for audio", "extra"):
        assert said in notes


def test_token_ids_alone_are_no_features(tmp_path: Path) -> None:
    """I6: `text_bert` without `text`, beside other features and alone."""
    ids = np.ones((4, 3, 5), np.float32)
    received = taken(written(tmp_path / "a.pkl", train=table(text_bert=ids)), tmp_path / "x")
    assert [one.modality for one in received.arrivals] == ["audio"]
    assert any("text_bert holds token ids and no features" in note for note in received.notes)
    alone = table(text_bert=ids, audio=None, audio_lengths=None)
    with pytest.raises(ExchangeError, match=r"none of the columns.*text_bert holds token ids"):
        open_foreign(written(tmp_path / "b.pkl", train=alone), {})


CLASSES = {
    "humor": ([0, 1, 1, 0], ["0", "1", "1", "0"]),
    "sarcasm": ([[[-1.0]], [[1.0]], [[1.0]], [[-1.0]]], ["-1", "1", "1", "-1"]),
    "one-hot": (np.eye(4)[[2, 0, 1, 3]], ["2", "0", "1", "3"]),
    "iemocap of MulT": (np.stack([1 - np.eye(4), np.eye(4)], -1)[[2, 0, 1, 3]], [*"2013"]),
}


@pytest.mark.parametrize("kind", CLASSES)
def test_labels_that_are_classes_are_seen_as_such(tmp_path: Path, kind: str) -> None:
    """I5: they were scores of the protocol "sims", without a word."""
    labels, classes = CLASSES[kind]
    content = {"id": [f"v[{k}]" for k in range(4)], "audio": AUDIO, "labels": np.array(labels)}
    path = written(tmp_path / "m.pkl", train=content)
    received = taken(path, tmp_path / "x")
    clips = received.manifest.clips
    assert ([c.category for c in clips], [c.label for c in clips]) == (classes, [None] * 4)
    assert any("taken for classes" in note for note in received.notes)
    numbers = open_foreign(path, {}, labels="scores").clips
    assert all(c.category is None and c.label is not None for c in numbers)


def test_scores_stay_scores_and_may_be_asked_to_be_classes(tmp_path: Path) -> None:
    """I5: a corpus of scores is none of classes because a few of them are whole."""
    path = written(tmp_path / "m.pkl", train=table(regression_labels=[-1, 0, 1, 2]))
    assert [c.label for c in open_foreign(path, {}).clips] == [-1, 0, 1, 2]
    asked = open_foreign(path, {}, labels="classes").clips
    assert [c.category for c in asked] == ["-1", "0", "1", "2"]
    path = written(tmp_path / "n.pkl", train=table())
    with pytest.raises(ExchangeError, match=r"value -1\.8, which is no class"):
        open_foreign(path, {}, labels="classes")


def merbench(folder: Path, entries: Mapping[str, Any], words: str = "") -> Path:
    place = folder / "features" / "x-FRA"
    place.mkdir(parents=True)
    for name in entries:
        if "/" not in name:
            np.save(place / f"{name}.npy", np.ones((2, 3), "f4"))
    np.savez(folder / "label.npz", train_corpus=np.array(dict(entries), object))
    if words:
        (folder / "transcription-engchi-polish.csv").write_text(words, encoding="utf-8")
    return folder


def test_minus_ten_is_no_score_of_merbench(tmp_path: Path) -> None:
    """I4: it gave a mean absolute error of 9.95."""
    entries = {"a": {"emo": 0, "val": -10}, "b": {"emo": 3, "val": -10.0}}
    clips = open_foreign(merbench(tmp_path / "m", entries), {"audio": "x"}).clips
    assert [(c.label, c.category) for c in clips] == [(None, "0"), (None, "3")]


def test_one_line_for_each_damaged_label_of_merbench(tmp_path: Path) -> None:
    """I8, H13: a label without `emo`, labels of no form, and names that leave the folder."""
    entries = {
        "a": {"emo": 0, "val": 1.0},
        "b": {"val": 1.0},
        "c": 7,
        "../../d": {"emo": 1, "val": 1.0},
        "/etc/e": {"emo": 1, "val": 1.0},
        "f": {"emo": 2, "val": "high"},
    }
    folder = merbench(tmp_path / "m", entries)
    with pytest.raises(ExchangeError) as found:
        open_foreign(folder, {"audio": "x"})
    assert [line.removeprefix(f"{folder}: ") for line in str(found.value).splitlines()] == [
        "train_corpus: b has no 'emo'.",
        "train_corpus: c is 7.",
        "train_corpus: clip '../../d' cannot be the name of a file.",
        "train_corpus: clip '/etc/e' cannot be the name of a file.",
        "train_corpus: f is {'emo': 2, 'val': 'high'}.",
    ]
    (folder / "label.npz").write_bytes(b"no zip")
    with pytest.raises(SedimentalError, match=r"label\.npz: a damaged \.npz \(BadZipFile\)"):
        open_foreign(folder, {"audio": "x"})


def test_a_damaged_file_of_a_clip_is_that_clip_s_alone(tmp_path: Path) -> None:
    """I8: a 0-byte .npy, one of other width, one of text."""
    folder = merbench(tmp_path / "m", {k: {"emo": n, "val": n} for n, k in enumerate("abcde")})
    place = folder / "features" / "x-FRA"
    (place / "a.npy").write_bytes(b"")
    np.save(place / "b.npy", np.ones((2, 4)))
    np.save(place / "c.npy", np.array(["a"]))
    received = taken(folder, tmp_path / "x", audio="x")
    assert frames(received) == {"d$_$0": 2, "e$_$0": 2}
    absent = received.arrivals[0].absent
    assert absent.keys() == {"a$_$0", "b$_$0", "c$_$0"}
    assert "a.npy: not an array that can be read: it is empty" in absent["a$_$0"]
    assert absent["b$_$0"] == "has frames of 4 numbers, others 3"


WORDS = "name,chinese,english\na,你好,hello\nb,你好,hello\n"


def test_the_transcript_of_merbench_is_that_of_the_corpus(tmp_path: Path) -> None:
    """I11: an English translation made a Chinese corpus English."""
    entries = {"a": {"emo": 0, "val": 1.0}, "b": {"emo": 1, "val": 0.0}}
    chinese = merbench(tmp_path / "mer2023-dataset-process", entries, WORDS)
    assert open_foreign(chinese, {"audio": "x"}).clips[0].text == "你好"
    english = merbench(tmp_path / "cmumosi-process", entries, WORDS)
    assert open_foreign(english, {"audio": "x"}).clips[0].text == "hello"
    unknown = merbench(tmp_path / "mine", entries, WORDS)
    with pytest.raises(ExchangeError, match="--language english or --language chinese"):
        open_foreign(unknown, {"audio": "x"})
    assert open_foreign(unknown, {"audio": "x"}, language="chinese").clips[0].text == "你好"


ODD: dict[str, tuple[dict[str, Any], str | None]] = {
    "lengths of no form": ({"audio_lengths": {"a": 1}}, "audio_lengths is a dict"),
    "labels that are words": ({"regression_labels": ["good"] * 4}, "holds a str in row 0"),
    "a column of nothing": ({"audio": None, "vision": {}}, "vision is a dict"),
    "ids that are tables": ({"id": [{"a": 1}] * 4}, "id holds a dict"),
    "an id that is half a letter": ({"id": ["\ud800", "b", "c", "d"]}, "the id in row 0 is"),
    "no ids": ({"id": ["", "b", "c", "d"]}, "the id in row 0 is"),
    "widths that differ": (
        {"audio": [np.ones((2, 3)), np.ones((2, 4)), np.ones((1, 3)), np.ones((1, 3))]},
        r"row 1, not \(frames, 3\)",
    ),
    "lists that are no rows": ({"audio": [[1, 2], [[1], [2, 3]], [1, 2], [1, 2]]}, "clip 1"),
    "text as features": ({"audio": np.full((4, 2), "x")}, "an array .4, 2. of <U1"),
    "token ids of no shape": ({"text_bert": np.ones((4, 2)), "text": AUDIO}, "text_bert has the"),
    "a lone surrogate": ({"raw_text": ["a\ud800", "b", "c", "d"]}, None),
    "no text at all": ({"raw_text": [None] * 4}, None),
    "a label that is none": ({"regression_labels": [None, np.nan, np.inf, 1e300]}, None),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_columns_are_answers_and_no_tracebacks(tmp_path: Path, name: str) -> None:
    """I8: text or NaN where numbers are, lone surrogates, overflow."""
    change, fault = ODD[name]
    path = written(
        tmp_path / "a.pkl",
        train=table(**change),
        test=table(
            2,
            10,
            **({"text_bert": np.ones((2, 3, 5)), "text": AUDIO[:2]} if "text" in change else {}),
        ),
    )
    result = CliRunner().invoke(app, ["import", str(path), "-c", str(tmp_path / "p.toml")])
    if fault is None:
        assert result.exit_code in (0, 3), result.output
        return
    with pytest.raises(ExchangeError, match=fault) as found:
        open_foreign(path, {})
    assert str(found.value).startswith(f"{path}: train: ")
    assert result.exit_code == 1
    assert not (tmp_path / "features").exists()


def test_empty_splits_and_values_beyond_float32(tmp_path: Path) -> None:
    """I8: a split without a clip is no fault; a number too large is its clip's."""
    sound = AUDIO.astype("f8")
    sound[1, 0, 2] = 1e39
    empty = {k: v[:0] for k, v in table().items()} | {"audio": np.array([])}
    path = written(tmp_path / "a.pkl", train=table(audio=sound), valid=empty, test=table(1, 9))
    received = taken(path, tmp_path / "x")
    assert received.manifest.sizes == {"train": 4, "valid": 0, "test": 1}
    assert received.arrivals[0].absent == {"v$_$1": "frame 0, number 2 is 1e+39"}


def test_minus_infinity_is_counted_and_named(tmp_path: Path) -> None:
    sound = AUDIO.copy()
    sound[0, 2, 1] = sound[0, 3, 1] = sound[3, 0, 0] = -np.inf
    received = taken(
        written(tmp_path / "a.pkl", train=table(audio=sound, audio_lengths=[8] * 4)), tmp_path / "x"
    )
    (note,) = (note for note in received.notes if "-inf" in note)
    assert note.startswith("audio: 3 values of -inf in 2 clips were taken as 0")
    assert "v$_$0, v$_$3" in note


def test_columns_that_one_split_lacks_are_named(tmp_path: Path) -> None:
    """Features are a fault, labels and words are told."""
    path = written(
        tmp_path / "a.pkl",
        train=table(raw_text=["a"] * 4),
        test=table(2, 10, regression_labels=None),
    )
    notes = open_foreign(path, {}).notes
    assert "no column `raw_text` in test, which other splits have." in notes
    assert "no column `regression_labels` in test, which other splits have." in notes
    path = written(tmp_path / "b.pkl", train=table(vision=AUDIO), test=table(2, 10))
    with pytest.raises(ExchangeError, match="test: no column `vision`, which other splits have"):
        open_foreign(path, {})


@pytest.mark.parametrize(
    ("labels", "corpus", "protocol", "said"),
    [
        ((1, 5), "mine", "1..5", "labels lie between 1 and 5: the scale of no published"),
        ((-0.08, 0.86), "mine", "sims", "is a guess"),
        ((-1, 0.8), "mine", "sims", None),
        ((-2.4, 1.2), "mine", "mosi", None),
        ((-0.4, 0.6), "my-mosi", "mosi", None),
        ((-0.4, 0.6), "sims-part", "sims", None),
    ],
)
def test_the_scale_of_labels_is_known_or_said_to_be_a_guess(
    labels: tuple[float, float], corpus: str, protocol: str, said: str | None
) -> None:
    clips = tuple(Clip(f"v$_${k}", "v", str(k), "train", label=v) for k, v in enumerate(labels))
    found = scale(Manifest(corpus, Path(), clips))
    assert found.protocol == protocol
    assert [said in note for note in found.notes] == [True] * (said is not None)  # type: ignore[operator]


def test_forms_of_plain_data_are_read_and_others_get_a_way_out(tmp_path: Path) -> None:
    """I14: .npz, .npy and trees of them are read; gzip, HDF5 and torch are told what to do."""
    import torch

    splits = {"train": table(), "test": table(2, 10)}
    np.savez(tmp_path / "a.npz", **{s: np.array(t, object) for s, t in splits.items()})  # type: ignore[arg-type]
    flat = {f"{s}_{k}": np.array(v) for s, t in splits.items() for k, v in t.items()}
    np.savez_compressed(tmp_path / "flat.npz", **flat)  # type: ignore[arg-type]
    np.save(tmp_path / "a.npy", np.array(splits, object))
    for split, own in splits.items():
        (tmp_path / "tree" / split).mkdir(parents=True)
        for key, value in own.items():
            np.save(tmp_path / "tree" / split / f"{key}.npy", np.array(value))
    for name in ("a.npz", "flat.npz", "a.npy", "tree"):
        received = taken(tmp_path / name, tmp_path / "x" / name)
        assert received.manifest.sizes == {"train": 4, "valid": 0, "test": 2}
        assert frames(received) == REAL | {"v$_$10": 8, "v$_$11": 2}
    torch.save(splits, tmp_path / "t.pt")
    (tmp_path / "p.pkl.gz").write_bytes(gzip.compress(pickle.dumps(splits)))
    h5py.File(tmp_path / "f.h5", "w").close()
    for name, way in {"t.pt": r"tensor.numpy\(\)", "p.pkl.gz": "gunzip", "f.h5": "savez"}.items():
        with pytest.raises(ExchangeError, match=way):
            open_foreign(tmp_path / name, {})


def test_models_without_a_preset_take_their_defaults(tmp_path: Path) -> None:
    """I12: `preset = "mosi"`, which an import writes, was a fault with models = ["tfn"]."""
    from sedimental.train.models import option_faults, preset_notes

    assert option_faults({"train": {"preset": "mosi", "models": ["tfn"]}}) == []
    (note,) = preset_notes(["uegd", "tfn"], "mosi")
    assert note.startswith('tfn: no preset "mosi"')
    assert preset_notes(["tfn"], None) == ()


def test_nothing_of_an_export_names_what_numpy_1_has_not(tmp_path: Path) -> None:
    """I2: "No module named numpy._core"; tried with numpy 1.20.3 and 1.24.4."""
    import pickletools
    import zipfile

    from sedimental.cache.exchange.pickle_write import write_object_npz, write_pickle

    value = {"x": np.ones((2, 3), "f4"), "o": np.array(["a", None], object), "s": np.float32(1)}
    with (tmp_path / "a.pkl").open("wb") as file:
        write_pickle(file, value)
    write_object_npz(tmp_path / "a.npz", {"train_corpus": {"a": {"emo": 1, "val": 0.5}}})
    inside = zipfile.ZipFile(tmp_path / "a.npz").read("train_corpus.npy")
    for data in ((tmp_path / "a.pkl").read_bytes(), inside[inside.index(b"\n") + 1 :]):
        said = {arg for code, arg, _ in pickletools.genops(data) if isinstance(arg, str)}
        assert "numpy.core.multiarray" in said
        assert not any("_core" in text for text in said)
    code = (
        "import pickle, sys, numpy as np, warnings; warnings.simplefilter('ignore')\n"
        "x = pickle.load(open(sys.argv[1], 'rb')); assert x['x'].sum() == 6 and x['s'] == 1\n"
        "y = np.load(sys.argv[2], allow_pickle=True)['train_corpus'].item()\n"
        "assert y == {'a': {'emo': 1, 'val': 0.5}}"
    )
    given = [str(tmp_path / "a.pkl"), str(tmp_path / "a.npz")]
    subprocess.run([sys.executable, "-P", "-c", code, *given], check=True)
