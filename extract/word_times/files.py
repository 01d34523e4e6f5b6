"""Word times in a folder of files: CTM, TextGrid, WebVTT and .csd, found by a clip's names."""

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from ...cache.alignment.word import Word
from ...cache.exchange.csd.file import CsdFile
from ...cache.exchange.foreign import ExchangeError
from ...cache.manifest import Clip
from ...errors import ManifestError
from ..corpora.reading.files import read_text
from .textgrid import read_textgrid
from .webvtt import read_webvtt

KINDS = (".ctm", ".textgrid", ".vtt", ".csd")
ENCODINGS = ("utf-8", "latin-1")


@dataclass
class WordFiles:
    """The files of a folder; each is read when a clip asks for it."""

    folder: Path
    _named: dict[str, Path] = field(default_factory=dict)
    """Of TextGrid and WebVTT, by name without the suffix."""
    _recordings: dict[str, list[Word]] = field(default_factory=dict)
    """Of CTM, whose files hold many recordings."""
    _sequences: list[CsdFile] = field(default_factory=list)

    @classmethod
    def below(cls, folder: Path, stack: ExitStack) -> "WordFiles":
        """What lies below `folder`; sequences stay open until the `stack` is left.

        Raises ManifestError for a folder without such files, and for a CTM that is none.
        """
        if not folder.is_dir():
            raise ManifestError(f"words.path: {folder}: no such folder.")
        files = cls(folder)
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in KINDS and p.is_file())
        for path in paths:
            match path.suffix.lower():
                case ".ctm":
                    for name, word in _ctm(path):
                        files._recordings.setdefault(name, []).append(word)
                case ".csd":
                    files._sequences.append(stack.enter_context(CsdFile(path)))
                case _:
                    files._named[path.relative_to(folder).with_suffix("").as_posix()] = path
                    files._named.setdefault(path.stem, path)
        if not paths:
            raise ManifestError(
                f"words.path: {folder} has no file of word times: .ctm, .TextGrid, .vtt or .csd."
            )
        return files

    def of(self, clip: Clip) -> list[Word] | None:
        """The words of a clip, in seconds from its beginning; None: there are no times of it.

        A file of the clip's own (``<video>$_$<clip>``, ``<video>_<clip>``, ``<video>/<clip>``)
        counts from the clip's beginning; one of its media file, or of its video where the clip is a
        cut of it, from that file's, and is cut. Times that are none (endless, or ending before they
        begin) count as not known. Raises ManifestError for a file that is none.
        """
        words = self._of(clip)
        return None if words is None else [_sound(word) for word in words]

    def _of(self, clip: Clip) -> list[Word] | None:
        video, own = clip.video_id, clip.clip_id
        for name in (clip.id, f"{video}_{own}", f"{video}/{own}"):
            if (words := self._words(name)) is not None:
                return words
        media = PurePath(clip.media or "")
        whole = [media.with_suffix("").as_posix(), media.stem] if clip.media else []
        cut = clip.start is not None or clip.end is not None
        for name in [*whole, *([video] if cut or clip.id == video else [])]:
            if (words := self._words(name)) is not None:
                return _cut(words, clip)
        for file in self._sequences:
            if f"{video}[{own}]" in file:
                return _cut(_rows(file, f"{video}[{own}]"), clip)
            if video in file and (cut or clip.id == video):
                return _cut(_rows(file, video), clip)
        return None

    def _words(self, name: str) -> list[Word] | None:
        if name in self._recordings:
            return self._recordings[name]
        if (path := self._named.get(name)) is None:
            return None
        text = read_text(path, ENCODINGS, "Save it as UTF-8.")
        if path.suffix.lower() == ".vtt":
            return read_webvtt(text)
        return read_textgrid(text, str(path))


def _ctm(path: Path) -> Iterator[tuple[str, Word]]:
    """(recording, word) of each line: ``recording channel start duration word [confidence]``."""
    text = read_text(path, ENCODINGS, "Save it as UTF-8.")
    for number, line in enumerate(text.split("\n"), start=1):
        cells = line.split()
        if not cells or cells[0].startswith((";;", "#")):
            continue
        try:
            start, lasting = float(cells[2]), float(cells[3])
            if not (0 <= start < float("inf") and 0 <= lasting < float("inf")):
                raise ValueError
            yield cells[0], Word(cells[4], start, start + lasting)
        except (ValueError, IndexError):
            raise ManifestError(
                f"{path}: line {number}: not `recording channel start duration word`."
            ) from None


def _rows(file: CsdFile, key: str) -> list[Word]:
    try:
        rows = file.rows(key)
    except ExchangeError as fault:
        raise ManifestError(str(fault)) from None
    if rows.features.dtype != object:
        raise ManifestError(f"{file.path}: holds numbers, no words.")
    spans = rows.intervals.tolist()
    return [Word(str(w), a, b) for w, (a, b) in zip(rows.features, spans, strict=True)]


def _sound(word: Word) -> Word:
    start, end = word.start, word.end
    if start is None or end is None or not -math.inf < start <= end < math.inf:
        return replace(word, start=None, end=None)
    return word


def _cut(words: list[Word], clip: Clip) -> list[Word]:
    """Those whose middle lies in the cut, in seconds from its beginning."""
    first, last = clip.start or 0.0, float("inf") if clip.end is None else clip.end
    inside = []
    for word in words:
        if word.start is None or word.end is None:
            inside.append(word)
        elif first <= (word.start + word.end) / 2 < last:
            inside.append(
                replace(word, start=max(0.0, word.start - first), end=max(0.0, word.end - first))
            )
    return inside
