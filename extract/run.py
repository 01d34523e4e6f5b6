"""Stage 1 from end to end: reader -> encoder -> writer, all three at work at once."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..cache.face_boxes import BoxStore
from ..cache.failures import FAILURES, Failure, forget_failures, write_failures
from ..cache.manifest import Manifest, write_manifest
from ..cache.store.store import Store, open_store
from ..config import Config
from ..progress import Progress, Silent, duration_text
from .decode.clip_error import ClipError, clip_error
from .decode.media_files import Check
from .doctor import Diagnosis, diagnose, refuse, timed
from .encoders.device import ComputeDevice
from .encoders.loading import EncoderError
from .engine import Engine
from .estimate import measure
from .plan import Pass, passes
from .result import ExtractResult, StoreOutcome, outcome_of
from .shards import Shard
from .stage_times import Clock
from .streams.background_writer import StoreThread
from .streams.encoded import Chunk
from .streams.prefetch import Event, Job, ahead, decode_job
from .streams.reference_input import independence
from .streams.vision import VisionStream
from .survey import Survey, Work, decoders, survey, workers
from .terminal import faster_text
from .word_times.gather import gather, refuse_untimed, wanted

WORTH_A_PROBE = 64
"""Clips from which on it is measured beforehand how long they will take."""
Announce = Callable[[Diagnosis], None]
"""Is told what is about to be done, before it begins."""


def extract(
    config: Config,
    progress: Progress | None = None,
    shard: Shard | None = None,
    announce: Announce | None = None,
    manifest: Manifest | None = None,
    engine: Engine | None = None,
    check: Check = "stat",
) -> ExtractResult:
    """Fill every store that [[features]] describes; what is there already is not made again.

    The clips are those of [corpus], or of a `manifest` that is handed over. With a `shard` only
    that share of them; the store is complete once all shares are done. An `engine` other than this
    process (`RayEngine`) does what is between survey and stocktaking. `check` says how closely
    media files are compared with what they were. Clips that fail are listed in the result and in
    failures.csv beside the stores; everything else is stored all the same. Raises ConfigError,
    ManifestError, EncoderError or StoreError where nothing can be extracted at all, and before
    anything is loaded where the disk is too small.
    """
    began = time.monotonic()
    progress, clock = progress or Silent(), Clock()
    engine = engine or LocalEngine(config)
    found = survey(config, shard, manifest=manifest, check=check, progress=progress)
    refuse_untimed(config, found.manifest)
    diagnosis = None if found.idle else engine.diagnose(found)
    if diagnosis:
        if announce:
            announce(diagnosis)
        refuse(diagnosis)
    folder = config.corpus_cache
    write_manifest(folder / "manifest.jsonl", found.manifest)
    failures_file = folder / (shard.failures if shard else FAILURES)
    if shard and diagnosis:  # the other shares must not count what failed in an earlier run
        forget_failures(failures_file)
    untimed: tuple[Failure, ...] = ()
    try:
        if wanted(config, found.manifest):
            untimed = gather(config, found.manifest, found.mine, progress, shard)
        if diagnosis:
            engine.fill(found, diagnosis, clock, progress)
    finally:  # an interrupted run still says what it holds and what failed
        failures = _finish(found, failures_file, untimed)
    _keep_media(found, progress)
    seconds = time.monotonic() - began
    return ExtractResult(
        corpus=found.manifest.corpus,
        stores=(
            *(_outcome(work, found) for work in found.works),
            *(_imported(store, found) for store in found.imported),
        ),
        failures=failures,
        failures_file=failures_file,
        seconds=seconds,
        device=engine.device,
        stages=clock.stages(seconds),
        noted=found.noted,
    )


def _keep_media(found: Survey, progress: Progress) -> None:
    """Write down what the media files are, each read once as a whole: so a later change shows."""
    if found.media is None:
        return
    if new := found.media.unknown(found.mine):
        progress.start("media", len(new), "file")
    try:
        with decoders(found.config) as pool:
            found.media.keep(found.mine, pool, lambda: progress.advance("media"))
    except OSError as fault:  # the features are there all the same
        progress.note(f"warning: {fault.strerror or fault}: changes of media may be overlooked")


@dataclass(frozen=True)
class LocalEngine:
    """The engine that is this process, with its device and its decoding threads."""

    config: Config
    estimates: bool = True
    """Whether it tells how long a large corpus will take."""

    @property
    def device(self) -> str:
        """The device that [extract] asks for."""
        return str(ComputeDevice.of(self.config.extract).device)

    def diagnose(self, found: Survey) -> Diagnosis:
        """What this machine has to say of it."""
        return diagnose(found)

    def fill(self, found: Survey, diagnosis: Diagnosis, clock: Clock, progress: Progress) -> None:
        """Load the encoders, and extract until nothing is lacking."""
        _fill(found, clock, progress, diagnosis if self.estimates else None)


def _fill(found: Survey, clock: Clock, progress: Progress, estimate: Diagnosis | None) -> None:
    """Extract what any store lacks; tell how long that takes, if there is a plan to `estimate`."""
    works, config = found.works, found.config
    active = [(work, todo) for work, todo in zip(works, found.todo, strict=True) if todo.wanted]
    if not active:
        return
    arithmetic = ComputeDevice.of(config.extract, config.cache.dtype)
    depth = 2 * workers(config)
    clock.stage("decode", "clips", workers(config))
    share_finders([work for work, _ in active])
    streams = [work.stream for work, _ in active]
    stores = [s.boxes for s in streams if isinstance(s, VisionStream) and s.boxes is not None]
    for file in dict.fromkeys(file for boxes in stores for file in boxes.damaged):
        progress.note(f"warning: {file}: damaged; the faces it held are looked for again")
    clock.stage("load", "encoders")
    for work, todo in active:
        progress.start(work.name, len(todo.wanted))
        with clock.busy("load", 1):
            work.stream.load(arithmetic, clock)
            if line := independence(work.stream, work.writer, bool(work.held)):
                progress.note(line)
            if warning := work.writer.probe(_reference(work)):
                progress.note(f"warning: {warning}")
    clock.stage("write", "MB")
    if estimate and max(len(todo.wanted) for _, todo in active) >= WORTH_A_PROBE:
        found_out = timed(estimate, measure(found, load=False))
        duration = duration_text(found_out.seconds or 0) + faster_text(found_out)
        progress.note(f"about {duration} on {estimate.device}")
    chosen = [work for work, _ in active]
    with decoders(config) as pool, StoreThread() as storer:
        for one in passes(found.sized, [todo for _, todo in active], config.cache):
            jobs = [_job(one, n, chosen) for n in range(len(one.jobs))]
            read = partial(decode_job, root=found.manifest.root, clock=clock)
            opened: dict[int, float] = {}
            for job, events in ahead(pool, jobs, read, depth):
                for store in job.stores:
                    opened.setdefault(store, time.monotonic())
                for event in events:
                    _give(job, event, chosen, progress)
                    for note in event.notes:
                        progress.note(f"{job.clip.id}: {note}")
                    if event.notes:
                        found.noted[job.clip.id] = event.notes
                latest = time.monotonic() - config.cache.part_seconds
                for store, when in sorted(opened.items()):
                    if when <= latest or job.clip.id in one.ends[store]:
                        _flush(chosen[store], storer, clock, progress)
                        del opened[store]


def share_finders(works: Sequence[Work]) -> None:
    """Let streams that look for faces in the same frames in the same way do it once."""
    streams = [w.stream for w in works if isinstance(w.stream, VisionStream)]
    for number, stream in enumerate(streams):
        for earlier in streams[:number]:
            if stream.detection == earlier.detection:
                stream.share(earlier)
                break


def _job(one: Pass, number: int, works: Sequence[Work]) -> Job:
    clip, stores = one.jobs[number]
    return Job(
        clip,
        stores,
        tuple(works[n].stream for n in stores),
        tuple(works[n].sources[clip.id] for n in stores),
    )


def _give(job: Job, event: Event, works: Sequence[Work], progress: Progress) -> None:
    """One piece, or the end, of a clip to the stream it is for; a fault ends this clip alone."""
    work, source = works[job.stores[event.position]], job.sources[event.position]
    clip, content = job.clip, event.content
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


def _finish(
    found: Survey, failures_file: Path, untimed: tuple[Failure, ...]
) -> tuple[Failure, ...]:
    """Write the list of failures, those of word times among them, and say in each store what it
    holds and lacks."""
    mine = {clip.id for clip in found.mine}
    failures = tuple(
        Failure(id_, work.stream.spec.modality, work.stream.spec.encoder, f.stage, f.reason)
        for work in found.works
        for id_, f in work.failures.items()
        if id_ in mine
    )
    failures += tuple(
        Failure(id_, store.spec.modality, store.spec.encoder, "import", reason)
        for store in found.imported
        for id_, reason in store.failures.items()
        if id_ in mine
    )
    failures += untimed
    write_failures(failures_file, failures)
    if found.shard is None:
        _complete(found, failures)
        return failures
    others = found.shard.others(failures_file.parent)
    while True:  # until no other share finished meanwhile: the last one sees them all
        _complete(found, (*others, *failures))
        before, others = others, found.shard.others(failures_file.parent)
        if others == before:
            return failures


def _complete(found: Survey, failures: Sequence[Failure]) -> None:
    for work in found.works:
        spec = work.stream.spec
        reasons = {
            f.clip: f"{f.stage}: {f.reason}"
            for f in failures
            if (f.modality, f.encoder) == (spec.modality, spec.encoder)
        }
        planned = {clip.id: work.sources.get(clip.id, "") for clip in found.manifest.clips}
        work.writer.finish(planned, reasons)


def _outcome(work: Work, found: Survey) -> StoreOutcome:
    store = open_store(work.writer.path, allow_partial=True)
    held, mine = set(store.clips), {clip.id for clip in found.mine}
    return outcome_of(
        store,
        found.manifest,
        held=len(work.held),
        new=len(mine & held - work.held),
        failed=len(mine & work.failures.keys()),
        truncated=work.truncated + work.stream.truncated,
    )


def _imported(store: Store, found: Survey) -> StoreOutcome:
    held, failed = len(store.clips), len(store.failures)
    return outcome_of(store, found.manifest, held=held, new=0, failed=failed, truncated=0)
