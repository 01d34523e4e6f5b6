"""Fills the empty texts of a table; what was heard is in the table within seconds."""

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...cache.alignment.word import Word
from ...cache.corpus.words import is_wordless
from ...progress import Progress
from ..corpora.reading.table import Table
from ..decode.clip_error import ClipError, clip_error
from ..decode.media import sound_of
from .recogniser import Recogniser
from .sheet import Sheet

Again = Literal["none", "machine", "all"]
MACHINE = "machine"
EVERY = 10.0
"""Seconds of work that a kill may cost, beside the batch under way."""
TASK = "transcribe"


@dataclass(frozen=True)
class Piece:
    """One row to listen to."""

    number: int
    """Of the table's rows, from 0."""
    name: str
    media: Path
    start: float | None
    end: float | None


@dataclass(frozen=True)
class Transcribed:
    """What was done."""

    table: Path
    done: int
    """Rows that have a machine's text now, and had none or another before."""
    silent: tuple[str, ...]
    """Those of them in which nothing was said."""
    human: int
    """Rows with a text that is not the machine's."""
    before: int
    """Rows that a machine had done before."""
    failures: tuple[tuple[str, str], ...]
    """Rows that cannot be listened to, and why."""


def pieces(sheet: Sheet, again: Again) -> tuple[list[Piece], int, int]:
    """The rows to listen to, how many have a text of their own, how many were done before.

    Raises ManifestError with every fault of the columns that are read.
    """
    table = Table(sheet.path)
    todo, human, before = list[Piece](), 0, 0
    for number, (line, _) in enumerate(sheet.lines):
        row = sheet.row(number, table)
        machine = (row.text("text_source") or "").lower() == MACHINE
        has_text = not is_wordless(row.text("text") or "")
        media, start, end = row.text("media"), row.number("start"), row.number("end")
        if machine and again == "none":
            before += 1
        elif has_text and not machine and again != "all":
            human += 1
        elif media is None:
            table.fault(line, "media is empty.")
        else:
            name = row.text("id") or "_".join(filter(None, map(row.text, ("video_id", "clip_id"))))
            todo.append(Piece(number, name or media, sheet.path.parent / media, start, end))
    table.stop()
    return todo, human, before


def transcribe(
    sheet: Sheet,
    todo: tuple[list[Piece], int, int],
    recogniser: Recogniser,
    batch: int,
    progress: Progress,
) -> Transcribed:
    """Listen to the rows `todo`, `batch` windows at a time, and write what is said into the table.

    The table is written every few seconds and when the work is stopped. Raises ManifestError where
    somebody else has changed it meanwhile.
    """
    rows, human, before = todo
    failures, silent = list[tuple[str, str]](), list[str]()
    done, saved, last = 0, 0, time.monotonic()
    progress.start(TASK, len(rows))
    try:
        for group, sounds in _ahead(rows, recogniser.rate, batch):
            for piece, heard in zip(group, _heard(recogniser, sounds, batch), strict=True):
                progress.advance(TASK)
                if isinstance(heard, ClipError):
                    failures.append((piece.name, heard.reason))
                    progress.note(f"{piece.name}: not transcribed: {heard.reason}")
                    continue
                text, words = heard
                sheet.set(piece.number, {"text": text, "text_source": MACHINE, "word_times": words})
                done += 1
                if not text:
                    silent.append(piece.name)
            if time.monotonic() - last > EVERY and done > saved:
                sheet.save()
                saved, last = done, time.monotonic()
    finally:
        if done > saved:
            sheet.save()
    return Transcribed(sheet.path, done, tuple(silent), human, before, tuple(failures))


Sound = NDArray[np.float32] | ClipError


def _ahead(
    rows: Sequence[Piece], rate: int, batch: int
) -> Iterator[tuple[Sequence[Piece], list[Sound]]]:
    """Rows with their sound, a batch at a time; the next batch is decoded meanwhile."""
    groups = [rows[at : at + batch] for at in range(0, len(rows), batch)]
    with ThreadPoolExecutor(thread_name_prefix="decode") as pool:
        waiting: list[list[Future[Sound]]] = []
        try:
            for number, group in enumerate(groups):
                for ahead in groups[len(waiting) + number : number + 2]:
                    waiting.append([pool.submit(_sound, piece, rate) for piece in ahead])
                yield group, [future.result() for future in waiting.pop(0)]
        finally:
            for future in (f for decoding in waiting for f in decoding):
                future.cancel()


def _sound(piece: Piece, rate: int) -> Sound:
    try:
        return sound_of(piece.media, piece.start, piece.end, rate)
    except Exception as fault:
        return clip_error("decode", fault)


def _heard(
    recogniser: Recogniser, sounds: Sequence[Sound], batch: int
) -> list[tuple[str, str] | ClipError]:
    """Text and cell of word times of each sound; if a batch fails, sound by sound."""
    good = [sound for sound in sounds if not isinstance(sound, ClipError)]
    try:
        texts = iter(recogniser.hear(good, batch) if good else [])
    except Exception as fault:
        if len(sounds) == 1:
            return [clip_error("encode", fault)]
        return [result for sound in sounds for result in _heard(recogniser, [sound], batch)]
    results: list[tuple[str, str] | ClipError] = []
    for sound in sounds:
        if isinstance(sound, ClipError):
            results.append(sound)
        else:
            heard = next(texts)
            results.append((heard.text, _cell(heard.words)))
    return results


def _cell(words: Sequence[Word]) -> str:
    """The words as the column ``word_times`` has them; empty without any."""
    rows = [[w.text, w.start, w.end] for w in words if w.text]
    return json.dumps(rows, ensure_ascii=False) if rows else ""
