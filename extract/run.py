"""Stage 1 from end to end: reader -> encoder -> writer, all three at work at once."""

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..cache.manifest import Clip, Manifest, write_manifest
from ..cache.progress import Progress, Silent
from ..cache.spec import SPLITS
from ..cache.store import open_store
from ..cache.writer import StoreWriter
from ..config import Config, ConfigError
from .corpora import load_manifest
from .encoders.device import Arithmetic
from .media import Media, MediaError, duration, read_media
from .outcome import ExtractResult, Failure, StoreOutcome, write_failures
from .plan import Sized, chunks
from .storing import Storer
from .streams import ClipError, Stream, stream_of


@dataclass
class Work:
    """One store to fill: its stream, its writer, and which clips it still lacks."""

    stream: Stream
    writer: StoreWriter
    sources: dict[str, str]
    """Clip id to the digest of what its features are made from."""
    held: frozenset[str]
    """Clips whose features are there already and still match their source."""
    failures: dict[str, ClipError]

    @property
    def name(self) -> str:
        """How progress calls it."""
        return f"{self.stream.spec.modality} {self.stream.spec.encoder}"

    def lacks(self, clip: Clip) -> bool:
        """Whether the clip is to be extracted."""
        return clip.id in self.sources and clip.id not in self.held


def extract(config: Config, progress: Progress | None = None) -> ExtractResult:
    """Fill every store that [[features]] describes; what is there already is not made again.

    Clips that fail are listed in the result and in failures.csv beside the stores; everything else
    is stored all the same. Raises ConfigError, ManifestError, EncoderError or StoreError where
    nothing can be extracted at all.
    """
    began = time.monotonic()
    progress = progress or Silent()
    manifest = load_manifest(config.corpus)
    _check_media(manifest, config)
    streams = [stream_of(features, config.cache.dtype) for features in config.features]
    corpus_cache = config.corpus_cache
    write_manifest(corpus_cache / "manifest.jsonl", manifest)
    with ThreadPoolExecutor(_workers(config), thread_name_prefix="decode") as pool:
        works = [_survey(s, manifest, config, pool) for s in streams]
        try:
            _fill(works, manifest, config, pool, progress)
        finally:  # an interrupted run still says what it holds and what failed
            failures = _finish(works, corpus_cache)
    return ExtractResult(
        corpus=manifest.corpus,
        stores=tuple(_outcome(work, manifest) for work in works),
        failures=failures,
        failures_file=corpus_cache / "failures.csv",
        seconds=time.monotonic() - began,
        device=str(Arithmetic.of(config.extract).device),
    )


def _workers(config: Config) -> int:
    return config.extract.workers or os.cpu_count() or 1


def _fill(
    works: Sequence[Work],
    manifest: Manifest,
    config: Config,
    pool: ThreadPoolExecutor,
    progress: Progress,
) -> None:
    """Extract what any of `works` lacks, chunk by chunk."""
    todo = [clip for clip in manifest.clips if any(work.lacks(clip) for work in works)]
    works = [work for work in works if any(work.lacks(clip) for clip in todo)]
    arithmetic = Arithmetic.of(config.extract)
    for work in works:
        progress.start(work.name, sum(work.lacks(clip) for clip in todo))
        work.stream.load(arithmetic)
    streams = [work.stream for work in works]
    sized = _sized(todo, manifest, streams, pool)
    with Storer() as storer:
        for chunk in chunks(sized, streams, config.cache):
            _extract_chunk(chunk, works, manifest.root, pool, _workers(config), storer, progress)


def _check_media(manifest: Manifest, config: Config) -> None:
    """A corpus of texts cannot give faces or voices: said before anything is loaded."""
    if any(clip.media for clip in manifest.clips):
        return
    asked = [f.modality for f in config.features if f.modality != "text"]
    if asked:
        raise ConfigError(
            f"corpus {manifest.corpus} has texts alone (no `media` column), but [[features]] asks "
            f"for {' and '.join(sorted(set(asked)))}. Take those tables out, or add the column."
        )


def _survey(stream: Stream, manifest: Manifest, config: Config, pool: ThreadPoolExecutor) -> Work:
    """Open the stream's store and find out what it lacks."""
    writer = StoreWriter.create(config.corpus_cache, stream.spec, config.cache.format)
    sources: dict[str, str] = {}
    failures: dict[str, ClipError] = {}

    def source(clip: Clip) -> str | ClipError:
        try:
            return stream.source(clip, manifest.root)
        except ClipError as fault:
            return fault

    for clip, found in zip(manifest.clips, pool.map(source, manifest.clips), strict=True):
        if isinstance(found, ClipError):
            failures[clip.id] = found
        else:
            sources[clip.id] = found
    present = writer.present()
    held = frozenset(id_ for id_, digest in sources.items() if present.get(id_) == digest)
    return Work(stream, writer, sources, held, failures)


def _sized(
    clips: Sequence[Clip], manifest: Manifest, streams: Sequence[Stream], pool: ThreadPoolExecutor
) -> list[Sized]:
    """The clips with their lengths, read from the files' headers where sound or faces are asked."""
    if all(s.fps is None and not s.audio for s in streams):
        return [Sized(clip, 0.0) for clip in clips]

    def seconds(clip: Clip) -> float:
        if clip.start is not None and clip.end is not None:
            return clip.end - clip.start
        return (duration(manifest.root / clip.media) if clip.media else None) or 0.0

    return [Sized(c, s) for c, s in zip(clips, pool.map(seconds, clips), strict=True)]


def _extract_chunk(
    chunk: Sequence[Clip],
    works: Sequence[Work],
    root: Path,
    pool: ThreadPoolExecutor,
    workers: int,
    storer: Storer,
    progress: Progress,
) -> None:
    """Decode each clip once, give it to every stream that lacks it, hand the parts to `storer`."""
    jobs = [(clip, [w for w in works if w.lacks(clip)]) for clip in chunk]
    for clip, prepared in _ahead(pool, [j for j in jobs if j[1]], root, workers):
        for work, item in prepared:
            try:
                if isinstance(item, ClipError):
                    raise item
                work.stream.add(clip, work.sources[clip.id], item)
            except ClipError as fault:
                work.failures[clip.id] = fault
                progress.note(f"{clip.id}: no {work.stream.spec.modality}: {fault.reason}")
            progress.advance(work.name)
    for work in works:
        done = work.stream.finish()
        for id_, failed in done.failures.items():
            work.failures[id_] = failed
            progress.note(f"{id_}: no {work.stream.spec.modality}: {failed.reason}")
        if done.features:
            storer.put(work.writer, done.features)


Prepared = list[tuple[Work, Any]]


def _ahead(
    pool: ThreadPoolExecutor, jobs: Sequence[tuple[Clip, list[Work]]], root: Path, workers: int
) -> Iterator[tuple[Clip, Prepared]]:
    """Clips in order with what each stream takes of them, decoded a few clips ahead."""
    waiting: deque[tuple[Clip, Future[Prepared]]] = deque()
    for clip, works in jobs:
        waiting.append((clip, pool.submit(_decode, clip, works, root)))
        if len(waiting) > 2 * workers:
            first, future = waiting.popleft()
            yield first, future.result()
    while waiting:
        first, future = waiting.popleft()
        yield first, future.result()


def _decode(clip: Clip, works: Sequence[Work], root: Path) -> Prepared:
    """One pass over the clip's file for all `works`; a ClipError stands in for what failed."""
    rates = {w.stream.fps for w in works if w.stream.fps is not None}
    audio = any(w.stream.audio for w in works)
    passes: list[float | None] = [*sorted(rates)]
    if audio and not passes:
        passes = [None]
    decoded: dict[float | None, Media | ClipError] = {}
    for fps in passes:
        try:
            first = not decoded
            path = root / (clip.media or "")
            decoded[fps] = read_media(path, clip.start, clip.end, fps, audio and first)
        except MediaError as fault:
            decoded[fps] = ClipError("decode", str(fault))
    prepared: Prepared = []
    for work in works:
        media: Media | ClipError = Media()
        if work.stream.fps is not None:
            media = decoded[work.stream.fps]
        elif work.stream.audio:  # sound comes with whichever pass was first
            media = next(iter(decoded.values()))
        try:
            if isinstance(media, ClipError):
                raise media
            prepared.append((work, work.stream.prepare(clip, media)))
        except ClipError as fault:
            prepared.append((work, fault))
    return prepared


def _finish(works: Sequence[Work], corpus_cache: Path) -> tuple[Failure, ...]:
    """Say in each store what it holds and lacks; write failures.csv."""
    failures = []
    for work in works:
        reasons = {id_: f"{f.stage}: {f.reason}" for id_, f in work.failures.items()}
        planned = work.sources | {id_: "" for id_ in work.failures if id_ not in work.sources}
        work.writer.finish(planned, reasons)
        spec = work.stream.spec
        failures += [
            Failure(id_, spec.modality, spec.encoder, f.stage, f.reason)
            for id_, f in work.failures.items()
        ]
    write_failures(corpus_cache / "failures.csv", failures)
    return tuple(failures)


def _outcome(work: Work, manifest: Manifest) -> StoreOutcome:
    store = open_store(work.writer.path, allow_partial=True)
    spec, held = work.stream.spec, set(store.clips)
    coverage = {
        split: (sum(c.id in held for c in manifest.split(split)), len(manifest.split(split)))
        for split in SPLITS
    }
    return StoreOutcome(
        modality=spec.modality,
        encoder=spec.encoder,
        weights=spec.weights,
        path=store.path,
        clips=len(manifest.clips),
        held=len(work.held),
        new=sum(clip.id in held and clip.id not in work.held for clip in manifest.clips),
        failed=len(work.failures),
        frames=int(store.frames.sum()),
        bytes=sum(f.stat().st_size for f in store.path.rglob("*") if f.is_file()),
        coverage=coverage,
    )
