"""How long a track should be by the file's own account, where that can be relied on."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import av

SELF_MEASURED = ("mpegts", "mpeg", "mpegvideo", "mp3", "aac", "ac3", "eac3", "h264", "hevc", "ogg")
"""Formats that announce nothing: FFmpeg measures or guesses from the bytes that are there."""
SLOWEST = 50.0
"""Bytes a second below which no file has sound or pictures: speech codecs need more."""
PLAIN = (1, 3, 0xFFFE)
"""Numbers of the WAV kinds whose bytes a second are no average."""
RAREST = 0.2
"""Frames a second below which a clip is no video, but one with a wild time stamp."""


def plausible(path: Path, seconds: float, stream: Any = None) -> float:
    """`seconds` as announced, or 0 if the file is too small for them: a time stamp is wrong."""
    frames = stream.frames if stream is not None and stream.type == "video" else 0
    few = frames > 1 and frames / seconds < RAREST if seconds > 0 else False
    return 0.0 if few or seconds * SLOWEST > path.stat().st_size else seconds


def container_seconds(container: Any) -> float:
    """Seconds from the file's first time stamp to its end; 0 where it does not say."""
    seconds = (container.duration or 0) / av.time_base
    if container.format.name.startswith(
        ("matroska", "asf")
    ):  # counts from zero, wherever the clock begins
        begin = (container.start_time or 0) / av.time_base
        seconds -= begin if 0 < begin < seconds else 0.0
    return max(0.0, seconds)


def track_seconds(path: Path, container: Any, stream: Any) -> tuple[float, bool]:
    """Seconds from the file's beginning to the track's end, 0 where that is not known; and whether
    they are of this track and not of the file as a whole, whose longest track another may be."""
    name = container.format.name
    if name.split(",")[0] in SELF_MEASURED:
        return 0.0, True
    if name == "wav":
        return _wav_seconds(path), True
    if name.startswith("asf"):  # what it says of tracks is the length of the whole
        return container_seconds(container), False
    if name == "avi":
        length = stream.frames * stream.time_base if stream.type == "audio" else 0
        if stream.type == "video" and stream.average_rate:
            length = stream.frames / stream.average_rate
        return float(length), True
    begin = 0.0
    if stream.start_time is not None and container.start_time is not None:
        begin = float(stream.start_time * stream.time_base) - container.start_time / av.time_base
    if stream.duration:
        return begin + float(stream.duration * stream.time_base), True
    if (end := _tagged(stream)) and "matroska" in name:
        return end - max(0.0, (container.start_time or 0) / av.time_base), True
    return container_seconds(container), False


def _tagged(stream: Any) -> float:
    """Where Matroska's muxers say that the track ends; 0 if they do not."""
    try:
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    except (KeyError, ValueError):
        return 0.0


def _wav_seconds(path: Path) -> float:
    """Seconds by the sizes in a WAV's head, which FFmpeg replaces by those of a broken-off file."""
    with path.open("rb") as file:
        kind = rate = speed = 0
        for name, size in _chunks(file):
            if name == b"fmt ":
                kind, _, rate, speed = struct.unpack("<HHII", file.read(12).ljust(12, b"\0"))
            elif name == b"fact" and rate and kind not in PLAIN:
                return float(struct.unpack("<I", file.read(4).ljust(4, b"\0"))[0]) / rate
            elif name == b"data":
                whole = 0 < size < 0xFFFFFFFF - 4096  # what writes into a pipe leaves it open
                return size / speed if speed and whole and kind in PLAIN else 0.0
    return 0.0


def _chunks(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """Names and sizes of a RIFF file's chunks, the file standing at what is in them."""
    position = 12
    for _ in range(64):
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            return
        size = struct.unpack("<I", head[4:])[0]
        yield head[:4], size
        position += 8 + size + size % 2
