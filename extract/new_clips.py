"""New clips as a manifest: files on their own, or a table of them, that a trained run predicts."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import shorten

from ..cache.alignment.word import Word
from ..cache.manifest import Clip, Manifest
from ..cache.spec import Modality
from ..errors import ManifestError
from .corpora.reading.subtitles import read_text
from .corpora.reading.table import Table, finished
from .corpora.reading.word_times import read_words
from .new_clip import NewClip

LONGEST = 40
"""Letters of a clip's name that is made of its words."""
WORDLESS = (
    "the run reads what is said. Give it by --text, --text-file or a text column of the --table "
    '(`sedimental transcribe` fills one), or NewClip(text=…); "" predicts without words.'
)


def clips_of(
    videos: Sequence[Path],
    texts: Sequence[str],
    text_files: Sequence[Path],
    start: float | None = None,
    end: float | None = None,
) -> list[NewClip]:
    """The clips that a command line means: texts belong to the videos in order, or stand alone.

    Raises ManifestError where it cannot be told which belongs to which.
    """
    if texts and text_files:
        raise ManifestError("--text, --text-file: give the words in one way, not in both.")
    spoken = [*texts, *(read_text(file, start, end) for file in text_files)]
    if videos and spoken and len(spoken) != len(videos):
        raise ManifestError(
            f"--text: {len(spoken)} given for {len(videos)} videos. Give one for each, in order, "
            "or name both in a --table."
        )
    if (start is not None or end is not None) and len(videos) != 1:
        raise ManifestError(
            f"--start, --end: cut one video, and there are {len(videos)}. Cuts of several are "
            "columns of a --table."
        )
    if not videos:
        return [NewClip(text=words) for words in spoken]
    words: list[str | None] = [*spoken] or [None] * len(videos)
    return [NewClip(video, text, start, end) for video, text in zip(videos, words, strict=True)]


def read_table(path: Path, reads: Collection[Modality]) -> list[NewClip]:
    """The clips of a table, as a csv corpus has them but without splits and labels.

    Columns: ``text`` and ``media`` (relative to the table) as far as the run `reads` them, and, if
    they are to have names, ``id``, or ``video_id`` with ``clip_id``; ``start``, ``end`` and
    ``word_times`` may be there, any other is ignored. Raises ManifestError with every fault and its
    line.
    """
    table, clips = Table(path), list[NewClip]()
    needed = [*(["media"] if _seen(reads) else []), *(["text"] if "text" in reads else [])]
    for row in table.rows(needed):
        id_, media = row.text("id"), row.text("media")
        if media is None and _seen(reads):
            row.fault("media is empty.")
        video, clip = row.text("video_id"), row.text("clip_id")
        if id_ is None and video and clip:
            id_ = f"{video}$_${clip}"
        elif id_ is not None and "$_$" in id_:
            first, _, last = id_.rpartition("$_$")
            video, clip = video or first, clip or last
        clips.append(
            NewClip(
                media=None if media is None else path.parent / media,
                text=row.text("text") or "",
                start=row.number("start"),
                end=row.number("end"),
                id=id_,
                video=video,
                clip=clip,
                words=tuple((w.text, w.start, w.end) for w in read_words(row)),
            )
        )
    table.stop()
    return clips


def manifest_of(name: str, clips: Sequence[NewClip], reads: Collection[Modality]) -> Manifest:
    """`clips` as a manifest of that name, test clips all.

    Raises ManifestError for every clip without the text or the file that is to be read. Files are
    not looked at: one that cannot be read fails by itself.
    """
    table, names = Table(Path(name)), _names(clips)
    for number, (clip, id_) in enumerate(zip(clips, names, strict=True), start=1):
        line = f"clip {number} ({id_})"
        if "text" in reads and clip.text is None:
            table.fault(line, WORDLESS)
        if _seen(reads) and clip.media is None:
            table.fault(line, f"its {_seen(reads)} are read, and no file is given.")
        media = None if clip.media is None else str(Path(clip.media).absolute())
        video, of_video = clip.video or id_, clip.clip or str(number)
        cut = clip.start, clip.end
        table.add(line, Clip(id_, video, of_video, "test", clip.text or "", media, *cut))
    if not clips:
        raise ManifestError(f"{name}: none are given. Name a VIDEO or a --table, or give a --text.")
    times = {
        id_: tuple(Word(*word) for word in clip.words)
        for clip, id_ in zip(clips, names, strict=True)
        if clip.words
    }
    return replace(finished(name, Path(), table), word_times=times)


def _seen(reads: Collection[Modality]) -> str:
    """What is read of files, in words; empty if nothing is."""
    return " and ".join(m for m in ("audio", "vision") if m in reads)


def _names(clips: Sequence[NewClip]) -> list[str]:
    """A name a clip, each once: its own, that of its file, or its first words, with a number where
    it comes again.

    >>> _names([NewClip("a/x.mp4"), NewClip("b/x.mp4"), NewClip(text="So so."), NewClip(id="y")])
    ['x.mp4', 'x.mp4 (2)', 'So so.', 'y']
    """
    seen: Counter[str] = Counter()
    names = []
    for clip in clips:
        words = shorten(clip.text or "", LONGEST, placeholder=" …") or "no words"
        name = clip.id or (Path(clip.media).name if clip.media is not None else words)
        seen[name] += 1
        # a name that the caller chose twice is a fault, which the manifest tells
        again = seen[name] > 1 and clip.id is None
        names.append(f"{name} ({seen[name]})" if again else name)
    return names
