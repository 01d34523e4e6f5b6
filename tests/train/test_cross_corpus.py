"""Trained on one corpus, tested on others: answers on their scale, rows in the report."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import sedimental
from sedimental.cli import app
from sedimental.config import Config, load_config
from sedimental.errors import RunError, SedimentalError
from sedimental.evaluate.metrics import score
from sedimental.evaluate.output.write import write_report
from sedimental.train.cross_corpus import mapped

WORDS = ("good", "fine", "bad", "awful", "so", "great", "poor", "nice")
PIPELINE = """
[corpus]
kind = "csv"
path = "{name}.csv"
{corpus}
[cache]
root = "{name}"
[[features]]
modality = "text"
encoder = "tiny-bert"
max_length = {length}
[train]
models = ["lf_dnn"]
seeds = [1, 2]
epochs = 2
[train.inputs]
text = {{ encoder = "tiny-bert", layers = 0 }}
[evaluate]
bootstrap = 20
protocol = "{protocol}"
also = {also}
"""


def made(folder: Path, name: str, top: float, columns: str = "label", **more: Any) -> Config:
    """A corpus of words whose labels go from -top to top, extracted."""
    by = np.random.default_rng(len(name))
    with (folder / f"{name}.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["id", "split", "text", *columns.split(",")])
        for k in range(24):
            words = by.choice(WORDS, 3)
            good = sum(w in ("good", "fine", "great", "nice") for w in words) / 3
            label: list[Any] = [round(top * (2 * good - 1), 3)] * len(columns.split(","))
            if columns == "class":
                label = [
                    ("bad", "good", "odd")[k % 3] if name == "other" else ("bad", "good")[k % 2]
                ]
            split = ("train", "valid", "test", "test")[k % 4]
            out.writerow([f"{name}{k}", split, " ".join(words), *label])
    keys = {"protocol": "mosi", "corpus": "", "length": 512, "also": []} | more
    (folder / f"{name}.toml").write_text(PIPELINE.format(name=name, **keys))
    config = load_config(folder / f"{name}.toml")
    sedimental.extract(config)
    return config


def test_scores_on_another_scale_stand_in_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path, "other", 1, protocol="sims")
    config = made(tmp_path, "ours", 3, also=["other.toml"])
    runs = sedimental.train(config)
    monkeypatch.chdir(tmp_path.parent)
    said = CliRunner().invoke(app, ["cross", "-c", str(tmp_path / "ours.toml")])
    assert said.exit_code == 0, said.output
    assert "trained on ours, tested on other, 12 test clips" in said.output
    assert "mapped linearly from -3..3 to -1..1" in " ".join(said.output.split())
    report = sedimental.evaluate(config)
    [row] = report.cross
    assert (row.name, row.corpus, row.seeds, row.clips) == ("lf_dnn T", "other", (1, 2), 12)
    # the same model, asked about the same words as new clips, in its own scale
    with (tmp_path / "other.csv").open(newline="") as file:
        test = [line for line in csv.DictReader(file) if line["split"] == "test"]
    labels = [float(line["label"]) for line in test]
    for seed, run in enumerate(runs):
        clips = [sedimental.NewClip(None, line["text"], id=line["id"]) for line in test]
        place = next(config.experiment.glob(f"*/seed-{run.seed}"))
        found = sedimental.predict(place, clips)
        own = [clip.score.mean / 3 for clip in found.clips if clip.score]
        want = score(labels, own, "sims")
        assert row.test["MAE"].values[seed] == pytest.approx(want["MAE"], abs=1e-5)
    assert row.test["Corr"].low is not None
    page = write_report(config.experiment, report).read_text(encoding="utf-8")
    assert "On other corpora" in page
    assert "lf_dnn T on other, 12 clips. Scores are mapped linearly" in page
    files = sorted(config.experiment.glob("*/seed-*/cross-other.npz"))
    before = [file.stat().st_mtime_ns for file in files]
    sedimental.cross(config)  # nothing changed
    assert [file.stat().st_mtime_ns for file in files] == before
    for kept in files:
        kept.write_bytes(kept.read_bytes()[:-9])
    with pytest.raises(RunError, match="`sedimental cross"):
        sedimental.evaluate(config)
    shown = CliRunner().invoke(app, ["cross", "-c", str(tmp_path / "ours.toml"), "--json"])
    assert json.loads(shown.stdout)["cross"][0]["corpus"] == "other"


def test_classes_are_matched_by_name_and_others_named(tmp_path: Path) -> None:
    config = made(tmp_path, "ours", 1, "class")
    other = made(tmp_path, "other", 1, "class")
    sedimental.train(config)
    sedimental.cross(config, [other])
    [row] = sedimental.evaluate(config).cross
    assert row.scheme == ("bad", "good")
    assert row.said.startswith("4 test clips without what the run predicts are left out (4 of odd)")
    assert row.clips == 8


def test_dimensions_by_their_ranges(tmp_path: Path) -> None:
    names = "valence,arousal,dominance"
    config = made(tmp_path, "ours", 3, names, corpus="range = [-3.0, 3.0]")
    other = made(tmp_path, "other", 1, "arousal,valence", corpus="range = [-1.0, 1.0]")
    sedimental.train(config)
    sedimental.cross(config, [other])
    [row] = sedimental.evaluate(config).cross
    assert [key for key in row.test if key.startswith("CCC_")] == ["CCC_valence", "CCC_arousal"]
    assert row.said == "Scores are mapped linearly from -3..3 to -1..1."
    values, _ = mapped(np.array([[-3.0, 3.0]]), (-3, 3), (1, 7))
    assert values.tolist() == [[1, 7]]


def test_what_cannot_be_asked_is_said(tmp_path: Path) -> None:
    config = made(tmp_path, "ours", 3)
    sedimental.train(config)
    with pytest.raises(RunError, match="no test clip there has any of the scores"):
        sedimental.cross(config, [made(tmp_path, "other", 1, "class")])
    apart = made(tmp_path, "apart", 1, length=9)
    with pytest.raises(SedimentalError, match=r"Give that pipeline the same \[\[features\]\]"):
        sedimental.cross(config, [apart])
    said = CliRunner().invoke(app, ["cross", "-c", str(tmp_path / "ours.toml")])
    assert said.exit_code == 2
    assert "--on PIPELINE" in said.output
