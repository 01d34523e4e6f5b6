"""Finds the word times of a corpus, keeps them beside its manifest, and makes nothing twice."""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from ...cache.alignment.transcript import timed
from ...cache.alignment.word import Word
from ...cache.alignment.word_times import WORDS, WordTimes, read_words, write_words
from ...cache.corpus.words import is_wordless
from ...cache.failures import Failure
from ...cache.manifest import Clip, Manifest
from ...config import Config
from ...errors import ConfigError, ManifestError
from ...progress import Progress
from ..decode.clip_error import ClipError, clip_error
from ..decode.media import media_sources, sound_of
from ..encoders.device import ComputeDevice
from ..shards import Shard
from .aligner import Aligner, aligner_digest
from .files import WordFiles

EACH = 100
"""Clips that are aligned between two writings."""
TASK = "words"


def refuse_untimed(config: Config, manifest: Manifest) -> None:
    """Raise ConfigError where times are asked for and there is nothing to have them from."""
    settings = config.words
    if config.train.aligned and not (settings.path or settings.aligner or manifest.word_times):
        raise ConfigError(
            'train.inputs: align = "words" needs to know when each word was said: a column '
            "word_times of the table, or in [words] a path (CTM, TextGrid, WebVTT, .csd) or an "
            "aligner."
        )


def wanted(config: Config, manifest: Manifest) -> bool:
    """Whether this pipeline has anything to do with word times."""
    settings = config.words
    return bool(config.train.aligned or settings.path or settings.aligner or manifest.word_times)


def gather(
    config: Config,
    manifest: Manifest,
    clips: Sequence[Clip],
    progress: Progress,
    shard: Shard | None = None,
) -> tuple[Failure, ...]:
    """Find the word times of `clips`, and write them beside the manifest; those without a text or
    times are told among the failures.

    Raises ManifestError for a folder without files of word times, EncoderError for an aligner that
    is none.
    """
    settings, folder = config.words, config.corpus_cache
    known = read_words(folder)
    times: dict[str, WordTimes] = {}
    failures: list[Failure] = []
    left: list[tuple[Clip, str]] = []
    # else a table has some, which are kept in case
    asked = config.train.aligned or settings.path is not None
    whose = aligner_digest(settings.aligner, settings.revision) if settings.aligner else ""
    with ExitStack() as stack:
        files = WordFiles.below(settings.path, stack) if settings.path else None
        for clip in clips:
            try:
                words = manifest.word_times.get(clip.id) or _filed(files, clip)
                if words:
                    times[clip.id] = _laid(clip, words)
                elif settings.aligner:
                    left.append((clip, _source(clip, manifest.root, whose)))
                elif asked:
                    raise ClipError("read", "no word times")
            except ClipError as fault:
                failures.append(Failure(clip.id, "text", TASK, fault.stage, fault.reason))
    path = folder / _name(shard)
    todo = []
    for clip, source in left:
        if (before := known.get(clip.id)) is not None and before.source == source:
            times[clip.id] = before
        else:
            todo.append((clip, source))
    if todo:
        failures += _aligned(
            config, manifest, todo, times, progress, lambda: write_words(path, times)
        )
    write_words(path, times)
    return tuple(failures)


def changed(config: Config, manifest: Manifest) -> tuple[str, ...]:
    """Clips whose word times, in the table or in files, are others now than those kept."""
    known, ids = read_words(config.corpus_cache), list[str]()
    with ExitStack() as stack:
        path = config.words.path
        files = WordFiles.below(path, stack) if path else None
        for clip in manifest.clips:
            try:
                words = manifest.word_times.get(clip.id) or _filed(files, clip)
                now = _laid(clip, words).source if words else None
            except ClipError:
                continue
            if now is not None and (clip.id not in known or known[clip.id].source != now):
                ids.append(clip.id)
    return tuple(ids)


def _name(shard: Shard | None) -> str:
    return f"words-{shard.index}-of-{shard.count}.json" if shard else WORDS


def _laid(clip: Clip, times: Sequence[Word]) -> WordTimes:
    """The transcript's words at the times of a table or a file."""
    words = timed(clip.text, times)
    if words is None:
        raise ClipError("align", "the word times are those of another text")
    if not words:
        raise ClipError("read", "no word times")
    text = f"{clip.text}\x1e{[(w.text, w.start, w.end) for w in times]}"
    return WordTimes(words, hashlib.blake2b(text.encode(), digest_size=8).hexdigest())


def _filed(files: WordFiles | None, clip: Clip) -> Sequence[Word] | None:
    """What the files say of a clip; a broken one is that clip's fault alone."""
    try:
        return files.of(clip) if files else None
    except ManifestError as fault:
        raise ClipError("read", str(fault)) from None


def _source(clip: Clip, root: Path, aligner: str) -> str:
    """Digest of all that a computed alignment depends on; raises ClipError if that is missing."""
    if is_wordless(clip.text):
        raise ClipError("read", "empty text")
    if not clip.media:
        raise ClipError("read", "no sound to lay the words over")
    text = f"{clip.text}\x1e{media_sources([clip], root)[0]}\x1e{aligner}"
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _aligned(
    config: Config,
    manifest: Manifest,
    todo: Sequence[tuple[Clip, str]],
    times: dict[str, WordTimes],
    progress: Progress,
    keep: Callable[[], None],
) -> list[Failure]:
    """Lay transcripts over the sound, into `times`; kept every so often, and when it is stopped."""
    failures = []
    settings = config.words
    aligner = Aligner(str(settings.aligner), settings.revision, ComputeDevice.of(config.extract))
    progress.start(TASK, len(todo))
    try:
        for number, (clip, source) in enumerate(todo, start=1):
            try:
                path = manifest.root / str(clip.media)
                sound = sound_of(path, clip.start, clip.end, aligner.rate)
                times[clip.id] = WordTimes(aligner.align(clip.text, sound), source)
            except Exception as raised:
                fault = clip_error("align", raised)
                failures.append(Failure(clip.id, "text", TASK, fault.stage, fault.reason))
                progress.note(f"{clip.id}: no word times: {fault.reason}")
            progress.advance(TASK)
            if number % EACH == 0:
                keep()
    finally:
        keep()
    return failures
