"""Corpora of emotional speech and video, each in miniature as it is released."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fuzz.corpora import MINIATURES

from sedimental.config import CorpusConfig
from sedimental.errors import ManifestError
from sedimental.extract.corpora import load_manifest
from sedimental.train.data.dataset import Table


def made(kind: str, folder: Path, **keys: Any) -> Any:
    MINIATURES[kind](folder)
    place = folder / "fold_1" if kind == "emobox" else folder
    return load_manifest(CorpusConfig.model_validate({"kind": kind, "path": place, **keys}))


def of(manifest: Any, end: str) -> Any:
    [clip] = [clip for clip in manifest.clips if clip.id.endswith(end)]
    return clip


@pytest.mark.parametrize("kind", MINIATURES)
def test_files_are_there_and_every_split_has_clips(kind: str, tmp_path: Path) -> None:
    manifest = made(kind, tmp_path, **({"tests": "test1"} if kind == "mer2023" else {}))
    assert all((manifest.root / clip.media).is_file() for clip in manifest.clips)
    assert all(manifest.sizes.values())
    assert (
        load_manifest(
            CorpusConfig.model_validate(
                {"kind": kind, "path": tmp_path / "fold_1" if kind == "emobox" else tmp_path}
            )
        )
        == manifest
    )  # the same again


@pytest.mark.parametrize("kind", MINIATURES)
def test_a_folder_of_something_else_is_named(kind: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no corpus")
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ManifestError, match=str(place)):
            load_manifest(CorpusConfig.model_validate({"kind": kind, "path": place}))


def test_crema_d(tmp_path: Path) -> None:
    manifest = made("crema-d", tmp_path)
    clip = of(manifest, "1001_IEO_ANG_HI$_$0")
    assert (clip.category, clip.speaker) == ("anger", "1001")
    assert clip.text == "It's eleven o'clock."
    splits = {c.speaker: c.split for c in manifest.clips}
    assert all(c.split == splits[c.speaker] for c in manifest.clips)  # whole actors
    (tmp_path / "VideoFlash/1001_XXX_ANG_HI.flv").touch()
    with pytest.raises(ManifestError, match="no such sentence"):
        load_manifest(CorpusConfig(kind="crema-d", path=tmp_path))
    folds = made("crema-d", tmp_path / "b", folds="speaker")
    assert folds.folds == 4


def test_ravdess(tmp_path: Path) -> None:
    manifest = made("ravdess", tmp_path)
    assert len(manifest.clips) == 8  # no pictures alone, no songs
    clip = of(manifest, "01-06-01-02-01-03$_$0")
    assert clip.media == "Actor_03/01-01-06-01-02-01-03.mp4"
    assert (clip.category, clip.speaker) == ("fearful", "Actor_03")
    assert clip.text == "Dogs are sitting by the door."


def test_iemocap(tmp_path: Path) -> None:
    manifest = made("iemocap", tmp_path / "IEMOCAP_full_release")
    assert manifest.sizes == {"train": 9, "valid": 3, "test": 3}
    clip = of(manifest, "Ses05F_impro01_M001")
    assert (clip.category, clip.text, clip.speaker) == ("happy", "Excuse me, 1.", "Ses05M")
    assert clip.dimensions == {"valence": 4.5, "arousal": 3.0, "dominance": 2.0}
    assert clip.context == ("Ses05F_impro01$_$Ses05F_impro01_F000",)
    assert of(manifest, "Ses01F_impro01_F002").category is None  # raters did not agree
    assert Table.of(manifest).classes == ("happy", "neutral")
    several = Table.of(manifest, "dimensions").several
    assert several is not None
    assert several.names == ("valence", "arousal", "dominance")
    keys = {"kind": "iemocap", "path": tmp_path, "emotions": "six"}
    six = load_manifest(CorpusConfig.model_validate(keys))
    assert of(six, "Ses05F_impro01_M001").category == "excited"
    folds = load_manifest(CorpusConfig.model_validate(keys | {"folds": 5}))
    assert {c.fold for c in folds.clips if str(c.media).startswith("Session4")} == {3}
    path = tmp_path / "IEMOCAP_full_release/Session2/dialog/EmoEvaluation/Ses02F_impro01.txt"
    path.write_text("[1.0 - 2.0]\tTURN\tjoy\t[1, 2, 3]\n")
    with pytest.raises(ManifestError, match=r"Ses02F_impro01\.txt: line 1: should be"):
        load_manifest(CorpusConfig.model_validate(keys))


def test_msp_podcast(tmp_path: Path) -> None:
    manifest = made("msp-podcast", tmp_path)
    assert manifest.sizes == {"train": 2, "valid": 1, "test": 2}
    assert manifest.notes == (
        f"{tmp_path}/Labels/labels_consensus.csv: left out 1 of test2; `tests` in [corpus] chooses "
        "the set.",
    )
    first, other = manifest.clips[0], of(manifest, "0003$_$0")
    assert (first.category, first.speaker, first.text) == ("anger", None, "What 0 said.")
    assert first.dimensions == {"valence": 2.0, "arousal": 3.0, "dominance": 4.0}
    assert (other.category, other.speaker) == (None, "3")


def test_mer2023(tmp_path: Path) -> None:
    manifest = made("mer2023", tmp_path)
    assert manifest.sizes["test"] == 3
    assert manifest.sizes["train"] + manifest.sizes["valid"] == 24
    clip = of(manifest, "sample_train_0$_$0")
    assert (clip.label, clip.category, clip.text) == (-3.5, "neutral", "你好")
    more = {"kind": "mer2023", "path": tmp_path, "unlabelled": True, "tests": "test2"}
    whole = load_manifest(CorpusConfig.model_validate(more))
    assert whole.sizes["test"] == 2
    assert whole.sizes["train"] == manifest.sizes["train"] + 2
    assert Table.of(whole, "classification").unlabelled["train"] == 2


def test_ch_sims_v2_with_clips_that_have_no_label(tmp_path: Path) -> None:
    manifest = made("sims-v2", tmp_path)
    clip = manifest.clips[1]
    assert (clip.id, clip.label, clip.label_T, clip.label_A) == ("aqgy3_1$_$00001", 0.1, 0.2, -0.4)
    assert clip.label_V is None
    whole = load_manifest(CorpusConfig(kind="sims-v2", path=tmp_path, unlabelled=True))
    assert Counter(c.label is None for c in whole.clips) == {False: 4, True: 2}
    table = Table.of(whole)
    assert table.unlabelled == {"train": 2, "valid": 0, "test": 0}
    assert len(table.ids) == 4


def test_cmu_mosei_with_its_six_emotions(tmp_path: Path) -> None:
    manifest = made("mosei", tmp_path)
    assert list(manifest.clips[1].emotions) == [
        *("happy", "sad", "anger", "surprise", "disgust", "fear"),
    ]
    assert manifest.clips[1].emotions["happy"] == 1.333
    assert Table.of(manifest).several is None  # sentiment, unless emotions are asked for
    table = Table.of(manifest, "emotions")
    assert table.labels[1].tolist() == [1, 0, 1, 0, 0, 0]


def test_emobox(tmp_path: Path) -> None:
    manifest = made("emobox", tmp_path)
    assert manifest.root == tmp_path.resolve()
    assert manifest.sizes["test"] == 3
    assert 0 < manifest.sizes["valid"] < 8
    assert of(manifest, "emodb-train1$_$0").category == "neutral"
    path = tmp_path / "fold_1/emodb_test_fold_1.jsonl"
    path.write_text('{"key": "a"}\n[1\n' + path.read_text())
    with pytest.raises(ManifestError) as found:
        load_manifest(CorpusConfig(kind="emobox", path=tmp_path / "fold_1"))
    lines = str(found.value).splitlines()
    assert [line.partition(": ")[2].partition(": ")[0] for line in lines] == ["line 1", "line 2"]
