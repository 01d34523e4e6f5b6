"""Processes of a pool: what becomes of the rest when one is killed, and what they need."""

import multiprocessing
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sedimental.cache.runs import list_runs, read_run
from sedimental.config import Config, load_config
from sedimental.progress import Progress, Silent
from sedimental.train.processes.jobs import Job, Share
from sedimental.train.processes.pool import Pool
from sedimental.train.processes.worker import Take, make_jobs

MakeFeatures = Callable[..., Path]

SMALL = """
[train]
models = ["sugrm"]
seeds = [1, 2]
epochs = 2
patience = 0
stack = "on"
batch_size = 8
[train.sugrm]
width = 8
heads = 2
rounds = 1
project = 6
"""

UNGUARDED = """
import sys
from pathlib import Path
from sedimental.config import load_config
from sedimental.train.processes import pool
from sedimental.train.run import train

print("begun")
pool.cores = lambda: 2
train(load_config(Path(sys.argv[1])))
"""


def lasting(config: Config, epochs: int) -> Config:
    return config.model_copy(update={"train": config.train.model_copy(update={"epochs": epochs})})


def test_a_killed_process_is_named_and_all_other_runs_are_made(make_features: MakeFeatures) -> None:
    config, begun = load_config(make_features(SMALL)), threading.Event()
    title = "sugrm TAV seed {}".format
    endless = Job((Share(lasting(config, 10**6), (title(1),)),))
    short = Job((Share(config, (title(1), title(2))),))

    class Kills(Silent):
        notes: list[str] = []  # noqa: RUF012

        def advance(self, task: str, by: int = 1) -> None:
            if not begun.is_set():  # the first epoch of the child: there are none here yet
                [child] = multiprocessing.active_children()
                child.kill()
                begun.set()

        def note(self, message: str) -> None:
            self.notes.append(message)

    def make_here(take: Take, progress: Progress) -> None:
        assert begun.wait(60)
        make_jobs(take, progress)

    with Pool("training", Kills(), threads=1) as pool:
        [failure] = pool.run([endless, short], 2, make_here)
        assert failure.startswith(f"{title(1)}: the training process")
        assert "SIGKILL" in failure
        assert f"failed: {failure}" in Kills.notes
        made = [read_run(folder) for folder in list_runs(config.experiment)]
        assert sorted(run.seed for run in made) == [1, 2]
        assert pool.run([short], 2, lambda take, progress: None) == []  # by a process of its own


@pytest.mark.parametrize("flags", [[], ["-P"]])
def test_a_program_without_a_guard_runs_once(
    make_features: MakeFeatures, tmp_path: Path, flags: list[str]
) -> None:
    """As one that calls `sedimental.train` in its last line; a file beside it shadows nothing."""
    pipeline, script = make_features(SMALL), tmp_path / "program.py"
    script.write_text(UNGUARDED)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/socket.py").write_text("raise SystemExit('not the library')")
    ended = subprocess.run(
        [sys.executable, *flags, str(script), str(pipeline)],
        cwd=tmp_path / "elsewhere",
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "begun\n"
    assert len(list(list_runs(load_config(pipeline).experiment))) == 2
