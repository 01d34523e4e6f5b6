"""Curves of training in other tools: off by default, and never the cause of a lost run."""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from notes import Notes

import sedimental
from sedimental.config import Config, ConfigError
from sedimental.train import trackers

MakeConfig = Callable[..., Config]


@pytest.fixture
def make(made: MakeConfig) -> MakeConfig:
    """A pipeline with a tracker whose features are there."""

    def with_tracker(tracker: str, name: str = "") -> Config:
        line = f'tracker = "{tracker}"\nmodels = ["lf_dnn"]\nmodalities = ["T"]\npatience = 0'
        config = made(audio="", live="", train=line, name=name or tracker)
        longer = config.train.model_copy(update={"epochs": 3})
        return config.model_copy(update={"train": longer})

    return with_tracker


def needs(package: str) -> pytest.MarkDecorator:
    found = importlib.util.find_spec(package) is not None
    return pytest.mark.skipif(not found, reason=f"{package} is not installed")


@needs("tensorboard")
def test_tensorboard_has_the_curves(make: MakeConfig) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = make("tensorboard")
    (run,) = sedimental.train(config)
    (folder,) = (config.experiment / "trackers/tensorboard").iterdir()
    events = EventAccumulator(str(folder))
    events.Reload()
    losses = [(e.step, e.value) for e in events.Scalars("loss/valid")]
    assert losses == [(e.epoch, pytest.approx(e.valid_loss)) for e in run.history]
    assert events.Scalars("test/MAE")[0].value == pytest.approx(run.metrics["test"]["MAE"])
    sedimental.train(config)  # nothing new is trained, and nothing told
    assert len(list((config.experiment / "trackers/tensorboard").iterdir())) == 1


@needs("mlflow")
@pytest.mark.filterwarnings("ignore")  # those of its own parts
def test_mlflow_has_the_curves(make: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    config = make("mlflow")
    (run,) = sedimental.train(config)
    client = MlflowClient(tracking_uri=f"sqlite:///{config.experiment / 'trackers/mlflow.db'}")
    experiment = client.get_experiment_by_name(config.experiment.name)
    assert experiment is not None
    (kept,) = client.search_runs([experiment.experiment_id])
    assert kept.info.status == "FINISHED"
    assert kept.data.params["model"] == "lf_dnn"
    assert kept.data.metrics["test/MAE"] == pytest.approx(run.metrics["test"]["MAE"])
    losses = client.get_metric_history(kept.info.run_id, "loss/valid")
    assert [m.step for m in losses] == [1, 2, 3]


@needs("wandb")
def test_wandb_keeps_the_curves_here_when_it_is_told_to(
    make: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    config = make("wandb")
    (run,) = sedimental.train(config)
    (folder,) = (config.experiment / "trackers/wandb").glob("offline-run-*")
    (file,) = folder.glob("*.wandb")
    kept = file.read_bytes()
    assert kept.count(b"loss/valid") >= len(run.history) == 3
    assert b"test/MAE" in kept


class Broken:
    """A tracker that takes one epoch."""

    def __init__(self, folder: Path, title: str, settings: Mapping[str, Any]) -> None:
        self.told = 0

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.told += 1
        if self.told > 1:
            raise ConnectionError("the server went away")

    def close(self, summary: Mapping[str, float]) -> None:
        raise AssertionError("it gave up before")


def test_a_tracker_that_fails_costs_no_run(
    make: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sedimental.train.checks.find_spec", lambda name: name)
    monkeypatch.setattr(trackers, "TRACKERS", {"tensorboard": Broken})
    notes = Notes()
    config = make("tensorboard", "broken")
    (run,) = sedimental.train(config, notes)
    assert len(run.history) == 3
    said = [note for note in notes.notes if "tracker" in note]
    assert said == ["warning: the tracker gave up: ConnectionError: the server went away"]


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="it is installed")
def test_one_that_is_not_installed_is_said_before_anything_trains(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.toml"
    path.write_text('[train]\ntracker = "wandb"\n')
    with pytest.raises(ConfigError, match=r"wandb is not installed\. `pip install wandb`"):
        sedimental.load_config(path)
