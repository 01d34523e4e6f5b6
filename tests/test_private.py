"""What leaves the machine tells no paths; a shared report no faces and no words (H17)."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import sedimental
from sedimental.cache.runs import read_run
from sedimental.cache.runs.portable import located, portable
from sedimental.cli import app
from sedimental.config import load_config
from sedimental.extract.encoders.loading import load_model, resolve

RUNNER = CliRunner()


def done(*command: object) -> str:
    shown = RUNNER.invoke(app, [str(word) for word in command])
    assert shown.exit_code == 0, shown.output
    return shown.stdout


@pytest.mark.parametrize("where", ["weights/bert", "../elsewhere/bert", "/opt/models/bert"])
def test_a_folder_is_told_from_where_the_run_lies(where: str, tmp_path: Path) -> None:
    base = tmp_path / "runs" / "x" / "seed-1"
    folder = os.path.normpath(tmp_path / "project" / where)
    head = {"config": {"inputs": {"text": {"encoder": folder, "layers": [1]}}}, "n": 1}
    told = portable(head, base)
    encoder = told["config"]["inputs"]["text"]["encoder"]
    assert encoder.startswith("../")
    assert str(tmp_path) not in json.dumps(told)
    assert located(told, base) == head


def test_a_home_is_no_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home" / "alice"))
    head = {"weights": str(tmp_path / "home" / "alice" / "models" / "bert")}
    told = portable(head, tmp_path / "scratch" / "runs")
    assert told == {"weights": "~/models/bert"}
    assert located(told, tmp_path / "scratch" / "runs") == head


def test_names_of_encoders_stay(tmp_path: Path) -> None:
    head = {"encoder": "org/name", "weights": "random:0", "also": ["wavlm-large", None, 3]}
    assert portable(head, tmp_path) == head
    assert located(head, tmp_path) == head


def test_no_file_tells_where_the_weights_lie(
    make_corpus: Any, make_pipeline: Any, tmp_path: Path
) -> None:
    """H17: run.json, store.json, parts, exports; and `predict` finds the weights all the same."""
    folder = tmp_path / "secret place" / "bert"
    small = sedimental.config.TextFeatures(modality="text", encoder="tiny-bert")
    checkpoint = resolve(small)
    load_model(checkpoint).save_pretrained(folder)  # type: ignore[operator]
    from sedimental.extract.encoders.text import load_tokenizer

    load_tokenizer(checkpoint).save_pretrained(folder)
    corpus = make_corpus(8)
    path = make_pipeline(
        corpus,
        modalities=(),
        more=f'[[features]]\nmodality = "text"\nencoder = "{folder}"\n'
        f'[train]\nepochs = 1\nseeds = [1]\n[train.inputs]\ntext = {{ encoder = "{folder}" }}\n'
        "[evaluate]\nbootstrap = 0\n",
    )
    done("extract", "-c", path)
    done("train", "-c", path)
    done("report", "-c", path)
    done("cache", "export", tmp_path / "out.pkl", "-c", path)
    config = load_config(path)
    [run] = config.experiment.glob("*/seed-1")
    made = [*config.cache.root.rglob("*"), *config.runs.root.rglob("*"), tmp_path / "out.pkl"]
    telling = [p.name for p in made if p.is_file() and str(tmp_path).encode() in p.read_bytes()]
    assert telling == []
    assert read_run(run).extraction["text"].table["encoder"] == str(folder)
    found = json.loads(done("predict", run, "--text", "It was good.", "--json", "-c", path))
    assert found["clips"][0]["score"] is not None


@pytest.mark.parametrize("how", ["flags", "config"])
def test_a_report_without_words_and_faces(how: str, make_corpus: Any, make_pipeline: Any) -> None:
    more = (
        "[train]\nepochs = 1\nseeds = [1]\n[train.inputs]\n"
        'vision = { encoder = "tiny-clip" }\n[evaluate]\nbootstrap = 0\n'
    )
    path = make_pipeline(make_corpus(8), ("vision",), more=more)
    done("extract", "-c", path)
    done("train", "-c", path)
    report = json.loads(done("report", "--json", "-c", path))
    words = [clip["text"] for clip in report["analyses"]["worst"]]
    assert all(words)
    page = Path(report["page"])
    assert report["embeds"] == {"transcripts": len(words), "faces": len(words)}
    assert "the faces of" in page.read_text()
    assert "data:image/jpeg" in page.read_text()
    if how == "config":
        path.write_text(f"{path.read_text()}private = true\n")
    flags = ["--no-faces", "--no-text"] if how == "flags" else []
    report = json.loads(done("report", "--json", *flags, "-c", path))
    assert report["embeds"] == {"transcripts": 0, "faces": 0}
    for file in (page, page.with_name("report.json")):
        text = file.read_text()
        assert "data:image" not in text
        assert not any(word in text for word in words)
    assert "holds the transcripts of no clips and the faces of no clips" in page.read_text()
