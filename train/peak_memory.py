"""The most memory that a run took."""

import sys
from pathlib import Path

import torch

_PROCESS = Path("/proc/self")


def forget_peak(device: torch.device) -> None:
    """Let `peak_memory` speak of what comes from now on; without effect where a system keeps it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif (_PROCESS / "clear_refs").is_file():
        try:
            (_PROCESS / "clear_refs").write_text("5")
        except OSError:  # a container may forbid it: the peak is then that of the process so far
            return


def peak_memory(device: torch.device) -> int:
    """Most bytes at a time since `forget_peak`: on the GPU, or of this process and all it holds.

    The features that a process keeps for several runs count in each of them.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = _PROCESS / "status"
    if status.is_file():
        lines = (line.split() for line in status.read_text().splitlines())
        found = [1024 * int(words[1]) for words in lines if words[:1] == ["VmHWM:"]]
        if found:
            return found[0]
    import resource  # which Windows lacks

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
