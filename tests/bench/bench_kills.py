"""Kill -9 at random system calls of `cache import`, `convert` and `rm`: what is there is whole.

    python tests/bench/bench_kills.py --kills 50

A child process counts every call that changes the disk and ends itself at one of them. Then what it
left is opened and verified byte for byte, and the same command, started again, must finish.
"""

import argparse
import contextlib
import io
import os
import pickle
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from sedimental.cache.manifest import read_manifest
from sedimental.cache.spec import FeatureSpec
from sedimental.cache.store.store import list_stores, open_store
from sedimental.cache.store.verify import verify
from sedimental.cache.store.writer import ClipFeatures, StoreWriter
from sedimental.cli import app
from sedimental.config import load_config

CHANGES = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate"}
"""Calls that Python tells an audit hook of; those below are counted by a wrapper."""
CALLS = ("fsync", "pwrite", "write")


def child(work: Callable[[], object], at: int) -> int:
    """Calls that `work` made in a process of its own; it is killed at the one of number `at`."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        count = 0

        def step() -> None:
            nonlocal count
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)

        for name in CALLS:
            original = getattr(os, name)
            setattr(os, name, lambda *given, call=original: step() or call(*given))  # type: ignore[func-returns-value]
        sys.addaudithook(lambda event, _: step() if event in CHANGES else None)
        try:
            work()
        finally:
            at = -1
            os.write(writing, str(count).encode())
            os._exit(0)
    os.close(writing)
    told = os.read(reading, 100)
    os.close(reading)
    os.waitpid(process, 0)
    return int(told or b"0")


def run(*words: object) -> None:
    """A command, in this process."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        app([str(word) for word in words], standalone_mode=False)


def clips(store: Path) -> dict[str, bytes]:
    found = open_store(store, allow_partial=True)
    return {name: found.read(None, [name]).values.tobytes() for name in found.clips}


def make_store(root: Path) -> Path:
    spec = FeatureSpec("text", "toy", "toy", None, "random:0", "0", ("0", "1", "2"), 8)
    writer = StoreWriter.create(root / "corpus", spec)
    noise = np.random.default_rng(0)
    for part in range(4):
        made = []
        for k in range(3):
            one = np.ones(5, np.float32)
            values = noise.normal(size=(3, 5, 8)).astype(np.float32)
            made.append(ClipFeatures(f"c{part}{k}", "s", values, one, one, one > 0, {}))
        writer.add(made)
    writer.finish(writer.present(), {})
    return writer.path


def make_pickle(path: Path) -> Path:
    noise, tables = np.random.default_rng(0), {}
    for split, count in (("train", 6), ("valid", 3), ("test", 3)):
        tables[split] = {
            "id": [f"v{split}$_${k}" for k in range(count)],
            "raw_text": np.array(["words"] * count),
            "regression_labels": noise.normal(size=count),
            **{m: noise.normal(size=(count, 4, 6)) for m in ("text", "audio", "vision")},
        }
    path.write_bytes(pickle.dumps(tables))
    return path


def whole(root: Path) -> list[Path]:
    """The stores below `root`, each verified."""
    stores = list(list_stores(root / "features"))
    for store in stores:
        verdict = verify(store)
        assert not verdict.damage, verdict.damage
    return stores


def hidden(root: Path) -> list[Path]:
    return list(root.rglob(".tmp-*"))


def kill_import(folder: Path, kills: int, chance: random.Random) -> None:
    source, root, pipeline = make_pickle(folder / "x.pkl"), folder / "root", folder / "root/p.toml"
    words = "cache", "import", source, "--corpus", "x", "-c", pipeline
    calls = child(lambda: run(*words), -1)
    expected = {store.name: clips(store) for store in whole(root)}
    assert len(expected) == 3
    for _ in range(kills):
        shutil.rmtree(root)
        child(lambda: run(*words), chance.randint(1, calls))
        for store in whole(root):
            assert clips(store).items() <= expected[store.name].items()
        if (manifest := root / "features" / "x" / "manifest.jsonl").exists():
            assert len(read_manifest(manifest).clips) == 12
        if pipeline.exists():
            load_config(pipeline)
        run(*words)
        assert {store.name: clips(store) for store in whole(root)} == expected
        load_config(pipeline)
        assert not hidden(root)


def kill_convert(folder: Path, kills: int, chance: random.Random) -> None:
    original, root = make_store(folder / "original"), folder / "root"
    expected = clips(original)
    store, copy = root / "features" / "corpus" / original.name, root / "copy" / original.name
    in_place = "cache", "convert", store, "--to", "hdf5"
    for target, words in ((store, in_place), (copy, (*in_place, "--into", copy.parent))):
        shutil.copytree(original, store)
        calls = child(partial(run, *words), -1)
        for _ in range(kills):
            shutil.rmtree(root)
            shutil.copytree(original, store)
            child(partial(run, *words), chance.randint(1, calls))
            assert clips(store) == expected
            assert not verify(store).damage
            if (target / "store.json").exists():
                assert not verify(target).damage
            run(*words)
            assert clips(target) == expected
            assert open_store(target).formats == ("hdf5",)
            assert not hidden(root), hidden(root)
        shutil.rmtree(root)


def kill_rm(folder: Path, kills: int, chance: random.Random) -> None:
    original, root = make_store(folder / "original"), folder / "root"
    expected, store = clips(original), root / "features" / "corpus" / original.name
    shutil.copytree(original, store)
    words = "cache", "rm", store, "--yes"
    calls = child(lambda: run(*words), -1)
    for _ in range(kills):
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(original, store)
        child(lambda: run(*words), chance.randint(1, calls))
        if whole(root):
            assert clips(store) == expected
            run(*words)
        make_store(root / "features")  # whoever writes there next sweeps up
        assert not hidden(root)


COMMANDS = {"import": kill_import, "convert": kill_convert, "rm": kill_rm}


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--kills", type=int, default=50)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    for name, kill in COMMANDS.items():
        with tempfile.TemporaryDirectory() as folder:
            kill(Path(folder), given.kills, random.Random(given.seed))
        print(f"{name}: {given.kills} kills, whole or not there each time, finished when repeated")


if __name__ == "__main__":
    main()
