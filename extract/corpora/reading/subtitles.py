"""What is said in a clip, from a text file or from subtitles (SubRip, WebVTT)."""

import re
from pathlib import Path

from ....errors import ManifestError

_TIME = r"(?:(\d+):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_CUE = re.compile(rf"^\s*{_TIME}\s*-->\s*{_TIME}")
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
    found = []
    for block in re.split(r"\n\s*\n", text.replace("\r\n", "\n")):
        lines = block.strip().split("\n")
        at = next((k for k, line in enumerate(lines) if _CUE.match(line)), None)
        if at is None:
            continue  # a head, a note, a style
        times = _CUE.match(lines[at])
        assert times is not None
        hours = times.groups(default="0")
        words = _TAGS.sub("", " ".join(lines[at + 1 :]))
        found.append((_seconds(*hours[:4]), _seconds(*hours[4:]), " ".join(words.split())))
    return found


def _seconds(hours: str, minutes: str, seconds: str, fraction: str) -> float:
    return 3600 * int(hours) + 60 * int(minutes) + float(f"{int(seconds)}.{fraction}")


def _shown(first: float, last: float, start: float | None, end: float | None) -> bool:
    return (start is None or last > start) and (end is None or first < end)
