"""Clips decoded ahead of the device: a pool of threads, bounded in what it may have waiting."""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ...cache.manifest import Clip
from ..decode.clip_error import clip_error
from ..decode.media import Media, decode
from ..faces.frame_chunks import Collector
from ..stage_times import Clock
from .stream import Stream

WAITING = 2
"""Pieces of one clip that may wait for the device; then its decoding pauses."""


@dataclass(frozen=True)
class Job:
    """A clip and what it is decoded for."""

    clip: Clip
    stores: tuple[int, ...]
    """Indices of the stores that want it."""
    streams: tuple[Stream, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Event:
    """Something of a clip that one of its streams is to be given."""

    position: int
    """Of the stream among the job's."""
    content: Any = None
    """A piece; at the end what was prepared, or the ClipError why there is nothing."""
    last: bool = False
    notes: tuple[str, ...] = ()
    """What is not as it should be in the clip's file, and does no harm."""


Put = Callable[[Event], None]


class Closed(BaseException):
    """Nobody takes what is decoded any more; like Ctrl-C, it is no fault of the clip."""


def ahead(
    pool: ThreadPoolExecutor, jobs: Sequence[Job], work: Callable[[Job, Put], None], depth: int
) -> Iterator[tuple[Job, Iterator[Event]]]:
    """Jobs in order, each with its events as they come, up to `depth` jobs decoded beforehand.

    A job waits while `WAITING` of its events have not been taken, so memory depends neither on the
    length of a clip nor on the number of clips. The events of a job are to be taken to their end.
    """
    closed = threading.Event()
    waiting: deque[tuple[Job, queue.Queue[Event | None], Future[None]]] = deque()
    rest = iter(jobs)

    def submit() -> None:
        if (job := next(rest, None)) is not None:
            line: queue.Queue[Event | None] = queue.Queue(WAITING)
            waiting.append((job, line, pool.submit(_run, job, work, line, closed)))

    try:
        for _ in range(depth):
            submit()
        while waiting:
            # the first in line was started first, so it moves on whatever the others wait for
            job, line, future = waiting[0]
            yield job, iter(line.get, None)
            future.result()
            waiting.popleft()
            submit()
    finally:
        closed.set()
        for _, _, future in waiting:
            future.cancel()


def _run(
    job: Job,
    work: Callable[[Job, Put], None],
    line: "queue.Queue[Event | None]",
    closed: threading.Event,
) -> None:
    def put(event: Event | None) -> None:
        while not closed.is_set():
            try:
                return line.put(event, timeout=0.2)
            except queue.Full:
                continue
        raise Closed

    try:
        work(job, put)
    except Closed:
        return
    finally:
        if not closed.is_set():
            put(None)


def decode_job(job: Job, put: Put, root: Path, clock: Clock) -> None:
    """One pass over the clip's file for all its streams.

    Whatever goes wrong in it is the last event of the streams that it concerns, never raised.
    """
    began, waited = time.perf_counter(), 0.0

    def hand_on(
        position: int, content: Any, last: bool = False, notes: tuple[str, ...] = ()
    ) -> None:
        nonlocal waited
        before = time.perf_counter()
        put(Event(position, content, last, notes))
        waited += time.perf_counter() - before

    clip = job.clip
    collectors: dict[int, Collector] = {}
    media, fault = dict[int | None, Media](), None
    try:
        for position, (stream, source) in enumerate(zip(job.streams, job.sources, strict=True)):
            if stream.fps is not None:
                collectors[position] = stream.collect(source, partial(hand_on, position))
        for track in {s.track for s in job.streams if s.reads_media}:  # nearly always one: None
            by_rate: dict[float, list[Collector]] = {}
            for position, collector in collectors.items():
                stream = job.streams[position]
                if stream.track == track and stream.fps is not None:
                    by_rate.setdefault(stream.fps, []).append(collector)
            sinks = {fps: _fan(takers) for fps, takers in by_rate.items()}
            rates = {s.rate for s in job.streams if s.rate is not None and s.track == track}
            path = root / (clip.media or "")
            media[track] = decode(path, clip.start, clip.end, sinks, rates, track)
    except Exception as raised:
        fault = clip_error("decode", raised)
    for position, stream in enumerate(job.streams):
        prepared: Any = None
        try:
            if fault is not None and stream.reads_media:
                raise fault
            if position in collectors:
                collectors[position].rest()
            prepared = stream.prepare(clip, media.get(stream.track, Media()))
        except Exception as raised:
            prepared = clip_error("prepare", raised)
        # what was noted of the file concerns all streams, and is told once
        file_notes = tuple(note for m in media.values() for note in m.notes) if not position else ()
        hand_on(position, prepared, True, file_notes)
    clock.add("decode", time.perf_counter() - began - waited, 1)


def _fan(takers: Sequence[Collector]) -> Callable[[Any], None]:
    def take(image: Any) -> None:
        for taker in takers:
            taker.take(image)

    return take
