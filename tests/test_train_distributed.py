"""Two processes that share every batch train as one does that has it whole."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from sedimental.cache.runs import Run, list_runs, read_run
from sedimental.config import Config, load_config
from sedimental.train.distributed import Ranks
from sedimental.train.run import train

MakeFeatures = Callable[..., Path]

PARITY = """
[train]
models = ["uegd", "emt_dlfr", "glomo", "sugrm", "mmml"]
seeds = [3]
epochs = 3
patience = 0
batch_size = 5
accumulate = 2
learning_rate = 2e-3
warmup = 0.2
schedule = "cosine"
mask_time = 0.3
mask_width = 0.3
clip_norm = 1.0
[train.uegd]
hidden = 8
embedding = 4
heads = 2
dropout = 0.0
[train.emt_dlfr]
width = 8
heads = 2
depth = 1
missing_rate = 0.3
head_dropout = 0.0
embedding_dropout = 0.0
encoder_dropout = 0.0
attention_dropout = 0.0
feedforward_dropout = 0.0
[train.glomo]
width = 8
heads = 2
encoder_layers = 1
fusion_layers = 1
fusion_feedforward = 16
balance = 0.5
dropout = 0.0
attention_dropout = 0.0
embedding_dropout = 0.0
fusion_dropout = 0.0
[train.sugrm]
width = 8
heads = 2
rounds = 1
output_dropout = 0.0
embed_dropout = 0.0
relu_dropout = 0.0
residual_dropout = 0.0
[train.mmml]
modalities = ["TA"]
width = 8
heads = 2
layers = 1
head = 8
dropout = 0.0
"""
"""31 training clips, so that of the last batch's one clip the first process has none."""

NOISELESS = """
import sys, torch
torch.randn_like = torch.zeros_like  # GLoMo's gates are noisy, and processes draw differently
from sedimental.cli import app
app(["train", "-c", sys.argv[1]])
"""


def torchrun(*command: str, processes: int = 2) -> list[str]:
    """The command line of so many processes, on a port that is free."""
    launcher = [sys.executable, "-P", "-m", "torch.distributed.run", "--standalone"]
    return [*launcher, "--nproc-per-node", str(processes), *command]


def runs_at(config: Config, root: str) -> Config:
    runs = config.runs.model_copy(update={"root": config.runs.root.with_name(root)})
    return config.model_copy(update={"runs": runs})


def test_two_processes_have_the_loss_curve_of_one(
    make_features: MakeFeatures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = make_features(PARITY, clips=62)
    config, script = load_config(pipeline), tmp_path / "noiseless.py"
    script.write_text(NOISELESS, encoding="utf-8")
    done = subprocess.run(
        torchrun(str(script), str(pipeline)), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("runs:") == 1  # one of them speaks
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    alone = train(runs_at(config, "alone"))
    assert {run.model for run in alone} == {"uegd", "emt_dlfr", "glomo", "sugrm", "mmml"}
    for one in alone:
        (shared,) = [
            r for f in list_runs(config.experiment) if (r := read_run(f)).model == one.model
        ]
        assert shared.environment["processes"] == "2"
        assert shared.key == one.key
        for mine, theirs in zip(shared.history, one.history, strict=True):
            print(
                one.model, mine.train_loss - theirs.train_loss, mine.valid_loss - theirs.valid_loss
            )
            assert mine.train_loss == pytest.approx(theirs.train_loss, rel=1e-5), one.model
            assert mine.valid_loss == pytest.approx(theirs.valid_loss, rel=1e-5), one.model
        np.testing.assert_allclose(
            shared.predictions.values, one.predictions.values, atol=1e-3, err_msg=one.model
        )
        assert shared.outputs.keys() == one.outputs.keys()
        for name, values in one.outputs.items():
            np.testing.assert_allclose(shared.outputs[name], values, atol=1e-3, err_msg=name)
