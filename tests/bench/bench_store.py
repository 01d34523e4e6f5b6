"""How far the feature store is from the disk: every ratio beside raw files, in the same run.

Run as ``python -P tests/bench/bench_store.py [--quick] [--folder DIR]``. Each round measures every
contestant once, in turn; the table gives medians over rounds, and the median of the ratios within
rounds, which a machine shared with others disturbs least. Cold means that the files' pages were
dropped from the page cache (posix_fadvise), on a disk that may have caches of its own.
"""

import argparse
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sedimental.cache.spec import FeatureSpec
from sedimental.cache.store.read_ranges import THREADS
from sedimental.cache.store.store import Store, open_store
from sedimental.cache.store.writer import ClipFeatures, StoreWriter

LAYERS, WIDTH, BATCH = 25, 1024, 32
PIECE = 1 << 22
"""Bytes of one read of a raw file of many megabytes."""
FORMATS: tuple[Literal["zarr", "hdf5"], ...] = ("zarr", "hdf5")
Timing = dict[str, list[float]]


def spec(layers: int = LAYERS, width: int = WIDTH) -> FeatureSpec:
    names = tuple(str(k) for k in range(layers))
    return FeatureSpec("audio", "bench", "-", None, "random:0", "-", names, width)


def clips(count: int, width: int, first: int = 0, seed: int = 0) -> list[ClipFeatures]:
    """Clips of 35 frames on average, of lengths as uneven as speech."""
    random = np.random.default_rng([seed, first])
    lengths = np.maximum(4, random.lognormal(3.4, 0.5, count)).astype(int)
    noise = random.normal(size=(LAYERS, lengths.sum() + 1, width)).astype(np.float16)
    ends = np.cumsum(lengths)
    return [
        ClipFeatures(
            id=f"video{(first + k) // 7:05d}$_${first + k}",
            source=f"{first + k:032x}",
            values=np.ascontiguousarray(noise[:, end - n : end]),
            times=np.arange(n, dtype=np.float32),
            durations=np.ones(n, np.float32),
            valid=np.ones(n, bool),
            side={},
        )
        for k, (n, end) in enumerate(zip(lengths.tolist(), ends.tolist(), strict=True))
    ]


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def evict(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


# The limit: plain files, one a layer, read and written by the shortest code that uses the disk well


class Raw:
    """A file a layer; `parts` are (layers, frames, width), ready-made."""

    def __init__(self, folder: Path, frames: NDArray[np.int64]) -> None:
        self.files = [folder / f"layer-{k}" for k in range(LAYERS)]
        self.offsets = np.concatenate([[0], np.cumsum(frames)]).tolist()
        self.pool = ThreadPoolExecutor(THREADS)
        self.descriptors = [os.open(f, os.O_RDONLY) for f in self.files]

    def ranges(self, work: Sequence[tuple[int, int, int, int]], out: NDArray[np.uint8]) -> None:
        """Read (layer, from, to, length) ranges, dealt to the threads in equal shares."""

        def read(share: Sequence[tuple[int, int, int, int]]) -> None:
            for layer, at, to, length in share:
                os.preadv(self.descriptors[layer], [out.data[to : to + length]], at)

        size = -(-len(work) // (4 * THREADS))
        list(self.pool.map(read, [work[k : k + size] for k in range(0, len(work), size)]))

    def layer(self, layer: int) -> NDArray[np.uint8]:
        total = self.offsets[-1] * WIDTH * 2
        out = np.empty(total, np.uint8)
        self.ranges([(layer, k, k, min(PIECE, total - k)) for k in range(0, total, PIECE)], out)
        return out

    def layer_plain(self, layer: int) -> NDArray[np.uint8]:
        return np.fromfile(self.files[layer], np.uint8)

    def batch(self, chosen: Sequence[int]) -> NDArray[np.uint8]:
        row = WIDTH * 2
        work, to = [], 0
        for layer in range(LAYERS):
            for c in chosen:
                length = (self.offsets[c + 1] - self.offsets[c]) * row
                work.append((layer, self.offsets[c] * row, to, length))
                to += length
        out = np.empty(to, np.uint8)
        self.ranges(work, out)
        return out


def write_raw(folder: Path, groups: Sequence[Sequence[ClipFeatures]]) -> None:
    """The files that `Raw` reads, a layer each, grown and synced group by group."""
    folder.mkdir()
    files = [os.open(folder / f"layer-{k}", os.O_WRONLY | os.O_CREAT) for k in range(LAYERS)]
    for group in groups:
        for layer, descriptor in enumerate(files):
            _written(descriptor, np.concatenate([clip.values[layer] for clip in group]))
        for descriptor in files:
            os.fsync(descriptor)
    for descriptor in files:
        os.close(descriptor)
    _sync_folder(folder)


def write_ready(folder: Path, groups: Sequence[NDArray[np.float16]]) -> None:
    """A file a part, ready-made, written in one go and synced: nothing could do less."""
    folder.mkdir()
    for k, group in enumerate(groups):
        descriptor = os.open(folder / f"part-{k}", os.O_WRONLY | os.O_CREAT)
        _written(descriptor, group)
        os.fsync(descriptor)
        os.close(descriptor)
        _sync_folder(folder)


def _written(descriptor: int, values: NDArray[np.float16]) -> None:
    view = values.data.cast("B")
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def write_store(
    folder: Path, format: Literal["zarr", "hdf5"], groups: list[list[ClipFeatures]]
) -> Path:
    writer = StoreWriter.create(folder, spec(), format)
    for group in groups:
        writer.add(group)
    writer.finish(writer.present(), {})
    return writer.path


def bench_write(root: Path, rounds: int, parts: int, timing: Timing) -> None:
    groups = [clips(80, WIDTH, 80 * k) for k in range(parts)]
    ready = [np.concatenate([c.values for c in group], axis=1) for group in groups]
    half = parts // 2 or 1
    timing["bytes"] = [float(sum(r.nbytes for r in ready[:half]))]
    folder = root / "written"
    contest: list[tuple[str, Callable[[], object]]] = [
        ("write raw", partial(write_raw, folder, groups[:half])),
        ("write ready", partial(write_ready, folder, ready[:half])),
        ("write zarr", partial(write_store, folder, "zarr", groups[:half])),
        ("write hdf5", partial(write_store, folder, "hdf5", groups[:half])),
    ]
    for k in range(rounds):
        for name, work in contest[k % 4 :] + contest[: k % 4]:
            timing.setdefault(name, []).append(timed(work))
            shutil.rmtree(folder)
    for format in FORMATS:
        write_store(root / format, format, groups)
    (root / "raw").mkdir()
    for layer in range(LAYERS):
        with (root / "raw" / f"layer-{layer}").open("wb") as file:
            for part in ready:
                file.write(part[layer].data)
    os.sync()


def bench_read(root: Path, rounds: int, timing: Timing) -> None:
    stores: dict[str, Store] = {f: open_store(next((root / f).glob("audio-*"))) for f in FORMATS}
    frames = stores["zarr"].frames
    raw = Raw(root / "raw", frames)
    random = np.random.default_rng(0)
    assert raw.layer(3).tobytes() == stores["zarr"].layer(3).values.tobytes()

    def run(name: str, folder: str, work: Callable[[], object], warm: int = 5) -> None:
        evict(root / folder)
        timing.setdefault(f"{name} cold", []).append(timed(work))
        work()
        timing.setdefault(f"{name} warm", []).append(
            statistics.median(timed(work) for _ in range(warm))
        )

    for k in range(rounds):
        layer = int(random.integers(LAYERS))
        chosen = random.choice(len(frames), BATCH, replace=False).tolist()
        contest: list[tuple[str, str, Callable[[], object]]] = [
            ("layer raw", "raw", partial(raw.layer, layer)),
            ("layer raw np.fromfile", "raw", partial(raw.layer_plain, layer)),
            ("batch raw", "raw", partial(raw.batch, chosen)),
        ]
        for f, store in stores.items():
            names = [store.clips[c] for c in chosen]
            contest.append((f"layer {f}", f, partial(store.layer, layer)))
            contest.append((f"batch {f}", f, partial(store.read, None, names)))
        turn = k % len(contest)
        for name, folder, work in contest[turn:] + contest[:turn]:
            run(name, folder, work)
    one = [stores["zarr"].clips[int(random.integers(len(frames)))]]
    timing["clip zarr warm"] = [timed(lambda: stores["zarr"].read([5], one)) for _ in range(50)]


def bench_open(
    root: Path, rounds: int, timing: Timing, count: int = 23_000, parts: int = 240
) -> None:
    small = spec(layers=2, width=2)
    for format in FORMATS:
        writer = StoreWriter.create(root / f"many-{format}", small, format)
        one = np.ones(3)
        for share in np.array_split(np.arange(count), parts):
            writer.add(
                [
                    ClipFeatures(
                        id=f"video{c // 7:05d}$_${c}",
                        source=f"{c:032x}",
                        values=np.ones((2, 3, 2), np.float16),
                        times=one.astype(np.float32),
                        durations=one.astype(np.float32),
                        valid=one.astype(bool),
                        side={},
                    )
                    for c in share.tolist()
                ]
            )
        writer.finish(writer.present(), {})
        opened = partial(open_store, writer.path)
        timing[f"open {format}"] = [timed(opened) for _ in range(rounds)]


def peak_memory(root: Path) -> float:
    """Parts' worth of memory that writing six parts takes beyond the clips handed over."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[2]); import bench_store as b\n"
        "print(b.memory(b.Path(sys.argv[1])))"
    )
    here = str(Path(__file__).parent)
    command = [sys.executable, "-P", "-c", code, str(root / "memory"), here]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def memory(folder: Path) -> float:
    group = clips(80, WIDTH)
    part = sum(c.values.nbytes for c in group)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    # fill up to the current peak first, so that the peak only rises with what the writer takes
    ballast = np.ones(max(0, before - _resident()), np.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    write_store(folder, "zarr", [group] * 6)
    del ballast
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / part


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def table(timing: Timing, memory: float, size: float, layer: float, batch: float) -> str:
    def line(what: str, limit: str, ours: str, nbytes: float) -> str:
        raw, mine = timing[limit], timing[ours]
        ratio = statistics.median(r / m for r, m in zip(raw, mine, strict=True))
        speeds = [nbytes / statistics.median(t) / 1e9 for t in (raw, mine)]
        return f"| {what} | {speeds[0]:.2f} | {speeds[1]:.2f} | {ratio:.2f} |"

    rows = ["| | raw GB/s | store GB/s | ratio |", "|---|---|---|---|"]
    for f in FORMATS:
        rows.append(line(f"write with fsync, {f}", "write raw", f"write {f}", size))
        rows.append(
            line(
                f"write with fsync, {f}, against one ready file", "write ready", f"write {f}", size
            )
        )
        for state in ("cold", "warm"):
            rows.append(
                line(f"one layer, {state}, {f}", f"layer raw {state}", f"layer {f} {state}", layer)
            )
            rows.append(
                line(
                    f"one layer, {state}, {f}, against np.fromfile",
                    f"layer raw np.fromfile {state}",
                    f"layer {f} {state}",
                    layer,
                )
            )
            rows.append(
                line(
                    f"{BATCH} clips x {LAYERS} layers, {state}, {f}",
                    f"batch raw {state}",
                    f"batch {f} {state}",
                    batch,
                )
            )
    for f in FORMATS:
        opened = statistics.median(timing[f"open {f}"])
        rows.append(f"| open a store of 23,000 clips, {f} | | {opened:.3f} s | |")
    one = statistics.median(timing["clip zarr warm"]) * 1e3
    rows.append(f"| one layer of one clip, warm | | {one:.2f} ms | |")
    rows.append(f"| memory to write a part, beyond its clips | | {memory:.2f} parts | |")
    return "\n".join(rows)


def machine() -> str:
    name = next(
        (
            r.split(":")[1].strip()
            for r in Path("/proc/cpuinfo").read_text().splitlines()
            if r.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"{os.cpu_count()} cores ({name}), {memory:.0f} GB memory, {platform.system()} "
        f"{platform.release()}, Python {platform.python_version()}, numpy {np.__version__}; "
        f"load {os.getloadavg()[0]:.1f} before the run"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="a fifth of the data, three rounds")
    parser.add_argument(
        "--folder", type=Path, help="where to write (default: the temporary folder)"
    )
    asked = parser.parse_args()
    parts, rounds = (3, 3) if asked.quick else (8, 9)
    timing: Timing = {}
    said = machine()
    with tempfile.TemporaryDirectory(dir=asked.folder, prefix="bench-store-") as folder:
        root = Path(folder)
        bench_write(root, rounds, parts, timing)
        bench_read(root, rounds, timing)
        bench_open(root, rounds, timing)
        taken = peak_memory(root)
        frames = open_store(next((root / "zarr").glob("audio-*"))).frames
    layer = float(frames.sum()) * WIDTH * 2
    batch = layer / len(frames) * BATCH * LAYERS
    print(f"{said}\n\n{table(timing, taken, timing['bytes'][0], layer, batch)}")


if __name__ == "__main__":
    main()
