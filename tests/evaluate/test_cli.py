"""`compare`, `report` and the rates of `robustness` as a user types them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from command_answers import json_of
from typer.testing import CliRunner

from sedimental.cache.manifest import Clip, Manifest, write_manifest
from sedimental.cache.runs import Predictions, Run, run_folder, write_run
from sedimental.cli import app
from sedimental.evaluate.cli import missing_rates

RUNNER = CliRunner()
EARLIER = {"format": "sedimental-run-1"}


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """A pipeline.toml with a manifest and two seeds of two rows."""
    ids = tuple(f"v{k // 3}$_${k}" for k in range(60))
    splits: Any = tuple(("train", "valid", "test")[k % 3] for k in range(60))
    labels = np.random.default_rng(0).uniform(-3, 3, 60)
    clips = [
        Clip(i, i[:2], i[5:], s, label=float(y))
        for i, s, y in zip(ids, splits, labels, strict=True)
    ]
    write_manifest(tmp_path / "features/x/manifest.jsonl", Manifest("x", tmp_path, tuple(clips)))
    for modality, noise in (("text", 0.5), ("audio", 2.0)):
        for seed in (1, 2):
            values = labels + np.random.default_rng([seed, len(modality)]).normal(0, noise, 60)
            own = Predictions(ids, splits, labels, values)
            how: tuple[Any, ...] = ({}, {}, (), {}, 1, "valid_loss", 1, 1.0, {}, (), {}, own, {})
            modalities: Any = (modality,)
            run = Run("x", "uegd", modalities, seed, "k", *how)
            write_run(run_folder(tmp_path / "runs/x", "uegd", run.modalities, seed), run, b"")
    path = tmp_path / "pipeline.toml"
    path.write_text('[corpus]\nkind = "csv"\npath = "x.csv"\n[evaluate]\nbootstrap = 50\n')
    return path


def test_compare(pipeline: Path) -> None:
    found = json_of("compare", "uegd T", "uegd A", "-c", str(pipeline))
    assert found["first"]["name"] == "uegd T"
    assert found["differences"]["MAE"]["value"] < 0
    assert found["clips"] == 20
    assert 0 < found["mcnemar"]["p"] <= 1
    shown = RUNNER.invoke(app, ["compare", "uegd T", "uegd A", "-c", str(pipeline)])
    assert shown.exit_code == 0
    assert "McNemar on Non0_acc_2" in shown.stdout
    wrong = RUNNER.invoke(app, ["compare", "uegd T", "uegd X", "-c", str(pipeline)])
    assert wrong.exit_code == 1
    assert "Did you mean" in wrong.stderr


def test_report_for_mmsa(pipeline: Path) -> None:
    found = json_of("report", "--mmsa", "-c", str(pipeline))
    assert Path(found["mmsa"]).read_text().startswith("Model,Has0_acc_2")
    assert json_of("report", "-c", str(pipeline))["mmsa"] is None
    assert "Has0_acc_2" in json_of("report", "--explain", "-c", str(pipeline))


def test_rates() -> None:
    assert missing_rates(None, "sims") == (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
    assert missing_rates(None, "classes")[-1] == 1.0
    assert missing_rates("0:0.6:0.3", "mosi") == (0.0, 0.3, 0.6)
    assert missing_rates("0.5,0.5,1", "mosi") == (0.5, 1.0)
    for wrong in ("a", "0:1:0", "0,2"):
        with pytest.raises(typer.Exit):
            missing_rates(wrong, "mosi")


def test_runs_of_an_earlier_version_are_named_and_taken_over(pipeline: Path) -> None:
    """The layout before runs had an identity and checksums."""
    for file in (pipeline.parent / "runs/x/uegd-T").glob("seed-*/run.json"):
        head = json.loads(file.read_text())
        file.write_text(json.dumps({k: v for k, v in head.items() if k != "identity"} | EARLIER))
        (file.parent / "checksums.json").unlink()
    found = json_of("report", "-c", str(pipeline))
    assert [row["letters"] for row in found["rows"]] == ["A"]
    assert any("sedimental runs migrate" in caution["text"] for caution in found["cautions"])
    shown = RUNNER.invoke(app, ["compare", "uegd T", "uegd A", "-c", str(pipeline)])
    assert shown.exit_code == 1
    assert "sedimental runs migrate" in shown.stderr
    assert {one["name"]: one["state"] for one in json_of("runs", "ls", "-c", str(pipeline))} == {
        "uegd-A": "unchecked",
        "uegd-T": "earlier",
    }
    assert len(json_of("runs", "migrate", "-c", str(pipeline))["moved"]) == 2
    found = json_of("report", "-c", str(pipeline))
    assert [row["letters"] for row in found["rows"]] == ["T", "A"]
    assert found["rows"][0]["seeds"] == [1, 2]
    assert json_of("runs", "migrate", "-c", str(pipeline))["moved"] == {}
