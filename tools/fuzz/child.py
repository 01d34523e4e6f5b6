"""The process that reads mutated files: one reader, case after case, until its time is up.

What it is about to read lies in the work folder before it reads it, so that a death is no loss. It
ends with 0 when the time is up, else with what killed it; a traceback is an answer of its own.
"""

import json
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

from .findings import keep_finding
from .mutate import mutated
from .readers import READERS, Reader

SECONDS = 20
"""Of a processor, that one case may take; ten times that by the clock."""
GUARD = 4 << 30
"""Bytes of address space beyond those at the start: a last stop before the machine's memory."""
ALLOWED = 200 * 10**6
RATIO = 4


def main() -> int:
    """`child READER SEED MINUTES WORK [CASES]`."""
    name, seed, minutes, folder, *rest = sys.argv[1:]
    reader, work = READERS[name], Path(folder)
    by, until = random.Random(f"{name}{seed}"), time.monotonic() + 60 * float(minutes)
    good = work / "good"
    if not good.is_dir():
        good.mkdir(parents=True)
        reader.seed(good)
    reader.read(good)  # imports everything, and must be right
    resource.setrlimit(resource.RLIMIT_AS, (_size("VmSize") + GUARD,) * 2)
    tally = new_tally()
    while time.monotonic() < until and tally["cases"] < int(rest[0] if rest else 10**9):
        mutated_case(reader, work, by, tally)
        if tally["cases"] % 50 == 0:
            _tell(work, tally)
    _tell(work, tally)
    return 0


def new_tally() -> dict[str, float]:
    """Nothing counted yet."""
    return {"cases": 0, "read": 0, "refused": 0, "slowest": 0.0, "largest": 0.0}


def mutated_case(reader: Reader, work: Path, by: random.Random, tally: dict[str, float]) -> None:
    """Mutate one of the files in `work`/good, and read the result."""
    case, good = work / "case", work / "good"
    original = by.choice(sorted(p for p in good.rglob("*") if p.is_file()))
    file = case / original.relative_to(good)
    shutil.rmtree(case, ignore_errors=True)
    if reader.alone:
        file.parent.mkdir(parents=True)
    else:
        shutil.copytree(good, case)
    if reader.remake is not None and by.random() < 0.6:
        file = case / "odd.pkl"
        file.write_bytes(reader.remake(by))
    else:
        file.write_bytes(mutated(original.read_bytes(), by, reader.words))
    (work / "file").write_text(str(file.relative_to(case)))
    tally["cases"] += 1
    check(reader, work, case, file, tally)


def check(reader: Reader, work: Path, case: Path, file: Path, tally: dict[str, float]) -> None:
    """Read a case under limits, and keep it if it is a finding."""
    from sedimental.errors import SedimentalError

    _reset_peak()
    before, size, began = _size("VmRSS"), file.stat().st_size, time.process_time()
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # kills: a handler would wait for C code
    signal.alarm(10 * SECONDS)
    try:
        reader.read(case)
        tally["read"] += 1
    except SedimentalError:
        tally["refused"] += 1
    except BaseException as fault:
        if isinstance(fault, reader.also):
            tally["refused"] += 1
        else:
            keep_finding(work, traceback.format_exc())
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
    tally["slowest"] = max(tally["slowest"], time.process_time() - began)
    grown = _size("VmHWM") - before
    tally["largest"] = max(tally["largest"], grown / 1e6)
    if grown > ALLOWED + RATIO * size:
        keep_finding(work, f"{grown / 1e6:.0f} MB for a file of {size} bytes")


def _tell(work: Path, tally: dict[str, float]) -> None:
    temporary = work / f"tally-{os.getpid()}.tmp"
    temporary.write_text(json.dumps(tally))
    temporary.rename(work / f"tally-{os.getpid()}.json")


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _size(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


if __name__ == "__main__":
    sys.exit(main())
