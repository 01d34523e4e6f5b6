"""Fuzz the readers one after another, and say what was found: `python -m fuzz [READER …]`.

Every case is read in a child process with limits of time and memory. A death, a traceback, a hang
or too much memory is a finding: the file is kept, and the exit code is 1.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .findings import KINDS, WORDS, keep_finding
from .readers import READERS

FOUND = Path(__file__).parent.parent.parent / "tests" / "fuzz" / "found"


def main() -> int:
    """Run, print a line a reader, keep findings."""
    options = argparse.ArgumentParser("fuzz", description=__doc__)
    options.add_argument("readers", nargs="*", metavar="READER", help=", ".join(READERS))
    options.add_argument("--minutes", type=float, default=1.0, help="of each reader")
    options.add_argument("--cases", type=int, default=10**9, help="at most, of each child process")
    options.add_argument("--seed", type=int, default=int(time.time()), help="of the mutations")
    options.add_argument("--keep", type=Path, default=FOUND, help="where findings are kept")
    given = options.parse_args()
    if unknown := sorted({*given.readers} - {*READERS}):
        options.error(f"no reader {', '.join(unknown)}; there are {', '.join(READERS)}")
    print(
        f"{'reader':12} {'cases':>8} {'a second':>8} {'read':>8} {'refused':>8} "
        f"{'slowest s':>9} {'most MB':>8} findings"
    )
    findings = 0
    for name in given.readers or READERS:
        findings += fuzz(name, given.minutes, given.seed, given.keep, given.cases)
    return 1 if findings else 0


def fuzz(name: str, minutes: float, seed: int, keep: Path, cases: int) -> int:
    """Fuzz one reader; returns how many findings there were."""
    until, started = time.monotonic() + 60 * minutes, 0
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        work = Path(folder)
        while (left := until - time.monotonic()) > 0 or not started:
            started += 1
            child = subprocess.run(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "fuzz.child",
                    name,
                    f"{seed}-{started}",
                    str(max(left, 1.0) / 60),
                    folder,
                    str(cases),
                ],
                env=os.environ,
                capture_output=True,
                text=True,
                errors="replace",
            )
            if child.returncode == 0:
                break
            if child.returncode > 0:  # no death, but a fault of the fuzzer or of a seed
                raise RuntimeError(f"{name}: {child.stderr}")
            keep_finding(work, _death(child))
        found = [_moved(one, keep / name) for one in sorted((work / KINDS).glob("*"))]
        tallies = [json.loads(t.read_text()) for t in work.glob("tally-*.json")]
    sums = {key: sum(t[key] for t in tallies) for key in ("cases", "read", "refused")}
    most = {key: max((t[key] for t in tallies), default=0) for key in ("slowest", "largest")}
    seconds = 60 * minutes - max(0.0, until - time.monotonic())
    print(
        f"{name:12} {sums['cases']:8} {sums['cases'] / seconds:8.0f} {sums['read']:8} "
        f"{sums['refused']:8} {most['slowest']:9.2f} {most['largest']:8.0f} {len(found)}",
        flush=True,
    )
    for one in found:
        print(f"  {one}", flush=True)
    return len(found)


def _death(child: "subprocess.CompletedProcess[str]") -> str:
    number = -child.returncode
    if number in (signal.SIGPROF, signal.SIGALRM):
        return "a hang"
    return f"killed by {signal.Signals(number).name}"


def _moved(finding: Path, keep: Path) -> str:
    """Put a finding where findings are kept, and say what it is."""
    if not (keep / finding.name).exists():
        shutil.copytree(finding, keep / finding.name)
    return f"{finding.name}: {(finding / WORDS).read_text(encoding='utf-8').splitlines()[0]}"


if __name__ == "__main__":
    sys.exit(main())
