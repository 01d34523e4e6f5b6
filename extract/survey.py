"""What there is to do: which clips each store lacks, and what the media files' headers say."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import torch

from ..cache.corpus.corpus_table import refuse_foreign
from ..cache.manifest import Clip, Manifest
from ..cache.store.find import find_store
from ..cache.store.store import Store, open_store
from ..cache.store.writer import StoreWriter
from ..config import Config, ConfigError
from ..progress import Progress, Silent
from .corpora import load_manifest
from .decode.clip_error import ClipError, clip_error
from .decode.header import Header, read_header
from .decode.media import media_sources
from .decode.media_files import Check, MediaFiles
from .encoders.loading import EncoderError, merged
from .faces.mtcnn import one_thread
from .plan import Lacking, Sized, ordered
from .shards import Shard
from .streams.raw_inputs import streams_of
from .streams.streams import Stream, TextStream

CLIPS, FILES = "looking at clips", "looking at media"
"""Tasks of which a Progress is told."""


@dataclass
class Work:
    """One store to fill: its stream, its writer, and which clips it still lacks."""

    stream: Stream
    writer: StoreWriter
    sources: Mapping[str, str]
    """Clip id to the digest of what its features are made from."""
    held: frozenset[str]
    """Clips whose features are there already and still match their source."""
    failures: dict[str, ClipError]
    truncated: int = 0
    """Texts that were cut while other processes extracted them for this one."""

    @property
    def name(self) -> str:
        """How progress calls it."""
        return f"{self.stream.spec.modality} {self.stream.spec.encoder}"

    def lacking(self, clips: Sequence[Clip]) -> Lacking:
        """What is to be done for this store, of `clips`."""
        done = self.held | self.failures.keys()
        wanted = frozenset(c.id for c in clips if c.id in self.sources and c.id not in done)
        return Lacking(self.stream, self.held, wanted)


@dataclass
class Survey:
    """A corpus and its stores, before anything is loaded."""

    config: Config
    manifest: Manifest
    works: tuple[Work, ...]
    shard: Shard | None
    imported: tuple[Store, ...]
    """The stores that `sedimental cache import` has filled: nothing is made for them."""
    handed: bool = False
    """Whether the clips are no corpus, but were handed over."""
    media: MediaFiles | None = None
    """The media files, where stores are made of them; None for clips that were handed over."""
    progress: Progress = field(default_factory=Silent)
    """Is told how far the looking at files is."""
    noted: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Clips that were extracted and are not quite whole, and what they lack."""
    faults: tuple[EncoderError, ...] = ()
    """Of encoders that cannot be had, where nothing is made."""

    @cached_property
    def headers(self) -> Mapping[str, Header]:
        """Of every media file of the manifest; opens them all the first time it is asked."""
        paths = sorted({clip.media for clip in self.manifest.clips if clip.media})
        self.progress.start(FILES, len(paths), "file")
        headers: dict[str, Header] = {}
        with decoders(self.config) as pool:
            read = pool.map(lambda path: read_header(self.manifest.root / path), paths)
            for path, header in zip(paths, read, strict=True):
                headers[path] = header
                self.progress.advance(FILES)
        return headers

    def foreseen(self, work: Work) -> Mapping[str, str]:
        """Clips to be done for `work` that will fail, and why, as far as that can be known without
        decoding."""
        stream, wanted = work.stream, work.lacking(self.mine).wanted
        if not stream.reads_media:
            return {}
        reasons = {
            clip.id: self.headers[clip.media].why_no(stream.spec.modality, clip.start, stream.track)
            for clip in self.mine
            if clip.media and clip.id in wanted
        }
        return {id_: reason for id_, reason in reasons.items() if reason}

    @property
    def seen(self) -> bool:
        """Whether any store is made of media at all."""
        return any(work.stream.reads_media for work in self.works)

    @cached_property
    def mine(self) -> tuple[Clip, ...]:
        """The clips of this process, by table order: all, or those of its share."""
        if self.shard is None:
            return self.manifest.clips
        chosen = {sized.clip.id for sized in self.shard.of(ordered(self._sized()))}
        return tuple(clip for clip in self.manifest.clips if clip.id in chosen)

    @cached_property
    def sized(self) -> tuple[Sized, ...]:
        """The clips of this process with their lengths."""
        chosen = {clip.id for clip in self.mine}
        return tuple(sized for sized in self._sized() if sized.clip.id in chosen)

    def _sized(self) -> list[Sized]:
        if not self.seen:
            return [Sized(clip, 0.0) for clip in self.manifest.clips]
        return [Sized(clip, self._seconds(clip)) for clip in self.manifest.clips]

    def _seconds(self, clip: Clip) -> float:
        start = clip.start or 0.0
        if clip.end is not None:
            return clip.end - start
        whole = self.headers[clip.media].seconds if clip.media else 0.0
        return max(0.0, whole - start)

    @cached_property
    def todo(self) -> tuple[Lacking, ...]:
        """Of each work, what this process is to do."""
        return tuple(work.lacking(self.mine) for work in self.works)

    @property
    def idle(self) -> bool:
        """Whether nothing is lacking anywhere, so that no file needs to be opened."""
        return not any(work.lacking(self.manifest.clips).wanted for work in self.works)


def survey(
    config: Config,
    shard: Shard | None = None,
    create: bool = True,
    manifest: Manifest | None = None,
    check: Check = "stat",
    progress: Progress | None = None,
) -> Survey:
    """Look at the corpus, or at a `manifest`, and at the stores that [[features]] describes.

    Makes those that are new if it is to `create` them; without, nothing is written anywhere, and
    encoders that cannot be had are `faults`. Media files are looked at as `check` says.
    Raises ConfigError, ManifestError, EncoderError or StoreError.
    """
    handed, manifest = manifest is not None, manifest or load_manifest(config.corpus)
    if not handed:
        refuse_foreign(config, manifest)
    check_media(manifest, config)
    progress = progress or Silent()
    streams, faults = list[Stream](), list[EncoderError]()
    for table in config.features:
        try:
            streams += streams_of(table, config, manifest) if not table.imported else []
        except EncoderError as fault:
            faults.append(fault)
    if faults and create:
        raise EncoderError("\n".join(merged(faults)))
    media: MediaFiles | None = None
    sources: dict[str, str | ClipError] = {}
    reading = sum(stream.reads_media for stream in streams)
    if streams:
        progress.start(CLIPS, len(streams) * len(manifest.clips))
    if reading:
        with decoders(config) as pool:
            if not handed:
                media = MediaFiles(manifest.root, config.corpus_cache, check)
                media.look(manifest.clips, pool)
            # read once for all stores, and counted for each
            sources = _media_sources(
                manifest, media, pool, lambda clips: progress.advance(CLIPS, clips * reading)
            )
    works = []
    for stream in streams:
        if isinstance(stream, TextStream):
            works.append(_work(stream, config, _text_sources(stream, manifest), create))
            progress.advance(CLIPS, len(manifest.clips))
        else:
            works.append(_work(stream, config, sources, create))
    paths = (find_store(config.corpus_cache, f, "") for f in config.features if f.imported)
    imported = tuple(open_store(path) for path in paths)
    return Survey(
        config,
        manifest,
        tuple(works),
        shard,
        imported,
        handed,
        media,
        progress,
        faults=tuple(faults),
    )


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers(config: Config) -> int:
    """Decoding threads."""
    return config.extract.workers or cores()


@contextmanager
def decoders(config: Config) -> Iterator[ThreadPoolExecutor]:
    """The decoding threads; torch works in each alone, as there is one for every core."""
    # Asking fixes the number of this thread. It would else be the number that was set last, in
    # whatever thread; so would that of threads begun later, hence it is set again in the end.
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(workers(config), "decode", initializer=one_thread) as pool:
        try:
            yield pool
        finally:
            torch.set_num_threads(threads)


def check_media(manifest: Manifest, config: Config) -> None:
    """A corpus of texts cannot give faces or voices: said before anything is loaded."""
    if any(clip.media for clip in manifest.clips):
        return
    asked = [f.modality for f in config.features if f.modality != "text" and not f.imported]
    if asked:
        raise ConfigError(
            f"corpus {manifest.corpus} has texts alone (no `media` column), but [[features]] asks "
            f"for {' and '.join(sorted(set(asked)))}. Take those tables out, or add the column; "
            'what `sedimental cache import` has brought says weights = "imported".'
        )


def _media_sources(
    manifest: Manifest,
    media: MediaFiles | None,
    pool: ThreadPoolExecutor,
    advance: Callable[[int], None],
) -> dict[str, str | ClipError]:
    """What the clips are made from, by id, or why there is nothing; each file is opened once."""
    by_file = defaultdict[str | None, list[Clip]](list)
    for clip in manifest.clips:
        by_file[clip.media].append(clip)

    def of_file(clips: Sequence[Clip]) -> Sequence[str | ClipError]:
        try:
            sources = media_sources(clips, manifest.root)
        except Exception as fault:
            return [clip_error("read", fault)] * len(clips)
        if media is None:
            return sources
        return [media.source(c, source) for c, source in zip(clips, sources, strict=True)]

    by_id: dict[str, str | ClipError] = {}
    for clips, sources in zip(by_file.values(), pool.map(of_file, by_file.values()), strict=True):
        by_id.update(zip((clip.id for clip in clips), sources, strict=True))
        advance(len(clips))
    return {clip.id: by_id[clip.id] for clip in manifest.clips}


def _text_sources(stream: TextStream, manifest: Manifest) -> dict[str, str | ClipError]:
    sources: dict[str, str | ClipError] = {}
    for clip in manifest.clips:
        try:
            sources[clip.id] = stream.source(clip, manifest.root)
        except Exception as fault:
            sources[clip.id] = clip_error("read", fault)
    return sources


def _work(
    stream: Stream, config: Config, sources: Mapping[str, str | ClipError], create: bool
) -> Work:
    """Open the stream's store and find out what it lacks of the clips that have `sources`."""
    folder, spec, format_ = config.corpus_cache, stream.spec, config.cache.format
    if create:
        writer = StoreWriter.create(folder, spec, format_)
    else:
        writer = StoreWriter(folder / spec.folder_name, spec, format_)
    present = writer.present() if writer.path.is_dir() else {}
    readable, failures, held = dict[str, str](), dict[str, ClipError](), set[str]()
    for id_, source in sources.items():
        if isinstance(source, ClipError):
            failures[id_] = source
            continue
        readable[id_] = source
        if present.get(id_) == source:
            held.add(id_)
        elif refusal := stream.refuses(source):
            failures[id_] = refusal
    return Work(stream, writer, readable, frozenset(held), failures)
