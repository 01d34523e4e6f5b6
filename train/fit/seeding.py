"""Every random stream of a run, derived from its one seed and independent of the others."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor

from ..distributed.ranks import Ranks

Purpose = Literal["init", "order", "dropout", "masking"]


def derive(seed: int, purpose: Purpose, epoch: int = 0, rank: int = 0) -> int:
    """63-bit seed of one stream.

    Each epoch has streams of its own, so that an epoch can be repeated without those before it;
    so has each of the processes that train one model together.
    """
    text = f"{seed}:{purpose}:{epoch}" + (f":{rank}" if rank else "")
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def stream(
    seed: int, purpose: Purpose, epoch: int = 0, device: str | torch.device = "cpu"
) -> torch.Generator:
    """A generator on `device` for one purpose in one epoch."""
    return torch.Generator(device).manual_seed(derive(seed, purpose, epoch))


@contextmanager
def global_stream(
    seed: int, purpose: Purpose, epoch: int, device: torch.device, rank: int = 0
) -> Iterator[None]:
    """PyTorch's global generators seeded within, and as they were before afterwards.

    For what takes no generator of its own: dropout.
    """
    value = derive(seed, purpose, epoch, rank)
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        # not torch.manual_seed: it would reach GPUs that are not restored afterwards
        torch.default_generator.manual_seed(value)
        if on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(value)
        yield


class Streams:
    """The random streams that one epoch of training draws from, and where they stand.

    They are `masking`, and PyTorch's global generators for what takes none of its own: dropout.
    """

    def __init__(self, masking: torch.Generator, ranks: Ranks) -> None:
        """`masking` lies on the device of the training, and is the same in each of the `ranks`."""
        self.masking, self.ranks = masking, ranks

    def state(self) -> dict[str, Tensor]:
        """What `restore` needs, by name: (processes, bytes) uint8, on the CPU."""
        found = {"masking": self.masking.get_state(), "cpu": torch.default_generator.get_state()}
        if self.masking.device.type == "cuda":
            found["cuda"] = torch.cuda.get_rng_state(self.masking.device)
        return {name: self.ranks.stacked(value) for name, value in found.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from where `state` was taken.

        Where that was on a device of another type no stream could go on, and the epoch's begin
        anew; likewise the global ones where there were more or fewer processes.
        """
        if ("cuda" in state) != (self.masking.device.type == "cuda"):
            return
        self.masking.set_state(state["masking"][0].clone())
        if len(state["cpu"]) == self.ranks.count:
            # clones: PyTorch 2.11 crashes on a state that begins within a larger tensor
            own = {name: value[self.ranks.rank].clone() for name, value in state.items()}
            torch.default_generator.set_state(own["cpu"])
            if "cuda" in own:
                torch.cuda.set_rng_state(own["cuda"], self.masking.device)
