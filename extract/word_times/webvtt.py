"""Word times in WebVTT: time stamps within a cue, or cues of one word."""

import re

from ...cache.alignment.word import Word
from ..corpora.reading.subtitles import TIME, seconds_of, timed_lines

_STAMP = re.compile(rf"<{TIME}>")
_TAG = re.compile(r"<[^>]*>")


def read_webvtt(text: str) -> list[Word]:
    """The words of all cues; of a cue of several words without time stamps, without times.

    A word lasts up to the next time stamp, the last one to the end of its cue. Where any line has
    time stamps, lines without are what was said before, shown again, and are left out.

    >>> [(w.text, w.start, w.end) for w in read_webvtt(
    ...     "WEBVTT\\n\\n00:01.000 --> 00:03.000\\nwell<00:01.500><c> no</c>\\n")]
    [('well', 1.0, 1.5), ('no', 1.5, 3.0)]
    """
    stamped = bool(_STAMP.search(text))
    return [
        word
        for start, end, lines in timed_lines(text, r"\n\n+")
        for line in lines
        if not stamped or _STAMP.search(line)
        for word in _line(line, start, end)
    ]


def _line(line: str, start: float, end: float) -> list[Word]:
    pieces, begins = [], [start]
    at = 0
    for stamp in _STAMP.finditer(line):
        pieces.append(line[at : stamp.start()])
        begins.append(seconds_of(stamp.groups()))
        at = stamp.end()
    pieces.append(line[at:])
    timed = []
    for piece, begin, until in zip(pieces, begins, [*begins[1:], end], strict=True):
        words = _TAG.sub("", piece).split()
        alone = len(words) == 1
        timed += [Word(w, begin if alone else None, until if alone else None) for w in words]
    return timed
