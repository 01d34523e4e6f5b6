"""Features that hardly vary, as three of MiniLM's: neither cached nor live do they explode."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from notes import Notes
from safetensors.torch import load_file, save_file
from simulated_runs import simulate

from sedimental.cache.runs import Epoch, Run, list_runs, read_run
from sedimental.cache.runs.run_warnings import run_warnings
from sedimental.config import Config
from sedimental.extract.finetune.find import live_input
from sedimental.progress import Silent
from sedimental.train.data.standardize import measure
from sedimental.train.live_model import LiveModel
from sedimental.train.run import train
from sedimental.train.session import TrainSession, built
from sedimental.train.sweep.linear_probe import Scale

MakeConfig = Callable[..., Config]
DEAD = (4e-32, 7e-9, 0.0)
"""Deviations of dead dimensions; as cached in fp16 they are exact zeros."""


def test_a_feature_that_was_dead_in_training_stays_small_when_it_wakes() -> None:
    """Cached layers, and the probe: the third kind has a mean as small as its deviation."""
    random = np.random.default_rng(0)
    values = random.normal(0, 1, (1, 400, 8)).astype(np.float32)
    for k, deviation in enumerate(DEAD):
        values[0, :, k] *= deviation
    scaling = measure(torch.from_numpy(values), torch.arange(400))
    woken = torch.from_numpy(values.copy())
    woken[0, 0, :3] = 0.5
    assert scaling.apply_(woken.clone())[0, 0].abs().max() < 5
    probe = Scale.of(values[0])
    assert np.abs(probe(woken[0].numpy())).max() < 5
    usual = scaling.deviation[0, 3:].median()
    assert torch.allclose(scaling.deviation[0, :3], usual.expand(3), rtol=0.1)


def test_features_of_other_units_are_no_dead_ones() -> None:
    """Hand-made features: a pitch in hertz beside ratios a thousand times smaller."""
    values = np.random.default_rng(0).normal(0, [100, 0.3, 0.1, 0.05, 0.01], (1, 300, 5))
    scaling = measure(torch.from_numpy(values.astype(np.float32)), torch.arange(300))
    np.testing.assert_allclose(scaling.deviation, values.std(axis=1), rtol=1e-5)


@pytest.fixture
def dying(made: MakeConfig, folders: dict[str, Path], tmp_path: Path) -> Config:
    """A live encoder whose last norm kills three dimensions, each by another tiny weight."""
    folder = tmp_path / "bert-dead"
    shutil.copytree(folders["bert"], folder)
    weights = load_file(folder / "model.safetensors")
    [norm] = {k.rsplit(".", 1)[0] for k in weights if "layer.2.output.LayerNorm" in k}
    weights[f"{norm}.weight"][:3] = torch.tensor(DEAD)
    weights[f"{norm}.bias"][:3] = 0
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    folders["bert-dead"] = folder
    return made(
        "bert-dead",
        audio="",
        live="T",
        train='models = ["uegd"]\n',
        text_line="layers = -1, learning_rate = 1e-2, weight_decay = 0.0",
    )


def test_a_dead_dimension_of_a_live_encoder_may_wake(dying: Config) -> None:
    """Ten steps of the encoder move no state of its frames a thousandfold."""
    shop = TrainSession(dying, Silent(), live_input)
    [plan] = shop.plans
    data = shop.open([plan]).select(plan.modalities)
    model: Any = built(plan, data)
    assert isinstance(model, LiveModel)
    batch = data.batch(data.rows["train"])
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(10):
        optimizer.zero_grad()
        (model(batch).prediction - batch.labels).abs().mean().backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        states = model.read(batch).features["text"]
    assert states.abs().max() < 10
    [run] = train(dying, live=live_input)
    assert not any("left the range" in text for text in run_warnings(run))


def test_training_that_ends_worse_than_the_mean_says_so(made: MakeConfig) -> None:
    progress = Notes()
    config = made(live="", audio="", train='models = ["uegd"]\nlearning_rate = 30.0\n')
    [run] = train(config, progress)
    assert isinstance(run, Run)
    assert any("worse than the mean predictor: MAE" in text for text in run_warnings(run))
    assert any(
        text.startswith("warning: uegd T seed 1: training ended worse") for text in progress.notes
    )


def test_a_loss_that_gains_terms_has_not_left_its_range(tmp_path: Path) -> None:
    """Generated labels add to the training loss as they move; the task's own is validation's."""
    simulate(tmp_path, ("T",), seeds=(1,))
    [folder] = list_runs(tmp_path)
    run = read_run(folder)

    def told(train: list[float], valid: list[float]) -> bool:
        history = tuple(
            Epoch(k, a, b, 1e-3, 0.1, {}) for k, (a, b) in enumerate(zip(train, valid, strict=True))
        )
        return any("left the range" in text for text in run_warnings(replace(run, history=history)))

    assert not told([1.2, 1.1, 2.6, 2.9], [1.2, 1.1, 1.1, 1.0])
    assert told([1.2, 1.1, 2.6, 2.9], [1.2, 1.1, 2.7, 3.0])
