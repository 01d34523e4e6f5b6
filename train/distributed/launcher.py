"""What a launcher of several processes says to each of them, by environment variables.

`torchrun`, `accelerate launch` and others set the same ones.
"""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Launch:
    """One of several processes that were started to train together."""

    rank: int
    """Its number among `world`, from 0."""
    world: int
    local_rank: int
    """Its number among `local_world`, those of its machine."""
    local_world: int


def launched() -> Launch | None:
    """Who this process is, if it is one of several.

    It is not while MASTER_ADDR is missing: then nobody said where the others are.
    """
    found = os.environ
    world = int(found.get("WORLD_SIZE", "1"))
    if world == 1 or "RANK" not in found or "MASTER_ADDR" not in found:
        return None
    rank = int(found["RANK"])
    local_world = int(found.get("LOCAL_WORLD_SIZE", world))
    return Launch(rank, world, int(found.get("LOCAL_RANK", rank % local_world)), local_world)
