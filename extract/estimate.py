"""How long an extraction takes, from a few seconds of one of its own clips."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..cache.manifest import Clip
from .decode.clip_error import ClipError
from .encoders.device import ComputeDevice
from .plan import ordered
from .stage_times import Clock
from .streams.prefetch import Event, Job, decode_job
from .survey import Survey, Work

SECONDS = 2.0
"""Of the clip that is tried."""
TRIES = 3


def measure(found: Survey, load: bool = True) -> Mapping[str, float]:
    """Seconds a frame of each store that lacks clips, by its folder's name; `""`: a clip to read.

    Loads the encoders one after the other (unless they are loaded), and tries the corpus's clips of
    middle length until one gives features. A store none of them gives any is left out. Raises
    EncoderError for weights that cannot be loaded.
    """
    speed: dict[str, float] = {}
    for work, todo in zip(found.works, found.todo, strict=True):
        clips = [s for s in ordered(found.sized) if s.clip.id in todo.wanted]
        middle = [s.clip for s in clips[len(clips) // 2 :][:TRIES]]
        if not middle:
            continue
        if load:
            work.stream.load(ComputeDevice.of(found.config.extract), Clock())
        for clip in middle:
            try:
                took, frames, reading = _try(work, _short(clip), found)
            except Exception:  # it fails in the run, where it is named with its reason
                work.stream.drop(clip)
                continue
            speed[work.writer.path.name] = took / frames
            speed[""] = max(speed.get("", 0.0), reading)
            break
    return speed


def _short(clip: Clip) -> Clip:
    if not clip.media:
        return clip
    start = clip.start or 0.0
    end = start + SECONDS
    return replace(clip, end=end if clip.end is None else min(end, clip.end))


def _try(work: Work, clip: Clip, found: Survey) -> tuple[float, int, float]:
    """Seconds on the device, frames, and seconds of reading."""
    stream, events, clock = work.stream, list[Event](), Clock()
    clock.stage("decode", "clips")
    source = work.sources[clip.id]
    decode_job(Job(clip, (0,), (stream,), (source,)), events.append, found.manifest.root, clock)
    taken = 0.0
    chunk: Any = None
    for _ in range(2):  # the first time is not like the others: memory, kernels
        began = time.perf_counter()
        for event in events:
            if isinstance(event.content, ClipError):
                stream.drop(clip)
                raise event.content
            if event.last:
                stream.add(clip, source, event.content)
            else:
                stream.take(clip, source, event.content)
        chunk = stream.finish()
        taken = time.perf_counter() - began
        if chunk.failures:
            raise chunk.failures[clip.id]
    return taken, max(1, chunk.frames), clock.stages(1.0)[0].busy
