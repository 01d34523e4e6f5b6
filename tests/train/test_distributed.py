"""Two processes that share every batch train as one does that has it whole."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from typer.testing import CliRunner

from sedimental.cache.runs import list_runs, read_run
from sedimental.cache.runs.representations import read_representations
from sedimental.cli import app
from sedimental.config import Config, load_config
from sedimental.errors import RunError
from sedimental.train.data.spec_augment import hide
from sedimental.train.device import find_device
from sedimental.train.distributed.launcher import Launch, launched
from sedimental.train.distributed.ranks import Ranks
from sedimental.train.models.shared.interface import Batch
from sedimental.train.run import train

MakeFeatures = Callable[..., Path]

PARITY = """
[train]
models = [
    "uegd", "emt_dlfr", "glomo", "sugrm", "mmml",
    "ef_lstm", "lf_dnn", "tfn", "lmf", "mult", "misa", "self_mm", "mmim", "tfr_net",
    "mlf_dnn", "mfm",
]
seeds = [3]
stack = "off"
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
[train.ef_lstm]
steps = 6
hidden = 8
dropout = 0.0
[train.lf_dnn]
hidden = 8
dropout = 0.0
[train.tfn]
text_width = 8
audio_width = 4
vision_width = 4
hidden = 8
dropout = 0.0
[train.lmf]
fused = 8
dropout = 0.0
[train.mult]
width = 8
heads = 2
layers = 1
memory_layers = 1
text_dropout = 0.0
dropout = 0.0
output_dropout = 0.0
[train.tfr_net]
width = 8
heads = 2
levels = 1
missing_rate = 0.3
attention_dropout = 0.0
embedding_dropout = 0.0
dropout = 0.0
[train.misa]
width = 8
recurrent = 4
feedforward = 8
dropout = 0.0
[train.self_mm]
fusion_width = 8
audio_hidden = 4
vision_hidden = 4
dropout = 0.0
[train.mmim]
width = 8
audio_hidden = 4
vision_hidden = 4
memory = 3
dropout = 0.0
[train.mlf_dnn]
hidden = 8
dropout = 0.0
[train.mfm]
text_hidden = 4
audio_hidden = 4
vision_hidden = 4
memory = 4
inner = 8
latent = 4
factor = 4
decoder = 4
dropout = 0.0
"""
"""31 training clips, so that of the last batch's one clip the first process has none. Not stacked:
a worker process would not know that gates are to be noiseless."""

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
    assert {run.model for run in alone} == set(config.train.models)
    for one in alone:
        ((folder, shared),) = [
            (f, r) for f in list_runs(config.experiment) if (r := read_run(f)).model == one.model
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
        kept = read_representations(folder)
        assert kept is not None
        assert one.representations is not None
        assert kept.vectors.keys() == one.representations.vectors.keys()
        for name, vectors in one.representations.vectors.items():
            np.testing.assert_allclose(kept.vectors[name], vectors, atol=5e-3, err_msg=name)


INTERRUPTED = """
[train]
models = ["sugrm"]
seeds = [5]
epochs = 4
patience = 0
checkpoint_minutes = 1e-9
batch_size = 3
accumulate = 2
learning_rate = 1e-2
mask_time = 0.3
[train.sugrm]
width = 8
heads = 2
rounds = 1
"""

SLOW = """
import os, sys, time
from sedimental.cli import app
from sedimental.train.fit import checkpoint

checkpoint.EVERY = checkpoint.PATIENCE = 0.0
ready, at_step = open(sys.argv[1], "a"), checkpoint.Checkpoint.at_step

def slowly(self, flight, within):
    at_step(self, flight, within)
    print(os.getpid(), file=ready, flush=True)
    time.sleep(0.05)

checkpoint.Checkpoint.at_step = slowly
app(["train", "-c", sys.argv[2]])
"""

TWICE = """
import sys
from pathlib import Path
from sedimental.config import load_config
from sedimental.train.run import train

for pipeline in sys.argv[1:]:
    train(load_config(Path(pipeline)))
"""


def started(script: Path, pipeline: Path, steps: int) -> tuple[subprocess.Popen[str], set[int]]:
    """torchrun, and the ids of its two processes, when they have made so many steps together."""
    ready = script.with_name(f"ready-{steps}")
    child = subprocess.Popen(
        torchrun(str(script), str(ready), str(pipeline)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 120
    while not ready.exists() or ready.read_text().count("\n") < 2 * steps:
        assert child.poll() is None, child.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.02)
    return child, set(map(int, ready.read_text().split()))


def head_of(config: Config) -> Mapping[str, object]:
    (file,) = config.experiment.rglob(".resume-*.safetensors")
    with safe_open(file, framework="np") as opened:
        found: dict[str, object] = json.loads(opened.metadata()["sedimental"])
    return found


def test_interrupted_together_they_end_as_if_they_had_not_been(
    make_features: MakeFeatures, tmp_path: Path
) -> None:
    pipeline, slow = make_features(INTERRUPTED, clips=62), tmp_path / "slow.py"
    slow.write_text(SLOW, encoding="utf-8")
    config = load_config(pipeline)
    child, _ = started(slow, pipeline, 3)
    child.terminate()  # torchrun passes it on
    printed, told = child.communicate(timeout=60)
    assert child.returncode != 0
    assert "runs:" not in printed
    assert told.count("sugrm TAV seed 5: stopped by SIGTERM after epoch") == 1
    assert "within" in head_of(config)
    child, ours = started(slow, pipeline, 4)
    for process in (child.pid, *ours):
        os.kill(process, signal.SIGKILL)
    child.communicate()
    assert len(ours) == 2
    before = head_of(config)
    assert before["history"] or before["within"]
    apart, twice = make_features(INTERRUPTED, clips=62, name="apart"), tmp_path / "twice.py"
    twice.write_text(TWICE, encoding="utf-8")
    subprocess.run(torchrun(str(twice), str(pipeline), str(apart)), check=True)
    one, other = (read_run(next(list_runs(load_config(p).experiment))) for p in (pipeline, apart))
    np.testing.assert_array_equal(one.predictions.values, other.predictions.values)
    for mine, theirs in zip(one.history, other.history, strict=True):
        assert replace(mine, seconds=0) == replace(theirs, seconds=0)


FAULTY = """
import os, sys
from sedimental.errors import RunError
from sedimental.cli import app
from sedimental.train.fit import loop

def faulty(*given):
    if os.environ["RANK"] == "1":
        raise RunError("the feature store of this machine is damaged")
    return validate(*given)

validate, loop.validate = loop.validate, faulty
app(["train", "-c", sys.argv[1]])
"""


def test_one_that_fails_ends_all_with_its_error(
    make_features: MakeFeatures, tmp_path: Path
) -> None:
    pipeline, script = make_features(INTERRUPTED), tmp_path / "faulty.py"
    script.write_text(FAULTY, encoding="utf-8")
    began = time.monotonic()
    done = subprocess.run(
        torchrun(str(script), str(pipeline)), capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert done.stderr.count("error: sugrm TAV seed 5: the feature store of this machine") == 1
    assert "Connection" not in done.stderr  # what the other one noticed of it
    assert time.monotonic() - began < 60


def test_a_batch_is_cut_into_neighbouring_shares() -> None:
    rows = torch.arange(40, 47)
    shares = [Ranks(rank, 3).share(rows) for rank in range(3)]
    assert torch.equal(torch.cat([share.rows for share in shares]), rows)
    assert [(share.first, share.own, share.whole) for share in shares] == [
        (0, 2, 7),
        (2, 2, 7),
        (4, 3, 7),
    ]
    few = [Ranks(rank, 3).share(rows[:1]) for rank in range(3)]
    assert [(share.own, share.rows.tolist()) for share in few] == [(0, [40]), (0, [40]), (1, [40])]


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_gathered_rows_are_those_of_all_clips(rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process puts its own in their place, and takes back what is said of them."""
    rows, sent = torch.arange(10.0, 24).view(7, 2), list[torch.Tensor]()
    ranks, share = Ranks(rank, 3), Ranks(rank, 3).share(torch.arange(7))
    monkeypatch.setattr("torch.distributed.all_reduce", lambda x: sent.append(x.clone()))
    own = rows[share.rows].requires_grad_()
    assert ranks.gather(own) is own
    with ranks.at(share):
        placed = ranks.gather(own)
    here = torch.zeros(7, dtype=torch.bool)
    here[share.first : share.first + share.own] = True
    assert torch.equal(placed, torch.where(here.unsqueeze(1), rows, 0))
    placed.backward(rows)
    assert torch.equal(own.grad, own)  # type: ignore[arg-type]
    assert len(sent) == 2


def test_who_has_nothing_to_learn_from_does_not_keep_others_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent = list[torch.Tensor]()
    monkeypatch.setattr("torch.distributed.all_reduce", lambda x: sent.append(x.clone()))
    ranks = Ranks(0, 2)
    for clips in (4, 1):  # some of the batch, and none of it
        sent.clear()
        share = ranks.share(torch.arange(clips))
        with ranks.at(share):
            ranks.gather(torch.ones(len(share.rows), 3)).sum().backward()
        assert len(sent) == 2  # on the way there and back
        assert sent[0].sum() == 3 * share.own


def test_hidden_spans_do_not_depend_on_the_processes() -> None:
    values = torch.randn(7, 5, 6, generator=torch.Generator().manual_seed(1))
    whole = Batch({"text": values}, {"text": values[..., 0] < 9}, values[:, 0, 0], torch.arange(7))

    def hidden(batch: Batch, part: tuple[int, int] | None) -> torch.Tensor:
        return hide(batch, 0.6, 0.6, torch.Generator().manual_seed(2), part).features["text"]

    parts = []
    for rank in range(3):
        share = Ranks(rank, 3).share(whole.index)
        own = Batch(
            {"text": values[share.rows]},
            {"text": whole.masks["text"][share.rows]},
            whole.labels[share.rows],
            share.rows,
        )
        parts.append(hidden(own, (share.first, share.whole)))
    assert torch.equal(torch.cat(parts), hidden(whole, None))


LAUNCH = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}


def test_what_a_launcher_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*LAUNCH, "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    assert launched() is None
    for name, value in LAUNCH.items():
        monkeypatch.setenv(name, value)
    assert launched() is None  # nobody said where the others are
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    assert launched() == Launch(rank=3, world=4, local_rank=1, local_world=2)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert find_device("cuda") == torch.device("cuda", 1)
    with pytest.raises(RunError, match="is one GPU, and 4 processes are to share it"):
        find_device("cuda:0")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(RunError, match="as many processes as there are GPUs"):
        find_device("cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert find_device("cuda") == torch.device("cuda", 0)  # each process is shown its own
    assert find_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("command", ["run", "extract", "sweep", "robustness"])
def test_what_works_alone_says_so(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**LAUNCH, "RANK": "0", "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, value)
    told = CliRunner().invoke(app, [command])
    assert told.exit_code == 2
    assert f"start `{command}` without torchrun" in " ".join(told.output.split())
    monkeypatch.setenv("RANK", "1")
    assert CliRunner().invoke(app, [command]).exit_code == 0
