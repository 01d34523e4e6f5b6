"""Corpora of classes through the whole of stage 1, with what was said before each clip."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

import sedimental
from sedimental.cache.manifest import read_manifest
from sedimental.cache.store.store import open_store
from sedimental.config import load_config
from sedimental.extract.encoders.presets.table import encoder_faults
from sedimental.extract.run import extract

DEMO = Path(sedimental.__path__[0]) / "extract/corpora/demo/Raw"
PIPELINE = """
[corpus]
kind = "meld"
path = "MELD.Raw"
name = "meld"
[cache]
dtype = "float32"
[[features]]
modality = "audio"
encoder = "tiny-data2vec-audio"
[[features]]
modality = "audio"
encoder = "log-mel"
rate = 5.0
pool = "stride"
[[features]]
modality = "text"
encoder = "tiny-roberta"
context = 1
max_length = 10
"""
HEAD = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID\n"


def meld(folder: Path, first: str) -> None:
    """Three utterances of one dialogue, and one in each other split whose clip is missing."""
    clips = folder / "train_splits"
    clips.mkdir(parents=True, exist_ok=True)
    for number, media in enumerate(sorted(DEMO.glob("*/*.mp4"))[:3]):
        shutil.copy(media, clips / f"dia0_utt{number}.mp4")
    lines = (first, "no it was not", "we left before the end of it all and it was late")
    (folder / "train_sent_emo.csv").write_text(
        HEAD + "".join(f"{n},{text},Ross,joy,positive,0,{n}\n" for n, text in enumerate(lines))
    )
    for split in ("dev", "test"):
        (folder / f"{split}_sent_emo.csv").write_text(HEAD + "0,fine,Ross,fear,negative,0,0\n")


def stores(result: Any) -> dict[str, Any]:
    return {s.encoder: open_store(s.path, allow_partial=True) for s in result.stores}


def test_a_corpus_of_classes_is_extracted_with_its_context(tmp_path: Path) -> None:
    meld(tmp_path / "MELD.Raw", "it was good")
    (tmp_path / "p.toml").write_text(PIPELINE)
    config = load_config(tmp_path / "p.toml", [encoder_faults])
    result = extract(config)
    assert {(f.clip, f.modality) for f in result.failures} == {
        ("valid_dia0$_$0", "audio"),
        ("test_dia0$_$0", "audio"),
    }
    manifest = read_manifest(config.corpus_cache / "manifest.jsonl")
    assert [c.category for c in manifest.clips] == ["joy"] * 3 + ["fear"] * 2
    found = stores(result)
    assert {name: len(store.clips) for name, store in found.items()} == {
        "tiny-data2vec-audio": 3,
        "log-mel": 3,
        "tiny-roberta": 5,
    }
    assert found["log-mel"].spec.layers == ("0",)
    mel, speech = (
        found[name].read(None, ["train_dia0$_$0"]).values
        for name in ("log-mel", "tiny-data2vec-audio")
    )
    # log-mel frames reach the very end; the network's last ones need whole windows
    assert 0 <= mel.shape[1] - speech.shape[1] <= 1
    assert mel.shape[2] == 128
    texts = found["tiny-roberta"]
    lengths = [texts.read(None, [f"train_dia0$_${n}"]).values.shape[1] for n in range(3)]
    assert lengths == [5, 10, 10]  # alone; with the first; cut
    (cut,) = (s.truncated for s in result.stores if s.modality == "text")
    assert cut == 1
    # other words before a clip make it another clip; the rest are kept
    before = texts.read(None, ["train_dia0$_$2"]).values.copy()
    meld(tmp_path / "MELD.Raw", "it was bad")
    again = extract(config)
    assert {s.encoder: s.new for s in again.stores}["tiny-roberta"] == 2
    after = stores(again)["tiny-roberta"].read(None, ["train_dia0$_$2"]).values
    np.testing.assert_array_equal(before, after)
