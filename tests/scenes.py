"""Small real folders in which the documentation's commands run: corpora, a trained run, files."""

import csv
import pickle
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

import sedimental
from sedimental.config import load_config

from .extract.test_transcribe import whisper

DEMO = Path(sedimental.__path__[0]) / "extract/corpora/demo"
SPLITS = ("train", "train", "train", "train", "valid", "valid", "test", "test")
TINY = {
    "clip-vit-large-patch14": "tiny-clip",
    "wavlm-large": "tiny-wavlm",
    "data2vec-audio-base": "tiny-data2vec-audio",
    "bert-base-uncased": "tiny-bert",
    "bert-large-uncased": "tiny-bert",
    "roberta-base": "tiny-roberta",
}
FEATURES = "".join(
    f'[[features]]\nmodality = "{modality}"\nencoder = "tiny-{name}"\n'
    for modality, name in (("text", "bert"), ("audio", "wavlm"), ("vision", "clip"))
)
FEATURES += "fps = 1\n"
INPUTS = '[train.inputs]\ntext = {}\naudio = { layers = "weighted" }\nvision = {}\n'


def rows(count: int) -> list[dict[str, str]]:
    """The first lines of the demo corpus's table, their splits going round."""
    with (DEMO / "label.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))[:count]
    return [row | {"mode": SPLITS[k % len(SPLITS)]} for k, row in enumerate(found)]


def media(row: dict[str, str]) -> Path:
    """The clip's file below the demo corpus."""
    return DEMO / "Raw" / row["video_id"] / f"{row['clip_id']}.mp4"


def write_table(path: Path, lines: Iterable[dict[str, object]]) -> None:
    """A csv table of `lines`."""
    lines = list(lines)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, lines[0])
        table.writeheader()
        table.writerows(lines)


def own_table(folder: Path, count: int = 8, name: str = "labels.csv") -> None:
    """A csv corpus as a user writes it: labels.csv, and clips/ beside it."""
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    lines: list[dict[str, object]] = []
    for k, row in enumerate(rows(count)):
        shutil.copy(media(row), folder / "clips" / f"{k}.mp4")
        own = {"id": f"c{k}", "split": row["mode"], "label": row["label"], "text": row["text"]}
        lines.append({**own, "media": f"clips/{k}.mp4"})
    write_table(folder / name, lines)


def cmu_mosi(folder: Path) -> None:
    """A corpus in the layout of CMU-MOSI."""
    place = folder / "CMU-MOSI"
    for row in rows(8):
        target = place / "Raw" / row["video_id"] / f"{row['clip_id']}.mp4"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(media(row), target)
    write_table(place / "label.csv", [{**row} for row in rows(8)])


def ur_funny(folder: Path) -> None:
    """UR-FUNNY as it is released, in miniature."""
    place = folder / "UR-FUNNY"
    (place / "urfunny2_videos").mkdir(parents=True)
    found = rows(8)
    for k, row in enumerate(found):
        shutil.copy(media(row), place / "urfunny2_videos" / f"{k}.mp4")
    said = {
        k: {"punchline_sentence": row["text"], "context_sentences": ["I saw a bird"]}
        for k, row in enumerate(found)
    }
    folds = {
        fold: [k for k, row in enumerate(found) if row["mode"] == mode]
        for fold, mode in (("train", "train"), ("dev", "valid"), ("test", "test"))
    }
    for name, value in (
        ("language_sdk", said),
        ("humor_label_sdk", {k: k // 2 % 2 for k in said}),
        ("data_folds", folds),
    ):
        (place / f"{name}.pkl").write_bytes(pickle.dumps(value))


def mmsa_file(folder: Path) -> None:
    """A pickle as MMSA shares it, of random numbers."""
    random, whole = np.random.default_rng(0), dict[str, dict[str, Any]]()
    for split, clips in (("train", 8), ("valid", 4), ("test", 4)):
        whole[split] = {
            "id": np.array([f"{split}{k}$_$0" for k in range(clips)]),
            "raw_text": np.array(["what a day"] * clips),
            "regression_labels": random.uniform(-3, 3, clips).astype(np.float32),
        }
        for modality, width in (("text", 12), ("audio", 5), ("vision", 6)):
            values = random.normal(size=(clips, 6, width)).astype(np.float32)
            whole[split][modality] = values
            whole[split][f"{modality}_lengths"] = [6] * clips
    path = folder / "MOSI/Processed/unaligned_50.pkl"
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps(whole))


def meld(folder: Path, pipeline: str) -> None:
    """MELD's three tables in miniature, and the pipeline of docs/real.md over them."""
    place = folder / "MELD"
    place.mkdir()
    words = ("good", "bad", "plain")
    for split, count in (("train", 18), ("dev", 9), ("test", 9)):
        lines: list[dict[str, object]] = [
            {
                "Utterance": f"a {words[k % 3]} day, number {k}",
                "Speaker": "Ross",
                "Emotion": "joy",
                "Sentiment": ("positive", "negative", "neutral")[k % 3],
                "Dialogue_ID": k // 3,
                "Utterance_ID": k % 3,
            }
            for k in range(count)
        ]
        write_table(place / f"{split}_sent_emo.csv", lines)
    text = re.sub(r'"<minilm>[^"]*"', '"tiny-bert"', pipeline).replace("<folder>", "MELD")
    (folder / "pipeline.toml").write_text(text.replace("name =", "#"), encoding="utf-8")
    small(folder / "pipeline.toml")


def small(pipeline: Path) -> None:
    """Tiny encoders, one seed and an epoch or two in the place of what stands there."""
    text = pipeline.read_text(encoding="utf-8")
    for name, tiny in TINY.items():
        text = text.replace(f'"{name}"', f'"{tiny}"')
    text = text.replace("fps = 3", "fps = 1")
    text = re.sub(r"layers = \d+", "layers = 2", text)
    text = re.sub(r"seeds = \[.*?\]", "seeds = [1]", text)
    text = re.sub(r"^epochs = .*\n", "", text, flags=re.MULTILINE)
    text = text.replace("[train]\n", "[train]\nepochs = 2\n", 1)
    text = text.replace("[train.mmml]\n", "[train.mmml]\nheads = 4\nlayers = 1\n")
    text = text.replace("[evaluate]\n", "[evaluate]\nbootstrap = 20\n")
    pipeline.write_text(text, encoding="utf-8")


def trained_on_demo(folder: Path) -> None:
    """A corpus called demo, its features, a run of UEGD, another corpus, and videos to predict."""
    own_table(folder)
    other = folder / "other"
    own_table(other)
    quick = "[evaluate]\nbootstrap = 20\n"
    for path, corpus in (
        (folder / "pipeline.toml", 'path = "labels.csv"\nname = "demo"\n'),
        (folder / "other.toml", 'path = "other/labels.csv"\nname = "other"\n'),
    ):
        path.write_text(
            f'[corpus]\nkind = "csv"\n{corpus}{FEATURES}[train]\nmodalities = ["TAV"]\n'
            f"seeds = [1]\nepochs = 2\n{INPUTS}[sweep]\nseeds = [1]\nepochs = 1\n{quick}",
            encoding="utf-8",
        )
    config = load_config(folder / "pipeline.toml")
    assert not sedimental.extract(config).failures
    sedimental.train(config)
    for name in ("video.mp4", "talk.mp4"):
        shutil.copy(folder / "clips/0.mp4", folder / name)
    cue = "00:00:00,000 --> 00:00:01,000\nWell.\n\n2\n00:00:01,000 --> 00:00:02,000\nNo.\n"
    (folder / "talk.srt").write_text(f"1\n{cue}", encoding="utf-8")
    clips = [{"media": f"clips/{k}.mp4", "text": "Well.", "start": 0, "end": 1} for k in (0, 1)]
    write_table(folder / "new.csv", [dict[str, object](clip) for clip in clips])


def own_mosi(folder: Path) -> None:
    """A corpus called mosi, extracted."""
    own_table(folder)
    corpus = '[corpus]\nkind = "csv"\npath = "labels.csv"\nname = "mosi"\n'
    chosen = INPUTS.replace('"weighted"', "2")  # what is written is a layer, not a learned sum
    (folder / "pipeline.toml").write_text(f"{corpus}{FEATURES}{chosen}", encoding="utf-8")
    assert not sedimental.extract(load_config(folder / "pipeline.toml")).failures


def raw_videos(folder: Path, runs: Path) -> None:
    """A folder of videos, a Whisper to hear them, and the `runs` of elsewhere."""
    (folder / "clips").mkdir()
    for k, row in enumerate(rows(2)):
        shutil.copy(media(row), folder / "clips" / f"{k}.mp4")
    whisper(folder / "tiny.en")
    (folder / "runs").symlink_to(runs)
