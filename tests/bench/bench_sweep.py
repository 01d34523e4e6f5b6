"""How much a sweep saves over a plain loop of single trainings, and how quick the probe is.

Run as ``python -P tests/bench/bench_sweep.py [--quick] [--probe] [--rounds N]``. Both contestants
train the same runs (their predictions are compared bit by bit), turn and turn about; the ratio is
the median over rounds. On a machine shared with others the share of the cores matters more than
anything: CPU seconds are given beside the wall clock.
"""

import argparse
import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from sedimental.cache.manifest import Clip, Manifest, write_manifest
from sedimental.cache.runs import list_runs, read_run
from sedimental.cache.spec import FeatureSpec, Modality
from sedimental.cache.store.writer import ClipFeatures, StoreWriter
from sedimental.config import Config
from sedimental.train.run import train
from sedimental.train.sweep.probe import probe
from sedimental.train.sweep.sweep import sweep

LAYERS, WIDTH = 25, 1024
SETTINGS: dict[Modality, dict[str, object]] = {
    "text": {"max_length": 512},
    "audio": {"rate": 5.0, "pool": "stride"},
    "vision": {"fps": 3.0, "face_size": 256, "margin": 0, "no_face": "zero", "detect_size": 640},
}


def clips_of(count: int) -> list[Clip]:
    """Splits in the proportions of CMU-MOSI."""
    random = np.random.default_rng(0)
    return [
        Clip(
            id=f"v{k // 14:03d}$_${k}",
            video_id=f"v{k // 14:03d}",
            clip_id=str(k),
            split="train" if k < 0.58 * count else "valid" if k < 0.69 * count else "test",
            label=float(random.uniform(-3, 3)),
        )
        for k in range(count)
    ]


def write_store(folder: Path, modality: Modality, clips: list[Clip]) -> None:
    """20 frames a clip on average; the label is faintly in the later layers."""
    random = np.random.default_rng(len(modality))
    pool = random.normal(0, 1, (LAYERS, 4096, WIDTH)).astype(np.float16)
    strength = np.linspace(0, 0.1, LAYERS, dtype=np.float16)[:, None, None]
    spec = FeatureSpec(
        modality, f"bench-{modality}", "-", None, "random:0", "00",
        tuple(map(str, range(LAYERS))), WIDTH, preprocessing=SETTINGS[modality],  # type: ignore[arg-type]
    )  # fmt: skip
    writer = StoreWriter.create(folder, spec, "zarr")
    for first in range(0, len(clips), 128):
        made = []
        for clip in clips[first : first + 128]:
            n = int(random.integers(10, 31))
            start = int(random.integers(0, 4096 - n))
            values = pool[:, start : start + n].copy()
            values[:, :, :64] += strength * np.float16(clip.label)
            times = np.arange(n, dtype=np.float32)
            made.append(ClipFeatures(clip.id, "s", values, times, times + 1, times >= 0, {}))
        writer.add(made)
    writer.finish({clip.id: "s" for clip in clips}, {})


def config_of(root: Path, runs: str, modalities: list[Modality], **sections: object) -> Config:
    inputs = {m: {"encoder": f"bench-{m}"} for m in modalities}
    train_section = {
        "inputs": inputs,
        "device": "cpu",
        "learning_rate": 1e-3,
        "uegd": {"hidden": 128, "embedding": 64},
    }
    return Config.model_validate(
        {
            "corpus": {"kind": "csv", "path": "bench.csv"},
            "cache": {"root": root / "features"},
            "runs": {"root": root / runs},
            "features": [{"modality": m, "encoder": f"bench-{m}"} for m in modalities],
            "train": {**train_section, **sections.pop("train", {})},  # type: ignore[dict-item]
            **sections,
        }
    )


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """(wall, CPU) seconds of `work`, its child processes included."""
    before, wall = _cpu(), time.perf_counter()
    work()
    return time.perf_counter() - wall, _cpu() - before


def _cpu() -> float:
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(resource.getrusage(k).ru_utime + resource.getrusage(k).ru_stime for k in kinds)


def bench_sweep(root: Path, layers: int, seeds: int, epochs: int, rounds: int) -> None:
    """A sweep against a loop over layers and seeds."""
    numbers = np.linspace(0, LAYERS - 1, layers).round().astype(int).tolist()
    names = tuple(range(1111, 1111 + seeds))
    walls, cpus = [], []
    for turn in range(rounds):
        grid = config_of(
            root, f"sweep-{turn}", ["audio"], train={"seeds": names, "epochs": epochs},
            sweep={"layers": numbers, "weighted": False},
        )  # fmt: skip

        def loop(turn: int = turn) -> None:
            for layer in numbers:
                for seed in names:
                    inputs = {"audio": {"encoder": "bench-audio", "layers": layer}}
                    alone = {"inputs": inputs, "seeds": (seed,), "epochs": epochs}
                    train(config_of(root, f"loop-{turn}/{layer}", ["audio"], train=alone))

        plain, own = timed(loop), timed(lambda grid=grid: sweep(grid))  # type: ignore[misc]
        walls.append(own[0] / plain[0])
        cpus.append(own[1] / plain[1])
        same = dict(answers(root / f"loop-{turn}")) == dict(answers(root / f"sweep-{turn}"))
        print(
            f"round {turn + 1}: loop {plain[0]:.1f} s ({plain[1]:.1f} s CPU), sweep {own[0]:.1f} s "
            f"({own[1]:.1f} s CPU): {walls[-1]:.2f}x, same predictions: {same}",
            flush=True,
        )
    print(
        f"{layers} layers x {seeds} seeds, {epochs} epochs, {os.cpu_count()} cores: "
        f"sweep / loop = {statistics.median(walls):.2f}x wall (target 0.6x on 2 cores), "
        f"{statistics.median(cpus):.2f}x CPU"
    )


def answers(folder: Path) -> Iterator[tuple[tuple[str, int], list[float]]]:
    """((layer, seed), predictions) of every run below `folder`."""
    for file in folder.glob("**/seed-*/run.json"):
        run = read_run(file.parent)
        yield (run.inputs[0].layers[0], run.seed), run.predictions.values.tolist()


def bench_probe(root: Path, clips: list[Clip], modalities: list[Modality]) -> None:
    """The probe of every layer of every modality."""
    for m in modalities:
        if not list((root / "features/bench").glob(f"{m}-*")):
            write_store(root / "features/bench", m, clips)
    config = config_of(root, "probe", modalities)
    wall, cpu = timed(lambda: probe(config))
    print(
        f"probe of {LAYERS} layers x {len(modalities)} modalities, {len(clips)} clips: "
        f"{wall:.1f} s, {cpu:.1f} s CPU (target 20 s on 2 cores)"
    )
    kept = [read_run(p) for p in list_runs(config.experiment / "probe")]
    print(", ".join(f"{r.letters} Corr {r.metrics['test']['Corr']:.3f}" for r in kept))


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="6 layers x 3 seeds, 2 epochs")
    parser.add_argument("--probe", action="store_true", help="only the probe")
    parser.add_argument("--rounds", type=int, default=1, help="of sweep against loop")
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    given = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="bench-sweep-", dir=given.folder))
    try:
        clips = clips_of(1284)
        write_manifest(
            root / "features/bench/manifest.jsonl", Manifest("bench", root, tuple(clips))
        )
        if not given.probe:
            write_store(root / "features/bench", "audio", clips)
            grid = (6, 3, 2) if given.quick else (LAYERS, 5, 4)
            bench_sweep(root, *grid, given.rounds)
        if given.probe or not given.quick:
            bench_probe(root, clips, ["text", "audio", "vision"])
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
