"""Word times in Praat's TextGrid, long form and short."""

import re
from collections.abc import Iterator

from ...cache.alignment.word import Word
from ...errors import ManifestError

_TOKEN = re.compile(r'"((?:[^"]|"")*)"|(?<!\S)([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?!\S)')
"""Praat reads texts in quotes and numbers that stand free; all else is for people."""


def read_textgrid(text: str, where: str) -> list[Word]:
    """Intervals of the tier of words: the one whose name has "word" in it, else the first.

    Raises ManifestError that names `where` for what is no TextGrid.

    >>> read_textgrid('"ooTextFile"\\n"TextGrid"\\n0 1 <exists> 1 "IntervalTier" "words" 0 1 2 '
    ...               '0 0.4 "so" 0.4 1 ""', "a")[0]
    Word(text='so', start=0.0, end=0.4, begins=-1, ends=-1)
    """
    parts = _parts(text)
    tiers: list[tuple[str, list[Word]]] = []
    try:
        while True:
            kind = next((p for p in parts if p in ("IntervalTier", "TextTier")), None)
            if kind is None:
                break
            name = str(next(parts))
            _, _, count = (float(next(parts)) for _ in range(3))
            rows = []
            for _ in range(int(count)):
                if kind == "TextTier":  # moments, no words
                    next(parts), next(parts)
                    continue
                start, end, word = float(next(parts)), float(next(parts)), str(next(parts))
                rows.append(Word(word.strip(), start, end))
            if kind == "IntervalTier":
                tiers.append((name, rows))
    except (StopIteration, RuntimeError, ValueError, OverflowError):
        raise ManifestError(f"{where}: breaks off, or is no TextGrid.") from None
    if not tiers:
        raise ManifestError(f"{where}: no TextGrid with a tier of intervals.")
    named = (rows for name, rows in tiers if "word" in name.casefold())
    return next(named, tiers[0][1])


def _parts(text: str) -> Iterator[str]:
    for part in _TOKEN.finditer(text):
        yield part[2] if part[1] is None else part[1].replace('""', '"')
