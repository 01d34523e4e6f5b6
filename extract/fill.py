"""One clip's life in extraction, from its file to its stores, top to bottom.

What is to be done is known by now: which clips each store lacks (`survey`), and in which order and
parts they come (`plan.passes`). Then, for every clip:

1. decode: one pass over its file for all stores that want it, some clips ahead of the device
   (`streams.prefetch`: `ahead`, `decode_job`). In the same thread each store's stream makes of
   pictures and sound what its encoder takes (`Stream.collect`, `Stream.prepare`).
2. encode: the streams take what was made, pieces of long clips as they come (`Stream.take`) and the
   rest at the clip's end (`Stream.add`), and batch it with other clips on the device.
3. write: with the last clip of a part the stream gives all that part's features and failures
   (`Stream.finish`), and the writing thread puts them into the store (`StoreWriter.add`).

A fault ends one clip in one store; it stands among the `failures` of that store's `Work`.
"""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from numpy.typing import NDArray

from ..cache.face_boxes import BoxStore
from ..config import Config
from ..progress import Progress, duration_text
from .decode.clip_error import ClipError, clip_error
from .doctor import Diagnosis, timed
from .encoders.device import ComputeDevice
from .encoders.loading import EncoderError
from .estimate import measure
from .plan import passes
from .stage_times import Clock
from .streams.background_writer import StoreThread
from .streams.encoded import Chunk
from .streams.prefetch import Event, Job, ahead, decode_job
from .streams.reference_input import independence
from .streams.vision import VisionStream
from .survey import Survey, Work, decoders, workers
from .terminal import faster_text

WORTH_A_PROBE = 64
"""Clips from which on it is measured beforehand how long they will take."""


def fill(found: Survey, clock: Clock, progress: Progress, estimate: Diagnosis | None) -> None:
    """Extract what any store lacks; tell how long that takes, if there is a plan to `estimate`."""
    pairs = zip(found.works, found.todo, strict=True)
    lacking = [(work, todo) for work, todo in pairs if todo.wanted]
    works, todos = [work for work, _ in lacking], [todo for _, todo in lacking]
    if not works:
        return
    config = found.config
    clock.stage("decode", "clips", workers(config))
    for work, todo in lacking:
        progress.start(work.name, len(todo.wanted))
    _load(works, config, clock, progress)
    clock.stage("write", "MB")
    if estimate and max(len(todo.wanted) for todo in todos) >= WORTH_A_PROBE:
        plan = timed(estimate, measure(found, load=False))
        duration = duration_text(plan.seconds or 0) + faster_text(plan)
        progress.note(f"about {duration} on {estimate.device}")
    read = partial(decode_job, root=found.manifest.root, clock=clock)
    with decoders(config) as pool, StoreThread() as storer:
        for each in passes(found.sized, todos, config.cache):
            jobs = [
                Job(
                    clip,
                    stores,
                    tuple(works[n].stream for n in stores),
                    tuple(works[n].sources[clip.id] for n in stores),
                )
                for clip, stores in each.jobs
            ]
            opened: dict[int, float] = {}
            """When the first clip came of each store's part that is not written yet."""
            for job, events in ahead(pool, jobs, read, 2 * workers(config)):
                for store in job.stores:
                    opened.setdefault(store, time.monotonic())
                for event in events:
                    _take(job, event, works[job.stores[event.position]], progress)
                    for note in event.notes:
                        progress.note(f"{job.clip.id}: {note}")
                    if event.notes:
                        found.noted[job.clip.id] = event.notes
                latest = time.monotonic() - config.cache.part_seconds
                for store, when in sorted(opened.items()):
                    if when <= latest or job.clip.id in each.ends[store]:
                        _flush(works[store], storer, clock, progress)
                        del opened[store]


def _load(works: Sequence[Work], config: Config, clock: Clock, progress: Progress) -> None:
    """Load the encoders, and find out on fixed inputs whether and how they can be used."""
    arithmetic = ComputeDevice.of(config.extract, config.cache.dtype)
    faces = [work.stream for work in works if isinstance(work.stream, VisionStream)]
    for number, stream in enumerate(faces):  # the same frames are looked through once
        if same := [s for s in faces[:number] if s.detection == stream.detection]:
            stream.share(same[0])
    damaged = [file for stream in faces if stream.boxes for file in stream.boxes.damaged]
    for file in dict.fromkeys(damaged):
        progress.note(f"warning: {file}: damaged; the faces it held are looked for again")
    clock.stage("load", "encoders")
    for work in works:
        with clock.busy("load", 1):
            work.stream.load(arithmetic, clock)
            if line := independence(work.stream, work.writer, bool(work.held)):
                progress.note(line)
            if warning := work.writer.probe(_reference(work)):
                progress.note(f"warning: {warning}")


def _take(job: Job, event: Event, work: Work, progress: Progress) -> None:
    """One piece, or the end, of a clip to the stream it is for; a fault ends this clip alone."""
    source, clip, content = job.sources[event.position], job.clip, event.content
    if clip.id not in work.failures:  # else an earlier piece of it has failed
        try:
            if isinstance(content, ClipError):
                raise content
            take = work.stream.add if event.last else work.stream.take
            take(clip, source, content)
        except Exception as fault:
            work.stream.drop(clip)
            _failed(work, clip.id, clip_error("encode", fault), progress)
    if event.last:
        progress.advance(work.name)


def _failed(work: Work, id_: str, fault: ClipError, progress: Progress) -> None:
    work.failures[id_] = fault
    progress.note(f"{id_}: no {work.stream.spec.modality}: {fault.reason}")


def _flush(work: Work, storer: StoreThread, clock: Clock, progress: Progress) -> None:
    """A part is full: encode what is still queued, and hand everything to the writing thread."""
    chunk = work.stream.finish()
    if any(fault.unforeseen for fault in chunk.failures.values()):
        _reference(work)  # where that fails too, not the clips are at fault
    for id_, fault in chunk.failures.items():
        _failed(work, id_, fault, progress)
    boxes = work.stream.boxes if isinstance(work.stream, VisionStream) else None
    storer.put(partial(_write, work, chunk, boxes, clock))


def _reference(work: Work) -> NDArray[Any]:
    """Features of the reference input; raises EncoderError where not even that has any."""
    try:
        return work.stream.reference()
    except EncoderError:
        raise
    except Exception as fault:
        reason = clip_error("encode", fault).reason
        raise EncoderError(
            f"{work.name}: the encoder fails on every input: {reason}. What is stored "
            "stays; start again once the device or its memory is free."
        ) from fault


def _write(work: Work, chunk: Chunk, boxes: BoxStore | None, clock: Clock) -> None:
    size = sum(clip.values.nbytes for clip in chunk.features) / 1e6
    with clock.busy("write", size):
        if boxes is not None:
            boxes.add(chunk.found)
        if chunk.features:
            work.writer.add(chunk.features)
