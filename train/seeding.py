"""Every random stream of a run, derived from its one seed and independent of the others."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

Purpose = Literal["init", "order", "dropout", "masking"]


def derive(seed: int, purpose: Purpose, epoch: int = 0) -> int:
    """63-bit seed of one stream.

    Each epoch has streams of its own, so that an epoch can be repeated without those before it.
    """
    digest = hashlib.blake2b(f"{seed}:{purpose}:{epoch}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


def stream(
    seed: int, purpose: Purpose, epoch: int = 0, device: str | torch.device = "cpu"
) -> torch.Generator:
    """A generator on `device` for one purpose in one epoch."""
    return torch.Generator(device).manual_seed(derive(seed, purpose, epoch))


@contextmanager
def global_stream(seed: int, purpose: Purpose, epoch: int, device: torch.device) -> Iterator[None]:
    """PyTorch's global generators seeded within, and as they were before afterwards.

    For what takes no generator of its own: dropout.
    """
    value = derive(seed, purpose, epoch)
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        # not torch.manual_seed: it would reach GPUs that are not restored afterwards
        torch.default_generator.manual_seed(value)
        if on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(value)
        yield
