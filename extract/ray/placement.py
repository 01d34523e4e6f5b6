"""Where the actors of `--engine ray` go: one a GPU; without GPUs, one per so many processors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...config import ConfigError

CPUS_AN_ACTOR = 8
"""Processors of an actor without a GPU: more threads than that do not help one encoder much."""


@dataclass(frozen=True)
class Place:
    """What one actor is given on one machine."""

    node: str
    """Ray's id of the machine."""
    host: str
    cpus: int
    gpu: bool


def places(nodes: Sequence[Mapping[str, Any]], device: str, actors: int | None) -> list[Place]:
    """A place for every actor, machines taking turns, of `ray.nodes()`.

    Processors of a machine are shared out evenly among its actors. Raises ConfigError for a
    `device` that Ray does not see, or for more `actors` than there is room for.
    """
    if device.startswith("cuda:"):
        raise ConfigError(
            f'extract.device = "{device}" names one GPU, and --engine ray takes every GPU that Ray '
            'sees. Say "auto", or "cuda".'
        )
    alive = [node for node in nodes if node["Alive"]]
    gpus = [] if device == "cpu" else [_amount(node, "GPU") for node in alive]
    if any(gpus):
        room, unit = gpus, "GPUs"
        wanted = gpus
    elif device == "cuda":
        raise ConfigError('extract.device = "cuda": Ray sees no GPU. Say "auto" or "cpu".')
    else:
        room, unit = [_amount(node, "CPU") for node in alive], "processors"
        wanted = [min(cpus, max(1, cpus // CPUS_AN_ACTOR)) for cpus in room]
    if not any(room):
        raise ConfigError(
            "--engine ray: Ray sees neither GPUs nor processors that are free to use."
        )
    if actors is not None:
        if actors > sum(room):
            raise ConfigError(f"--actors {actors}: Ray sees {sum(room)} {unit}, and one needs one.")
        wanted = _dealt(room, actors)
    turns = list[tuple[int, Place]]()
    for node, count in zip(alive, wanted, strict=True):
        for turn in range(count):
            # beside a GPU an actor may have no processor to itself, and still needs one
            cpus = _amount(node, "CPU") // count
            place = Place(node["NodeID"], node["NodeManagerHostname"], cpus, any(gpus))
            turns.append((turn, place))
    return [place for _, place in sorted(turns, key=lambda each: each[0])]


def _amount(node: Mapping[str, Any], resource: str) -> int:
    return int(node["Resources"].get(resource, 0.0))


def _dealt(room: Sequence[int], actors: int) -> list[int]:
    """`actors` over machines with `room` for so many, each to the one with most left for each.

    >>> _dealt([8, 2], 5), _dealt([1, 1, 4], 3)
    ([4, 1], [0, 0, 3])
    """
    counts = [0] * len(room)
    for _ in range(actors):
        best = max(range(len(room)), key=lambda k: (room[k] / (counts[k] + 1), -counts[k]))
        counts[best] += 1
    return counts
