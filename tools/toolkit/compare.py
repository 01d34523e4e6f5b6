"""Our baselines beside the reference toolkit's, on the same clips: tables in Markdown.

    python -m toolkit.compare OUT --python REFERENCE/bin/python --models lmf,tfn [--seeds 1,2,3,4,5]
        [--epochs 15] [--batch 32] [--clips 1284 229 686]
        [--frames 50 375 500] [--even]

An epoch of the reference and one of ours take turns, so that whatever else the machine does meets
both; seconds are those of the CPU, on one thread, of training and validation. Settings are those of
the preset ``mmsa-mosi``. `frames`: the most of text, audio and vision; `even`: all clips have as
many, where both compute the same function.
OUT gets clips.pkl, <model>.json, and table.md of all models that are there.
"""

import argparse
import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import torch

from sedimental.cache.runs import Epoch
from sedimental.train.data.dataset import Selection
from sedimental.train.fit.loop import fit

from .generated_file import CLIPS, FRAMES, write
from .ours import corpus, distance, model_of, settings_of
from .tables import tables

REFERENCE = Path(__file__).parent / "run_reference.py"


class Reference:
    """The toolkit in a process of its own, which waits while nothing is asked of it."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        """Its first answer is the number of its weights."""
        self.process, self.log = process, log
        self.count = int(self._answer()["count"])

    def begin(self, seed: int) -> None:
        """The next calls of `epoch` are of this seed."""
        self._say(str(seed))

    def epoch(self) -> dict[str, float]:
        """Another epoch: ``mae``, ``cpu`` and ``wall`` seconds."""
        self._say("epoch")
        return self._answer()

    def end(self) -> None:
        """The seed is done."""
        self._say("end")

    def _say(self, line: str) -> None:
        asked = cast("IO[str]", self.process.stdin)
        asked.write(line + "\n")
        asked.flush()

    def _answer(self) -> dict[str, float]:
        line = cast("IO[str]", self.process.stdout).readline()
        if not line:
            raise SystemExit(
                f"The reference toolkit ended early; its last words are in {self.log}."
            )
        found: dict[str, float] = json.loads(line)
        return found


@contextmanager
def started(command: Sequence[object], log: Path) -> Iterator[Reference]:
    """The reference, ended in the end."""
    with (
        log.open("w", encoding="utf-8") as errors,
        subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            yield Reference(process, log)
        finally:
            process.kill()


def race(
    name: str, data: Selection, seed: int, epochs: int, batch: int | None, reference: Reference
) -> dict[str, Any]:
    """One seed of both, epoch by epoch in turn."""
    reference.begin(seed)
    theirs, ours = [reference.epoch()], list[dict[str, float]]()
    began = time.process_time(), time.perf_counter()

    def turn(found: Epoch) -> None:
        nonlocal began
        cpu, wall = time.process_time() - began[0], time.perf_counter() - began[1]
        ours.append({"mae": found.valid["MAE"], "cpu": cpu, "wall": wall})
        if len(ours) < epochs:
            theirs.append(reference.epoch())
        began = time.process_time(), time.perf_counter()

    fit(model_of(name, seed), data, settings_of(name, epochs, batch), seed, "mosi", turn)
    reference.end()
    return {"seed": seed, "reference": theirs, "ours": ours}


def main() -> None:
    """The models that were asked for, one file each, then the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--models", required=True)
    parser.add_argument("--seeds", default="1,2,3,4,5")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--clips", type=int, nargs=3, default=CLIPS)
    parser.add_argument("--frames", type=int, nargs=3, default=list(FRAMES.values()))
    parser.add_argument("--even", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    file = given.out / "clips.pkl"
    shape = given.clips, dict(zip(FRAMES, given.frames, strict=True)), not given.even
    write(file, *shape)
    data = corpus(*shape)
    for name in given.models.split(","):
        weights, runs = given.out / f"{name}.safetensors", list[dict[str, Any]]()
        command = [given.python, "-P", REFERENCE, file, weights, "--model", name]
        command += ["--batch", given.batch]
        with started(command, given.out / f"{name}.log") as reference:
            count, apart = distance(name, weights)
            if count != reference.count:
                raise SystemExit(f"{name}: {count} weights, {reference.count} there.")
            for seed in map(int, given.seeds.split(",")):
                runs.append(race(name, data, seed, given.epochs, given.batch, reference))
                found = {"weights": count, "apart": apart, "clips": given.clips, "runs": runs}
                (given.out / f"{name}.json").write_text(json.dumps(found))
    known = {f.stem: json.loads(f.read_text()) for f in sorted(given.out.glob("*.json"))}
    text = tables(known)
    (given.out / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
