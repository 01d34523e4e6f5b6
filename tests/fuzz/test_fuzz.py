"""No reader of files crashes, hangs or fills the memory: a slice of `make fuzz`."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_all_that_was_ever_found_and_a_few_more() -> None:
    """Files in `found` broke a reader once; the mutations are the same each time."""
    paths = [str(ROOT / "tools"), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "fuzz.quick", "25"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
