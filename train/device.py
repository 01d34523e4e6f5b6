"""What runs are trained on: the device, threads of the CPU, and the most memory they took."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ..errors import RunError
from .distributed.launcher import launched

_PROCESS = Path("/proc/self")


def find_device(name: str) -> torch.device:
    """The device that `train.device` means; raises RunError if there is none such.

    Of processes that train together each has a GPU of its own: that of its number, or the only one
    that it sees.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device, launch, count = torch.device(name), launched(), torch.cuda.device_count()
    if device.type != "cuda":
        return device
    number = device.index or 0
    if launch is not None:
        if device.index is not None:
            raise RunError(
                f'train.device: "{name}" is one GPU, and {launch.world} processes are to share it. '
                'device = "auto" gives each its own.'
            )
        number = launch.local_rank if count > 1 else 0
    if number >= count:
        remedy = 'device = "auto" takes what there is.'
        if launch is not None and count:
            remedy = "Start as many processes as there are GPUs."
        raise RunError(
            f'train.device: "cuda:{number}" is not there; PyTorch sees {count} GPUs. {remedy}'
        )
    return torch.device("cuda", number)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """PyTorch on `count` CPU threads within, as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
