"""What a run is said to have taken."""

import torch

from sedimental.train.memory import forget_peak, peak_memory

CPU = torch.device("cpu")
MB = 10**6


def test_the_peak_counts_what_was_held_and_no_more() -> None:
    forget_peak(CPU)
    before = peak_memory(CPU)
    held = torch.ones(50 * MB // 4)
    assert 45 * MB < peak_memory(CPU) - before < 80 * MB
    del held
    assert peak_memory(CPU) - before > 45 * MB  # a peak stays
