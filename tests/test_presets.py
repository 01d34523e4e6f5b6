"""Shipped pipelines of class corpora, from a raw folder of their layout to a report."""

import csv
import json
import pickle
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sedimental
from sedimental.config import Config
from sedimental.evaluate.output.write import write_report
from sedimental.evaluate.report import report_folder as evaluate
from sedimental.extract.run import extract
from sedimental.train.models import model_options, model_recipe
from sedimental.train.run import train

ROOT = Path(sedimental.__path__[0])
PRESETS = ROOT / "extract/corpora/presets"
DEMO = sorted((ROOT / "extract/corpora/demo/Raw").glob("*/*.mp4"))
TINY = {"text": "tiny-bert", "audio": "tiny-wavlm", "vision": "tiny-clip"}
CLIPS = 18
SPLITS = ["train"] * 10 + ["dev"] * 4 + ["test"] * 4
LINES = ("that was a joke, wasn't it", "we left before the end", "I could not be happier")


def clip_at(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(DEMO[number], path)


def urfunny(folder: Path) -> None:
    words = {
        n: {"punchline_sentence": LINES[n % 3], "context_sentences": [LINES[0]] * (n % 3)}
        for n in range(CLIPS)
    }
    folds = {s: [n for n in range(CLIPS) if SPLITS[n] == s] for s in ("train", "dev", "test")}
    labels = {n: n % 2 for n in range(CLIPS)}
    folder.mkdir(parents=True)
    for name, value in (
        ("language_sdk", words), ("humor_label_sdk", labels), ("data_folds", folds),
    ):  # fmt: skip
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(value))
    for n in range(CLIPS):
        clip_at(folder / f"urfunny2_videos/{n}.mp4", n)


def mustard(folder: Path) -> None:
    entries = {
        f"1_{n}": {
            "utterance": LINES[n % 3], "speaker": "SHELDON", "context": [LINES[0]],
            "context_speakers": ["PENNY"], "show": "BBT", "sarcasm": n % 2 == 0,
        }
        for n in range(CLIPS)
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "sarcasm_data.json").write_text(json.dumps(entries))
    for n in range(CLIPS):
        clip_at(folder / f"utterances_final/1_{n}.mp4", n)


def cherma(folder: Path) -> None:
    folder.mkdir(parents=True)
    for split in ("train", "dev", "test"):
        with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["id", "label", "text"])
            for n in range(CLIPS):
                if SPLITS[n] == split:
                    table.writerow([f"c{n}", ("happy", "sad", "fear")[n % 3], "好的我知道了"])
    for n in range(CLIPS):
        clip_at(folder / f"videos/c{n}.mp4", n)


def meld(folder: Path) -> None:
    places = {
        "train": "train_splits",
        "dev": "dev_splits_complete",
        "test": "output_repeated_splits_test",
    }
    folder.mkdir(parents=True)
    for split, place in places.items():
        with (folder / f"{split}_sent_emo.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(
                [
                    "Sr No.",
                    "Utterance",
                    "Speaker",
                    "Emotion",
                    "Sentiment",
                    "Dialogue_ID",
                    "Utterance_ID",
                ]
            )
            for n in range(CLIPS):
                if SPLITS[n] == split:
                    emotion = ("joy", "anger", "neutral")[n % 3]
                    table.writerow([n, LINES[n % 3], "Ross", emotion, "positive", n // 4, n % 4])
                    clip_at(folder / f"{place}/dia{n // 4}_utt{n % 4}.mp4", n)


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "urfunny": urfunny, "mustard": mustard, "cherma": cherma, "meld": meld,
}  # fmt: skip
CLASSES = {
    "urfunny": ("humor", "none"),
    "mustard": ("sarcastic", "sincere"),
    "cherma": ("fear", "happy", "sad"),
    "meld": ("anger", "joy", "neutral"),
}


def small(name: str, root: Path) -> Config:
    """The shipped pipeline with tiny encoders, their last layers, a seed and an epoch."""
    raw: Any = tomllib.loads((PRESETS / f"{name}.toml").read_text(encoding="utf-8"))
    raw["corpus"]["path"] = root / raw["corpus"]["path"]
    raw["cache"]["root"] = root / "features"
    raw["runs"] = {"root": root / "runs"}
    for table in raw["features"]:
        table["encoder"] = TINY[table["modality"]]
    for modality, line in raw["train"]["inputs"].items():
        line["encoder"] = TINY[modality]
        if isinstance(line["layers"], int):
            line["layers"] = -1
    raw["train"] |= {"seeds": [1], "epochs": 1, "device": "cpu"}
    raw["evaluate"] = {"bootstrap": 0}
    return Config.model_validate(raw)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_shipped_pipeline_goes_from_raw_folder_to_report(name: str, tmp_path: Path) -> None:
    config = small(name, tmp_path)
    LAYOUTS[name](Path(config.corpus.path or ""))
    extracted = extract(config)
    assert not extracted.failures
    runs = train(config)
    assert {f"{run.model} {run.letters}" for run in runs} == {
        "uegd TAV", "uegd T", "uegd A", "uegd V", "glomo TAV",
    }  # fmt: skip
    assert all(run.predictions.classes == CLASSES[name] for run in runs)
    for run in runs:
        shares = run.predictions.probabilities
        assert shares is not None
        assert shares.sum(axis=1) == pytest.approx(1)
    report = evaluate(config.experiment, config.evaluate)
    page = write_report(config.experiment, report).read_text(encoding="utf-8")
    assert report.protocol == "classes"
    assert all(f"F1_{c}" in page for c in CLASSES[name])


@pytest.mark.parametrize(
    ("name", "width", "layers", "batch", "rate", "epochs"),
    [
        ("urfunny", 112, 3, 220, 2e-5, 100),
        ("mustard", 160, 3, 64, 2e-5, 5),
        ("cherma", 256, 7, 400, 2e-5, 20),
        ("meld", 256, 7, 400, 2e-5, 20),  # no paper's: as CHERMA
    ],
)
def test_glomo_is_trained_as_in_its_appendix(
    name: str, width: int, layers: int, batch: int, rate: float, epochs: int
) -> None:
    raw = tomllib.loads((PRESETS / f"{name}.toml").read_text(encoding="utf-8"))
    section = raw["train"]
    how = "glomo", section.get("glomo", {}), section.get("preset")
    options, recipe = model_options(*how), model_recipe(*how)
    assert (options.width, options.encoder_layers) == (width, layers)
    assert (recipe.batch_size, recipe.learning_rate, recipe.epochs) == (batch, rate, epochs)
    assert not section.keys() & {"batch_size", "learning_rate", "epochs"}  # which would go before
    one_sequence = options.text == "sequence"  # P6
    assert section["inputs"]["text"]["layers"] == (-1 if one_sequence else [-1, -2])


@pytest.mark.parametrize(
    "name",
    ["mosi", "mosei", "finetune-mosi", "mmml-mosi", "mmml-sims", "urfunny", "mustard", "cherma"],
)
def test_pipelines_of_a_paper_scale_inputs_as_it_does(name: str) -> None:
    """P5: none of these papers standardises features."""
    raw = tomllib.loads((PRESETS / f"{name}.toml").read_text(encoding="utf-8"))
    assert raw["train"]["input_scaling"] == "none"
