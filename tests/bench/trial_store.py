"""The long trials of the feature store: writers killed at random moments, bytes flipped anywhere.

Run as ``python -P tests/bench/trial_store.py kill|flip [--count N] [--folder DIR]``. It prints a
line a setting and ends with an AssertionError at the first fault.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from sedimental.cache.spec import FeatureSpec
from sedimental.cache.store.store import open_store
from sedimental.cache.store.verify import verify
from sedimental.cache.store.writer import ClipFeatures, StoreWriter

Format = Literal["zarr", "hdf5"]
LAYERS, WIDTH, CLIPS, GROUP = 13, 768, 60, 3
SPEC = FeatureSpec(
    modality="audio",
    encoder="trial",
    source="-",
    revision=None,
    weights="random:0",
    weights_digest="-",
    layers=tuple(str(k) for k in range(LAYERS)),
    width=WIDTH,
)
PLANNED = {f"clip{k}": f"source{k}" for k in range(CLIPS)}


def features(clip: str) -> ClipFeatures:
    """Always the same for the same clip."""
    random = np.random.default_rng([*clip.encode()])
    frames = int(random.integers(5, 60))
    one = np.ones(frames, np.float32)
    return ClipFeatures(
        id=clip,
        source=PLANNED[clip],
        values=random.normal(size=(LAYERS, frames, WIDTH)).astype(np.float32),
        times=one,
        durations=one,
        valid=one > 0,
        side={"boxes": random.random((frames, 4)).astype(np.float32)},
    )


def write(root: Path, format: Format, share: int, shares: int) -> None:
    """One writer's share of an extraction; prints each clip once it is acknowledged."""
    writer = StoreWriter.create(root, SPEC, format)
    present = writer.present()
    todo = [c for k, c in enumerate(PLANNED) if k // GROUP % shares == share and c not in present]
    print("ready", flush=True)
    for start in range(0, len(todo), GROUP):
        writer.add([features(clip) for clip in todo[start : start + GROUP]])
        print(*todo[start : start + GROUP], flush=True)
    writer.finish(PLANNED, {})
    print("finished", flush=True)


def kill(root: Path, format: Format, writers: int, kills: int) -> str:
    """Kill all writers `kills` times in all; check the store each time, and the end result."""
    random = np.random.default_rng(writers)
    expected = {clip: features(clip).values.astype(np.float16).tobytes() for clip in PLANNED}
    done = rounds = parts = 0
    while done < kills:
        rounds += 1
        folder = root / f"{format}-{writers}-{rounds}"
        acknowledged: set[str] = set()
        for _ in range(5):
            done += 1
            acknowledged |= _killed(folder, format, writers, random.exponential(0.15))
            store = open_store(folder / SPEC.folder_name, allow_partial=True)
            assert acknowledged <= set(store.clips), acknowledged - set(store.clips)
            for clip in store.clips:
                assert store.read(None, [clip]).values.tobytes() == expected[clip], clip
            assert not verify(store.path).damage
        for share in range(writers):
            _start(folder, format, share, writers).communicate()
        store = open_store(folder / SPEC.folder_name)
        assert set(store.clips) == set(PLANNED)
        for clip in store.clips:
            assert store.read(None, [clip]).values.tobytes() == expected[clip], clip
        assert not list(store.path.glob(".tmp-*"))
        parts += store.part_count
    return f"{format}, {writers} writers: {done} kills, {rounds} stores resumed to the same bits"


def _killed(folder: Path, format: Format, writers: int, after: float) -> set[str]:
    running = [_start(folder, format, share, writers) for share in range(writers)]
    said = []
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    time.sleep(after)
    for process in running:
        process.send_signal(signal.SIGKILL)
    for process in running:
        said += process.communicate()[0].splitlines(keepends=True)
    whole = [line for line in said if line.endswith("\n")]
    return set(" ".join(whole).split()) - {"finished"}


def _start(root: Path, format: Format, share: int, shares: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", __file__, "write", str(root), format, str(share), str(shares)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def flip(root: Path, format: Format, count: int) -> str:
    """Flip a bit of a byte at `count` random positions of all parts; each must be found."""
    small = FeatureSpec("text", "flip", "-", None, "random:0", "-", ("0", "1", "2"), 16)
    writer = StoreWriter.create(root / format, small, format)
    random = np.random.default_rng(0)
    for part in range(3):
        clips = [features(clip) for clip in list(PLANNED)[part * 3 : part * 3 + 3]]
        writer.add(
            [
                ClipFeatures(
                    **{
                        **vars(c),
                        "values": c.values[:3, :, :16],
                        "side": {"boxes": c.side["boxes"]},
                    }
                )
                for c in clips
            ]
        )
    writer.finish(writer.present(), {})
    files = [p for p in sorted(writer.path.glob("part-*/**/*")) if p.is_file()]
    files += [p for p in writer.path.glob("part-*") if p.is_file()]
    whole = {file: file.read_bytes() for file in files}
    sizes = np.array([len(whole[file]) for file in files])
    for position in random.integers(0, sizes.sum(), count).tolist():
        k = int(np.searchsorted(np.cumsum(sizes), position, side="right"))
        data = bytearray(whole[files[k]])
        data[position - int(sizes[:k].sum())] ^= 1 << int(random.integers(8))
        files[k].write_bytes(data)
        found = verify(writer.path)
        hurt = files[k].relative_to(writer.path).parts[0]
        assert {one.file.name for one in found.damage} == {hurt}, (files[k], position)
        assert len(found.clips) == 3
        files[k].write_bytes(whole[files[k]])
    assert not verify(writer.path).damage
    return f"{format}: {count} flipped bytes of {sizes.sum()} in {len(files)} files, each found"


def main() -> None:
    if sys.argv[1:2] == ["write"]:
        root, format, share, shares = sys.argv[2:]
        write(Path(root), "hdf5" if format == "hdf5" else "zarr", int(share), int(shares))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("trial", choices=["kill", "flip"])
    parser.add_argument("--count", type=int, help="kills or flips a setting (50; 1000)")
    parser.add_argument("--folder", type=Path, help="where to write (default: temporary)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder, prefix="trial-store-") as folder:
        for format in get_args(Format):
            if asked.trial == "flip":
                print(flip(Path(folder), format, asked.count or 1000), flush=True)
                continue
            for writers in (1, 2):
                print(kill(Path(folder), format, writers, asked.count or 50), flush=True)


if __name__ == "__main__":
    main()
