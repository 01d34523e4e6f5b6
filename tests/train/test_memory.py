"""What a run is said to have taken."""

import subprocess
import sys

SCRIPT = """
import torch
from sedimental.train.device import forget_peak, peak_memory

cpu, mb = torch.device("cpu"), 10**6
larger = torch.ones(100 * mb // 4)
del larger
forget_peak(cpu)
before = peak_memory(cpu)
held = torch.ones(50 * mb // 4)
print(peak_memory(cpu) - before)
del held
print(peak_memory(cpu) - before)
"""


def test_the_peak_is_what_was_held_since_and_stays() -> None:
    """In a process of its own: one that has run before has memory to spare that it holds anyway."""
    command = [sys.executable, "-P", "-c", SCRIPT]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    held, after = (int(line) for line in told.split())
    assert 45e6 < held < 60e6
    assert abs(after - held) < 1e6
