"""Stage 1 from end to end: survey, fill the stores, take stock; `fill` has a clip's way."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..cache.failures import FAILURES, Failure, forget_failures, write_failures
from ..cache.manifest import Manifest, write_manifest
from ..cache.store.store import open_store
from ..config import Config
from ..progress import Progress, Silent
from .decode.media_files import Check
from .doctor import Diagnosis, refuse
from .engine import Engine, LocalEngine
from .result import ExtractResult, StoreOutcome, outcome_of
from .shards import Shard
from .stage_times import Clock
from .survey import Survey, decoders, survey
from .word_times.gather import gather, refuse_untimed, wanted

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
        stores=tuple(_outcomes(found)),
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


def _outcomes(found: Survey) -> Iterator[StoreOutcome]:
    mine = {clip.id for clip in found.mine}
    for work in found.works:
        store = open_store(work.writer.path, allow_partial=True)
        yield outcome_of(
            store,
            found.manifest,
            held=len(work.held),
            new=len(mine & set(store.clips) - work.held),
            failed=len(mine & work.failures.keys()),
            truncated=work.truncated + work.stream.truncated,
        )
    for store in found.imported:
        held, failed = len(store.clips), len(store.failures)
        yield outcome_of(store, found.manifest, held=held, new=0, failed=failed, truncated=0)
