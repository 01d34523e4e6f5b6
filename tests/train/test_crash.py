"""Killed or asked to end in the middle of an epoch, a run goes on to the very same end."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from sedimental.cache.runs import Run
from sedimental.config import Config, load_config
from sedimental.progress import Silent
from sedimental.train.distributed.sigterm import EXIT_CODE, Notice, Preempted, catch_sigterm
from sedimental.train.run import train

MakeFeatures = Callable[..., Path]

SLOW = """
[train]
models = ["sugrm"]
seeds = [5]
epochs = 6
patience = 0
checkpoint_minutes = 1e-9
batch_size = 2
accumulate = 2
learning_rate = 1e-2
mask_time = 0.3
warmup = 0.1
schedule = "cosine"
[train.sugrm]
width = 8
heads = 2
rounds = 1
project = 6
"""
"""A model with dropout that remembers clips; 15 batches an epoch, the last step of one batch."""

CHILD = """
import sys
from pathlib import Path
from sedimental.config import load_config
from sedimental.train.fit import checkpoint
from sedimental.train.run import train

checkpoint.EVERY = checkpoint.PATIENCE = 0.0
save = checkpoint.Checkpoint.at_step

def at_step(self, flight, within):
    save(self, flight, within)
    print("step", flush=True)

checkpoint.Checkpoint.at_step = at_step
train(load_config(Path(sys.argv[1])))
"""


def config_of(pipeline: Path, runs: str, **train_keys: object) -> Config:
    config = load_config(pipeline)
    return config.model_copy(
        update={
            "runs": config.runs.model_copy(update={"root": pipeline.parent / runs}),
            "train": config.train.model_copy(update=train_keys),
        }
    )


def kept(config: Config) -> list[Path]:
    return sorted(config.experiment.rglob(".resume-*.safetensors"))


def head_of(file: Path) -> dict[str, object]:
    with safe_open(file, framework="np") as opened:
        found: dict[str, object] = json.loads(opened.metadata()["sedimental"])
    return found


def assert_same(one: Run, other: Run) -> None:
    np.testing.assert_array_equal(one.predictions.values, other.predictions.values)
    assert one.best_epoch == other.best_epoch
    for mine, theirs in zip(one.history, other.history, strict=True):
        assert replace(mine, seconds=0) == replace(theirs, seconds=0)
    assert one.outputs.keys() == other.outputs.keys()
    for name, values in one.outputs.items():
        np.testing.assert_array_equal(values, other.outputs[name])


def test_kill_nine_within_an_epoch_changes_no_number(make_features: MakeFeatures) -> None:
    pipeline = make_features(SLOW)
    config, within = load_config(pipeline), 0
    for steps in (3, 11, 9, 14):
        command = [sys.executable, "-P", "-c", CHILD, str(pipeline)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        with child.stdout:
            for _ in range(steps):
                assert child.stdout.readline() == "step\n"
            child.kill()
            assert child.wait() == -signal.SIGKILL
        (file,) = kept(config)
        within += "within" in head_of(file)
    assert within >= 2  # the others may have died at the end of an epoch
    (resumed,) = train(config)
    (whole,) = train(config_of(pipeline, "whole"))
    assert len(whole.history) == 6
    assert_same(resumed, whole)
    left = [p for p in config.experiment.rglob("*") if p.name.startswith((".resume", ".tmp"))]
    assert not left


def test_sigterm_keeps_all_and_ends_with_its_own_code(make_features: MakeFeatures) -> None:
    pipeline = make_features(SLOW.replace("epochs = 6", "epochs = 2000"))
    config = load_config(pipeline)
    command = [sys.executable, "-P", "-m", "sedimental", "train", "-c", str(pipeline)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not kept(config):
        assert child.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    child.send_signal(signal.SIGTERM)
    printed, told = child.communicate(timeout=60)
    assert child.returncode == EXIT_CODE == 143
    assert not printed
    assert "sugrm TAV seed 5: stopped by SIGTERM after epoch" in told
    assert "all is kept. The same command goes on from there." in told
    head = head_of(*kept(config))
    assert head["history"] or head["within"]


class At(Silent):
    """A listener that does something when so many epochs are done."""

    def __init__(self, epochs: int, act: Callable[[], object]) -> None:
        self.left, self.act, self.notes = epochs, act, list[str]()

    def advance(self, task: str, by: int = 1) -> None:
        self.left -= by
        if self.left == 0:
            self.act()


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_reaches_the_processes_of_the_pool(make_features: MakeFeatures) -> None:
    pipeline = make_features(SLOW)
    keys = {"seeds": (1, 2, 3), "epochs": 400}
    config = config_of(pipeline, "apart", stack="on", **keys)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sedimental.train.processes.pool.cores", lambda: 2)
        with pytest.raises(Preempted, match="all is kept"):
            train(config, At(3, terminate))
    assert 1 <= len(kept(config)) <= 2
    assert all(head_of(file)["history"] for file in kept(config))


def test_sigterm_between_two_runs_and_in_a_stack(make_features: MakeFeatures) -> None:
    pipeline = make_features(SLOW)
    keys = {"models": ("uegd",), "seeds": (1, 2), "uegd": {"hidden": 8, "embedding": 4}}
    apart = config_of(pipeline, "apart", stack="off", **keys)
    with pytest.raises(Preempted, match="before uegd TAV seed 2; finished runs are kept"):
        train(apart, At(6, terminate))
    assert [run.parent.name for run in apart.experiment.rglob("run.json")] == ["seed-1"]
    stacked = config_of(pipeline, "stacked", stack="on", **keys)
    with pytest.raises(Preempted, match="begin anew; finished runs are kept"):
        train(stacked, At(3, terminate))
    assert not kept(stacked)


def test_the_notice_is_put_away_and_comes_in_the_main_thread_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with catch_sigterm() as notice:
        terminate()
        terminate()
        assert notice.came
    assert signal.getsignal(signal.SIGTERM) == before
    found: list[Notice] = []

    def elsewhere() -> None:
        with catch_sigterm() as own:
            found.append(own)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert not found[0].came
