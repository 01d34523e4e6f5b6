"""How the processes that a launcher has started find each other, and how they end together."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from ...errors import RunError, SedimentalError
from .launcher import launched
from .ranks import SINGLE_PROCESS, Ranks
from .sigterm import EXIT_CODE, Preempted

PATIENCE = timedelta(minutes=30)
"""How long the others wait for a process: for one that writes a checkpoint, say."""
GRACE = 1.0
"""Seconds that those which follow stay: a launcher ends all processes as soon as one ends, and the
first is to tell its fault before."""


class SecondaryExit(SedimentalError):
    """Another process has told already why all of them end."""

    reported = True

    def __init__(self, code: int) -> None:
        """`code` is the exit code of the command."""
        super().__init__("another process told why training ends")
        self.code = code


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """This process among those that a launcher has started, which train on devices like `device`.

    Without a launcher it is alone. What they agree on goes over the CPU, so that it never waits for
    a GPU; gradients go from GPU to GPU. Of a fault in any of them the first to meet it raises it,
    and the others, which meet it sooner or later, raise SecondaryExit.
    """
    launch = launched()
    if launch is None:
        yield SINGLE_PROCESS
        return
    backend = "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    found, rank, world = next(rendezvous("env://", launch.rank, launch.world))
    # a name for each time, lest one finds where the others were the last time
    times = found.add(f"sedimental/joined/{rank}", 1)
    store = dist.PrefixStore(f"sedimental/{times}", found)  # type: ignore[attr-defined]
    dist.init_process_group(backend, timeout=PATIENCE, store=store, rank=rank, world_size=world)
    leave = True
    try:
        yield Ranks(rank, world)
    except Exception as fault:
        # nccl may wait for ever for one that is gone
        leave = backend == "gloo" or isinstance(fault, Preempted)
        if not _first(store):
            time.sleep(GRACE)
            raise SecondaryExit(EXIT_CODE if isinstance(fault, Preempted) else 1) from fault
        if isinstance(fault, RuntimeError) and _lost(fault):
            raise RunError(
                f"process {rank} of {world} has lost another one, which ended without a word; the "
                "system may have run out of memory. `train` goes on from the last checkpoint. "
                f"({fault})"
            ) from fault
        raise
    finally:
        if leave:
            dist.destroy_process_group()


def _first(store: Any) -> bool:
    """Whether no other process has met a fault yet."""
    try:
        return bool(store.add("faults", 1) == 1)
    except RuntimeError:  # the process that kept the store is gone
        return True


def _lost(fault: RuntimeError) -> bool:
    """Whether it is about the connection, which has no type of its own with gloo."""
    return isinstance(fault, dist.DistError) or "gloo" in str(fault)
