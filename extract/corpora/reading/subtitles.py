"""What is said in a clip, from a text file or from subtitles (SubRip, WebVTT)."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ....errors import ManifestError

TIME = r"(?:(\d+):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_CUE = re.compile(rf"^\s*{TIME}\s*-->\s*{TIME}")
_TAGS = re.compile(r"<[^>]*>|\{\\[^}]*\}")


def read_text(path: Path, start: float | None = None, end: float | None = None) -> str:
    """The words of the file at `path`, white space made single.

    Of subtitles (``.srt``, ``.vtt``) those shown between `start` and `end` seconds, at any moment;
    any other file is read whole. Raises ManifestError if it is not there or not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else "not UTF-8"
        raise ManifestError(f"{path}: cannot be read as text: {reason}.") from None
    if path.suffix.lower() in (".srt", ".vtt"):
        text = " ".join(
            words for first, last, words in cues(text) if _shown(first, last, start, end)
        )
    return " ".join(text.split())


def cues(text: str) -> list[tuple[float, float, str]]:
    """(first second, last second, words) of every subtitle in `text`, without its markup.

    >>> cues("1\\n00:00:01,500 --> 00:00:02,000\\n<i>Well,</i>\\nno.\\n")
    [(1.5, 2.0, 'Well, no.')]
    """
    return [
        (first, last, " ".join(_TAGS.sub("", " ".join(lines)).split()))
        for first, last, lines in timed_lines(text, r"\n\s*\n")
    ]


def timed_lines(text: str, between: str) -> Iterator[tuple[float, float, list[str]]]:
    """(first second, last second, lines) of every cue of SubRip or WebVTT, markup and all.

    Blocks are parted by the pattern `between`; heads, notes and styles are passed over.
    """
    for block in re.split(between, text.replace("\r\n", "\n")):
        lines = block.strip().split("\n")
        for number, line in enumerate(lines):
            if times := _CUE.match(line):
                groups = times.groups()
                yield seconds_of(groups[:4]), seconds_of(groups[4:]), lines[number + 1 :]
                break


def seconds_of(parts: Sequence[str | None]) -> float:
    """Hours, minutes, seconds and their fraction, as `TIME` matches them, in seconds."""
    hours, minutes, seconds, fraction = (part or "0" for part in parts)
    return 3600 * int(hours) + 60 * int(minutes) + float(f"{int(seconds)}.{fraction}")


def _shown(first: float, last: float, start: float | None, end: float | None) -> bool:
    return (start is None or last > start) and (end is None or first < end)
