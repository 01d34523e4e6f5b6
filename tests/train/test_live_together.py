"""A run with live encoders, killed within an epoch or shared by processes, ends as any other."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

import sedimental
from sedimental.cache.runs import list_runs, read_run
from sedimental.config import Config

MakeConfig = Callable[..., Config]

REMEMBERING = """
models = ["sugrm"]
also = ["MAE"]
checkpoint_minutes = 1e-9
accumulate = 1
learning_rate = 2e-3
mask_time = 0.3
"""
SUGRM = "[train.sugrm]\nwidth = 8\nheads = 2\nrounds = 1\nproject = 6\n"
"""A model that remembers clips; with the dropout of its encoder, and 3 batches an epoch."""

CHILD = """
import sys, time
from pathlib import Path
import sedimental
from sedimental.train.fit import checkpoint

checkpoint.EVERY = checkpoint.PATIENCE = 0.0
save, steps = checkpoint.Checkpoint.at_step, []

def at_step(self, flight, within):
    save(self, flight, within)
    steps.append(1)
    if len(steps) == int(sys.argv[2]):
        print("step", flush=True)
        time.sleep(600)  # until it is killed

checkpoint.Checkpoint.at_step = at_step
sedimental.train(sedimental.load_config(Path(sys.argv[1])))
"""

EXACT = """
models = ["uegd", "sugrm", "mag_bert"]
accumulate = 1
learning_rate = 2e-3
mask_time = 0.3
clip_norm = 1.0
"""
NO_DROPOUT = SUGRM + "".join(
    f"{where}_dropout = 0.0\n" for where in ("output", "embed", "relu", "residual")
)
NO_DROPOUT += "[train.mag_bert]\ngate_dropout = 0.0\ndropout = 0.0\n"


def file_of(config: Config) -> Path:
    """Where the fixture has written the pipeline."""
    assert config.corpus.path is not None
    return Path(config.corpus.path).parent / f"{config.runs.name}.toml"


def test_kill_nine_within_an_epoch_changes_no_number(made: MakeConfig) -> None:
    keys = {"audio": "", "live": "T", "text_line": "layers = -1, learning_rate = 1e-3"}
    config = made(train=REMEMBERING, tables=SUGRM, **keys)
    command = [sys.executable, "-P", "-c", CHILD, str(file_of(config)), "5"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == "step\n"
        child.kill()
        assert child.wait() == -signal.SIGKILL
    (file,) = config.experiment.rglob(".resume-*.safetensors")
    with safe_open(file, framework="np") as opened:
        head = json.loads(opened.metadata()["sedimental"])
    assert (len(head["history"]), head["within"]["batches"]) == (1, 2)
    (resumed,) = sedimental.train(config)
    (whole,) = sedimental.train(made(train=REMEMBERING, tables=SUGRM, name="whole", **keys))
    assert np.ptp(whole.predictions.values) > 1e-3
    np.testing.assert_array_equal(resumed.predictions.values, whole.predictions.values)
    for mine, theirs in zip(resumed.history, whole.history, strict=True):
        assert replace(mine, seconds=0) == replace(theirs, seconds=0)
    assert resumed.rivals["MAE"] == whole.rivals["MAE"]
    assert not list(config.experiment.rglob(".resume-*"))


def test_two_processes_have_the_loss_curve_of_one(made: MakeConfig) -> None:
    still = "learning_rate = 1e-3, dropout = 0.0"
    keys = {"text_line": f"layers = -1, {still}", "audio_line": f'layers = "weighted", {still}'}
    config = made(train=EXACT, tables=NO_DROPOUT, **keys)
    launcher = [sys.executable, "-P", "-m", "torch.distributed.run", "--standalone"]
    own = ["-m", "sedimental", "train", "-c", str(file_of(config))]
    done = subprocess.run(
        [*launcher, "--nproc-per-node", "2", *own], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    shared = {run.model: run for run in map(read_run, list_runs(config.experiment))}
    alone = sedimental.train(made(train=EXACT, tables=NO_DROPOUT, name="alone", **keys))
    assert {run.model for run in alone} == shared.keys()
    for one in alone:
        both = shared[one.model]
        assert both.finetuned
        assert both.environment["processes"] == "2"
        assert both.key == one.key
        for mine, theirs in zip(both.history, one.history, strict=True):
            assert mine.train_loss == pytest.approx(theirs.train_loss, rel=1e-5)
            assert mine.valid_loss == pytest.approx(theirs.valid_loss, rel=1e-5)
        assert np.ptp(one.predictions.values) > 1e-3
        np.testing.assert_allclose(both.predictions.values, one.predictions.values, atol=1e-5)
