"""The long trial of decoding: randomly damaged copies of small files of every kind.

Run as ``PYTHONPATH=tests/bench python -P tests/bench/trial_media.py [--copies N] [--seed N]``.
Every copy is decoded whole and as a cut, in child processes that are watched from outside. It
prints what came of them by reason, and ends with an AssertionError at a crash, a copy that takes
more than a minute, an exception that is no MediaError, or more than 2 GB of memory.
"""

import argparse
import resource
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from counted_media import KINDS, write

from sedimental.extract.decode.header import read_header
from sedimental.extract.decode.media import MediaError, decode

PATIENCE, MEMORY = 60.0, 2e9
RATE, FPS = 16_000, 3.0


def damaged(data: bytes, random: np.random.Generator) -> bytes:
    """`data` with some of it changed, lost, doubled or moved."""
    spoiled = bytearray(data)
    for _ in range(int(random.integers(1, 4))):
        size = len(spoiled)
        if size < 64:
            break
        begin = int(random.integers(0, size))
        # heads matter more than their share
        begin = int(random.integers(0, min(size, 2_000))) if random.random() < 0.4 else begin
        length = min(size - begin, 2 ** int(random.integers(0, 12)))
        way = random.integers(0, 6)
        if way == 0:
            spoiled[begin : begin + length] = random.bytes(length)
        elif way == 1:
            spoiled[begin] ^= 1 << int(random.integers(0, 8))
        elif way == 2:
            spoiled[begin : begin + length] = bytes(length)
        elif way == 3:
            del spoiled[begin : begin + length]
        elif way == 4:
            spoiled[begin:begin] = spoiled[begin : begin + length]
        else:
            del spoiled[max(64, begin) :]
    return bytes(spoiled)


def outcome(path: Path, start: float | None, end: float | None) -> str:
    """What comes of decoding, in words without numbers."""
    try:
        media = decode(path, start, end, {FPS: lambda _: None}, [RATE])
    except MediaError as fault:
        return str(fault).split(":")[0].split("(")[0]
    lengths = [len(wave.samples) / RATE for wave in media.waveforms.values()]
    assert all(length < 600 for length in lengths), lengths
    if not media.faults:
        return "features, and a note" if media.notes else "features"
    return "; ".join(
        f"{m}: {why.split(':')[0].split(' at ')[0]}" for m, why in media.faults.items()
    )


def child(folder: Path, first: int, last: int, seed: int) -> None:
    """Decode copies one after the other; a line before and after each."""
    files = sorted(folder.glob("whole.*"))
    copy = folder / f"copy-{first}"
    for number in range(first, last):
        random = np.random.default_rng([seed, number])
        file = files[number % len(files)]
        path = copy.with_suffix(file.suffix)
        path.write_bytes(damaged(file.read_bytes(), random))
        print("begin", number, file.name, flush=True)
        began = time.process_time()
        read_header(path)
        found = {outcome(path, None, None), outcome(path, 2.33, 4.4)}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        took = f"{time.process_time() - began:.2f}"
        said = " | ".join(sorted(found))
        print("end", number, took, round(peak / 1e6), said, sep="\t", flush=True)
        path.unlink()


def watched(folder: Path, first: int, last: int, seed: int, told: Counter[str]) -> list[str]:
    """Run copies in children until all are done; what went wrong, a line each."""
    wrong: list[str] = []
    slowest, largest = 0.0, 0
    while first < last:
        command = [sys.executable, "-P", __file__, "--child", str(folder), str(first), str(last)]
        command += ["--seed", str(seed)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        ) as run:
            assert run.stdout is not None
            assert run.stderr is not None
            current = f"{first}"
            while True:
                ready, _, _ = select.select([run.stdout], [], [], PATIENCE)
                line = run.stdout.readline().decode() if ready else ""
                if not ready:
                    run.kill()
                    wrong.append(f"copy {current}: no answer for {PATIENCE:.0f} s")
                if not line:
                    break
                if line.startswith("begin"):
                    current = line[6:].strip()
                    first = int(current.split()[0]) + 1
                else:
                    _, _, seconds, size, reasons = line.rstrip("\n").split("\t")
                    slowest = max(slowest, float(seconds))
                    largest = max(largest, int(size))
                    told[reasons] += 1
            run.wait()
            if run.returncode not in (0, -9):
                last_words = run.stderr.read().decode().strip().splitlines()[-1:]
                wrong.append(f"copy {current}: exit {run.returncode} {last_words}")
    print(f"slowest copy {slowest:.1f} processor seconds, largest process {largest} MB", flush=True)
    if largest * 1e6 > MEMORY:
        wrong.append(f"{largest} MB of memory")
    return wrong


def main() -> None:
    """Make the files, and try."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--copies", type=int, default=3_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", nargs=3)
    asked = parser.parse_args()
    if asked.child:
        folder, first, last = asked.child
        return child(Path(folder), int(first), int(last), asked.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind_name, kind in KINDS.items():
            write(folder / f"whole.{kind_name}.{kind.suffix}", kind, 0.0)
        told: Counter[str] = Counter()
        wrong: list[str] = []
        for first in range(0, asked.copies, 500):
            last = min(asked.copies, first + 500)
            wrong += watched(folder, first, last, asked.seed, told)
    for reasons, count in told.most_common():
        print(f"{count:6d}  {reasons}")
    print(f"{sum(told.values())} of {asked.copies} copies ended as features or a reason")
    for line in wrong:
        print("WRONG", line)
    assert not wrong


if __name__ == "__main__":
    main()
