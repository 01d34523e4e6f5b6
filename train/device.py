"""The device that runs are trained on, and how many threads of the CPU they take."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..errors import RunError
from .distributed.launcher import launched


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
