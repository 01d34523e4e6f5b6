"""`import`, `convert` and `rm` killed at random system calls; bench_kills.py does it 50 times."""

import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "bench" / "bench_kills.py"


def test_what_a_killed_command_leaves_is_whole_or_not_there() -> None:
    command = [sys.executable, "-P", str(BENCH), "--kills", "4", "--seed", "7"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert told.stdout.count("whole or not there each time") == 3
