"""Runs the reference toolkit on a file, in an environment of its own that has it installed.

    python run_reference.py FILE.pkl WEIGHTS.safetensors --model lmf [--batch 32]

answers in lines of JSON: first ``{"count": …}``, the number of weights, once WEIGHTS holds first
weights, full-length inputs and the scores of them. Then a line with a seed begins a run, each line
``epoch`` is answered by ``{"mae": …, "cpu": …, "wall": …}``, validation MAE and the seconds that
training and validation took, and any other line ends the run. `compare.py` runs ours in the pauses.

Its faults on a CPU of today are shimmed here: BERT is a table of the words' vectors, as no weights
are at hand (`generated_file.vectors`); schedulers take no `verbose` any more; it has no end of
epochs, so a run is stopped from without.
"""

# mypy: disable-error-code="assignment, method-assign, import-not-found"
# (the toolkit is not in this environment, and its faults are mended from without)

import argparse
import contextlib
import json
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
import generated_file

Answer = Callable[[dict[str, Any]], None]
ALIGNED = ("ef_lstm",)
MEANS = ("lf_dnn", "tfn", "lmf")


class Words(nn.Module):
    """What stands for BERT: the vector of each word."""

    table: Tensor

    def __init__(self) -> None:
        """The table is a buffer: nothing of it learns."""
        super().__init__()
        self.register_buffer("table", torch.tensor(generated_file.vectors()))
        self.config = types.SimpleNamespace(hidden_size=768)

    def forward(self, input_ids: Tensor, **_: Any) -> tuple[Tensor, Tensor]:
        """(clips, tokens) -> states, and the first of them."""
        states = self.table[input_ids.long()]
        return states, states[:, 0]


class Stop(Exception):
    """The epochs that were asked for are over."""


def shim() -> None:
    """Before the toolkit is imported."""
    transformers.BertModel.from_pretrained = classmethod(lambda *_, **__: Words())
    transformers.BertTokenizer.from_pretrained = classmethod(lambda *_, **__: object())
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau
    begin = plateau.__init__

    def without_verbose(self: Any, *given: Any, **more: Any) -> None:
        more.pop("verbose", None)
        begin(self, *given, **more)

    plateau.__init__ = without_verbose


def arguments(name: str, file: Path, seed: int, batch: int | None) -> Any:
    """The toolkit's settings of CMU-MOSI for a model, on the CPU."""
    from MMSA.config import get_config_regression

    found = get_config_regression(name, "mosi")
    found.update(
        device=torch.device("cpu"),
        gpu_ids=[],
        train_mode="regression",
        custom_feature=None,
        feature_T="",
        feature_A="",
        feature_V="",
        featurePath=str(file),
        model_save_path=file.parent / f"{name}-{seed}.pth",
        cur_seed=1,
        early_stop=10**6,
    )
    if batch:
        found["batch_size"] = batch
    return found


def run(name: str, file: Path, seed: int, batch: int | None, answer: Answer) -> None:
    """One seed, epoch after epoch."""
    from MMSA.data_loader import MMDataLoader
    from MMSA.models import AMIO
    from MMSA.trains import ATIO
    from MMSA.utils import setup_seed

    settings = arguments(name, file, seed, batch)
    setup_seed(seed)
    loaders = MMDataLoader(settings, 0)
    settings["train_samples"] = len(loaders["train"].dataset)
    model, trainer = AMIO(settings), ATIO().getTrain(settings)
    test, began = trainer.do_test, clocks()

    def watched(*given: Any, **more: Any) -> Any:
        nonlocal began
        asked = clocks()
        found = test(*given, **more)
        if (more.get("mode") or (given[2] if len(given) > 2 else "VAL")) != "VAL":
            began = began + clocks() - asked  # the test split is no part of ours
            return found
        cpu, wall = (clocks() - began).tolist()
        answer({"mae": float(found["MAE"]), "cpu": cpu, "wall": wall})
        began = next_epoch()
        return found

    trainer.do_test = watched
    with contextlib.suppress(Stop):
        began = next_epoch()
        trainer.do_train(model, loaders)
    settings["model_save_path"].unlink(missing_ok=True)


def clocks() -> Any:
    """Seconds of this process on the CPU, and by the clock."""
    return np.array([time.process_time(), time.perf_counter()])


def next_epoch() -> Any:
    """Waits until one is asked for; `clocks` then. Raises Stop when something else is."""
    if sys.stdin.readline().strip() != "epoch":
        raise Stop
    return clocks()


def dump(name: str, target: Path) -> int:
    """First weights, inputs without padding and their scores; the number of weights."""
    from MMSA.models import AMIO

    frames = dict.fromkeys(generated_file.FRAMES, 50) if name in ALIGNED else None
    whole = generated_file.split(6, 5, frames or {"text": 50, "audio": 60, "vision": 70}, False)
    torch.manual_seed(0)
    model = AMIO(arguments(name, target.parent / "none.pkl", 0, None)).eval()
    ids = torch.tensor(whole["text_bert"])
    x = {m: torch.tensor(whole[m]) for m in frames or generated_file.FRAMES}
    lengths = {m: torch.tensor(whole[f"{m}_lengths"]) for m in ("audio", "vision")}
    with torch.no_grad():
        if name in MEANS:
            found = model(x["text"], *(x[m].mean(1, keepdim=True) for m in ("audio", "vision")))
        elif name in ("mult", *ALIGNED):
            found = model(x["text"], x["audio"], x["vision"])
        elif name == "misa":
            found = model(ids, x["audio"], x["vision"])
        else:
            pairs = [(x[m], lengths[m]) for m in ("audio", "vision")]
            found = model(ids, *pairs)
    scores = found["M"] if isinstance(found, dict) else found
    state = {
        f"weight.{k.removeprefix('Model.')}": v.contiguous()
        for k, v in model.state_dict().items()
        if not k.endswith(("table", "num_batches_tracked"))
    }
    inputs = {f"input.{m}": value for m, value in x.items()}
    save_file({**state, **inputs, "scores": scores.flatten()}, target)
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def main() -> None:
    """One model, with the seeds that come in."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--batch", type=int)
    given = parser.parse_args()
    lines, sys.stdout = sys.stdout, sys.stderr  # the toolkit prints, too

    def answer(said: dict[str, Any]) -> None:
        print(json.dumps(said), file=lines, flush=True)

    shim()
    torch.set_num_threads(1)
    answer({"count": dump(given.model, given.weights)})
    while seed := sys.stdin.readline():
        run(given.model, given.file, int(seed), given.batch, answer)


if __name__ == "__main__":
    main()
