"""Word times in WebVTT: time stamps within a cue, or cues of one word."""

import re

from ...cache.alignment.word import Word

_TIME = r"(?:(\d+):)?(\d{1,2}):(\d{2})\.(\d{3})"
_CUE = re.compile(rf"^\s*{_TIME}\s+-->\s+{_TIME}")
_STAMP = re.compile(rf"<{_TIME}>")
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
    found: list[Word] = []
    for block in re.split(r"\n\n+", text.replace("\r\n", "\n")):
        lines = block.split("\n")
        at = next((k for k, line in enumerate(lines) if _CUE.match(line)), None)
        if at is None:
            continue  # a head, a note, a style
        times = _CUE.match(lines[at])
        assert times is not None
        start, end = _seconds(times.groups()[:4]), _seconds(times.groups()[4:])
        for line in lines[at + 1 :]:
            if not stamped or _STAMP.search(line):
                found += _line(line, start, end)
    return found


def _line(line: str, start: float, end: float) -> list[Word]:
    pieces, begins = [], [start]
    at = 0
    for stamp in _STAMP.finditer(line):
        pieces.append(line[at : stamp.start()])
        begins.append(_seconds(stamp.groups()))
        at = stamp.end()
    pieces.append(line[at:])
    found = []
    for piece, begin, until in zip(pieces, begins, [*begins[1:], end], strict=True):
        words = _TAG.sub("", piece).split()
        alone = len(words) == 1
        found += [Word(w, begin if alone else None, until if alone else None) for w in words]
    return found


def _seconds(parts: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, thousandths = (int(part or 0) for part in parts)
    return 3600 * hours + 60 * minutes + float(f"{seconds}.{thousandths:03d}")
