"""What training leaves, put to the test: flipped bits, kill -9 at random moments, two writers.

    python tests/bench/trial_runs.py --flips 150 --kills 50 --writers 300

Every flipped bit must be named with its file. After a kill what is there must be whole or not
there, and the same command, started again, must finish with the numbers of one that was left alone.
Of two writers of one run the folder must be that of one of them.
"""

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sedimental.cache.checksums import FILE, DamagedError, without_checksum
from sedimental.cache.runs import list_runs, read_run, read_weights, write_run
from sedimental.cache.runs.folder import damages, list_superseded
from sedimental.cache.runs.representations import read_representations
from sedimental.cache.sweeps import read_sweep
from sedimental.cli import app
from sedimental.config import Config, load_config
from sedimental.errors import RunError
from sedimental.evaluate.runs.check import check

PIPELINE = """
[corpus]
kind = "csv"
path = "tiny.csv"
[[features]]
modality = "text"
encoder = "tiny-bert"
[train]
models = ["uegd", "lf_dnn"]
seeds = [1, 2, 3]
epochs = 6
batch_size = 4
[train.inputs]
text = { encoder = "tiny-bert", layers = -1 }
[train.uegd]
hidden = 8
embedding = 4
heads = 2
[sweep]
epochs = 2
seeds = [1]
processes = 1
[evaluate]
bootstrap = 20
"""


def project(root: Path) -> Config:
    """A corpus of sixteen texts, extracted."""
    splits = ("train", "train", "valid", "test") * 4
    lines = [f"c{k},{split},{k % 5 - 2},some words {k}" for k, split in enumerate(splits)]
    (root / "tiny.csv").write_text("id,split,label,text\n" + "\n".join(lines) + "\n")
    (root / "pipeline.toml").write_text(PIPELINE)
    call(root, "extract")
    return load_config(root / "pipeline.toml")


def call(root: Path, *command: str) -> None:
    """Run a command in this process; raises SystemExit unless it ends well."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            app([*command, "-c", str(root / "pipeline.toml")])
        except SystemExit as end:
            if end.code:
                raise


def child(root: Path, *command: str, after: float | None = None) -> float:
    """Run a command in a process of its own, killed `after` so many seconds; how long it took."""
    began = time.monotonic()
    process = os.fork()
    if not process:
        code = 1
        try:
            call(root, *command)
            code = 0
        finally:
            os._exit(code)
    if after is not None:
        time.sleep(after)
        os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    if status and after is None:
        raise SystemExit(f"{command}: ended with {status}")
    return time.monotonic() - began


def values(config: Config) -> dict[str, list[float]]:
    """The predictions of every run, of sweeps too."""
    found = {}
    for file in sorted(config.experiment.rglob(FILE)):
        if ".old-" not in str(file) and "/.tmp-" not in str(file):
            own = read_run(file.parent).predictions.values.tolist()
            found[str(file.parent.relative_to(config.experiment))] = own
    return found


def whole(config: Config) -> None:
    """Raises SystemExit naming what is not whole."""
    found = check(config.experiment)
    faults = list(found.damages)
    for folder in config.experiment.rglob("seed-*"):
        if folder.is_dir() and not (folder / FILE).is_file():
            faults.append(f"{folder}: not whole")
    report = config.experiment / "report.json"
    if report.is_file():
        json.loads(report.read_text())
    page = config.experiment / "report.html"
    if page.is_file() and not page.read_text(encoding="utf-8").rstrip().endswith("</html>"):
        faults.append(f"{page}: cut short")
    if faults:
        raise SystemExit("\n".join(faults))


def kills(root: Path, config: Config, count: int, draw: random.Random) -> None:
    """Kill train, report and sweep; the state goes on from kill to kill, and begins anew when the
    command has come to its end."""
    for command in ("train", "report", "sweep"):
        if command == "report":
            child(root, "train")
        elif command == "sweep":
            shutil.rmtree(config.experiment, ignore_errors=True)
        else:
            shutil.rmtree(config.experiment, ignore_errors=True)
        seconds = child(root, command)
        expected = values(config)
        if command != "report":
            shutil.rmtree(config.experiment)
        ended = 0
        for _ in range(count):
            child(root, command, after=draw.uniform(0, seconds))
            whole(config)
            if command != "report" and values(config) == expected:
                ended += 1
                shutil.rmtree(config.experiment)
        child(root, command)
        whole(config)
        if values(config) != expected:
            raise SystemExit(f"{command}: other numbers after being killed")
        left = [p for p in config.experiment.rglob(".tmp-*") if p.parent.name != "sweep"]
        print(
            f"{command}: {count} kills within {seconds:.1f} s: all whole, the same numbers "
            f"of {len(expected)} runs ({ended} times at its end; temporaries left {len(left)})",
            flush=True,
        )


def flipped(file: Path, read: Callable[[], Any], count: int, draw: random.Random) -> Iterator[bool]:
    """Whether each of `count` flipped bits is named by an error or note with the file's name."""
    data = file.read_bytes()
    for _ in range(count):
        changed = bytearray(data)
        changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        file.write_bytes(changed)
        try:
            told = read()
        except (RunError, DamagedError) as fault:
            told = str(fault)
        yield file.name in str(told) and "damaged" in str(told)
    file.write_bytes(data)


def flips(root: Path, config: Config, count: int, draw: random.Random) -> None:
    """Flip bits in every kind of file; each must be named."""
    call(root, "train")
    call(root, "sweep")
    call(root, "robustness", "--rates", "0,0.5")
    folder = next(list_runs(config.experiment))

    def run() -> None:
        read_run(folder)
        read_weights(folder)
        read_representations(folder)

    for file in sorted(folder.iterdir()):
        if file.name == "robustness.npz":
            found = list(flipped(file, lambda own=file: without_checksum(own), count, draw))  # type: ignore[misc]
        else:
            found = list(flipped(file, run, count, draw))
            assert not damages(folder)
        print(f"{file.name}: {sum(found)} of {count} flipped bits named", flush=True)
    for kind in ("probe", "sweep"):
        own = config.experiment / kind
        found = list(flipped(own / "sweep.json", lambda own=own: read_sweep(own), count, draw))  # type: ignore[misc]
        print(f"{kind}/sweep.json: {sum(found)} of {count} flipped bits named", flush=True)
    checkpoint(config, count, draw)


def checkpoint(config: Config, count: int, draw: random.Random) -> None:
    """The same of the checkpoint of a run in flight."""
    from sedimental.progress import Silent
    from sedimental.train.fit import checkpoint as module
    from sedimental.train.session import TrainSession

    module.EVERY = module.PATIENCE = 0.0
    notes: list[str] = []

    class Stops(Silent):
        def advance(self, task: str, by: int = 1) -> None:
            raise KeyboardInterrupt

        def note(self, message: str) -> None:
            notes.append(message)

    shop = TrainSession(config, Stops(), again=True)
    plan = shop.plans[0]
    with contextlib.suppress(KeyboardInterrupt):
        shop.make([plan])
    kept = shop.checkpoint(plan)
    file = kept.path
    assert file is not None
    assert file.is_file()

    def read() -> str:
        notes.clear()
        assert module._read(file, plan.key, notes.append) == ({}, {})
        return " ".join(notes)

    assert module._read(file, plan.key, notes.append)[0]
    found = list(flipped(file, read, count, draw))
    print(f"checkpoint ({file.stat().st_size} bytes): {sum(found)} of {count} flipped bits named")
    file.unlink()


def writers(root: Path, config: Config, count: int) -> None:
    """Two processes write one run `count` times each; every folder must be that of one of them."""
    source = next(list_runs(config.experiment))
    target = root / "two" / source.parent.name / source.name
    run = read_run(source)

    def write(number: int) -> None:
        for time_ in range(count):
            own = number * count + time_
            changed = type(run)(**{**vars(run), "seconds": float(own)})
            write_run(target, changed, b"%d" % own, again=True)

    context = multiprocessing.get_context("fork")
    both = [context.Process(target=write, args=(number,)) for number in (1, 2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    found = [*list_runs(root / "two"), *list_superseded(root / "two")]
    mixed = sum(read_weights(f) != b"%d" % read_run(f).seconds for f in found)
    broken = sum(bool(damages(f)) for f in found)
    codes = [process.exitcode for process in both]
    print(
        f"two writers, {count} times each (exit codes {codes}): {len(found)} folders, "
        f"{mixed} mixed, {broken} damaged"
    )


def main() -> None:
    """Run the trials that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flips", type=int, default=150)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--writers", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trial-runs-") as name:
        root, draw = Path(name), random.Random(asked.seed)
        config = project(root)
        if asked.flips:
            flips(root, config, asked.flips, draw)
        if asked.writers:
            call(root, "train")
            writers(root, config, asked.writers)
        if asked.kills:
            kills(root, config, asked.kills, draw)


if __name__ == "__main__":
    main()
