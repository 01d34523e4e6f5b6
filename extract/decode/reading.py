"""A file's packets from the cut's beginning on, with all that its first picture and sample need."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, dropwhile
from pathlib import Path
from typing import Any

import av
import av.error

from .clock import Clock, packets, starts_anew
from .header import open_media

BEFORE = 1.0
"""Seconds of sound that are decoded before a cut: decoders remember, few of them so long."""
FARTHER = (BEFORE, 4.0, 16.0, 64.0)
"""Seconds before the cut at which a search sets in, until it lands before the cut."""
SETTLING = 1.5
"""Seconds after a search in MPEG-TS and MPEG-PS in which times are interpolated from where one set
in; a true time stamp comes at least each 0.7 s."""
SEARCHED = ("mov", "matroska", "avi", "asf", "flv", "mpegts", "mpeg")
"""Formats whose packets know their time wherever one sets in. In others the time after a search is
a guess; they are read from the beginning, and what is not needed is not decoded."""
HEAD = 2_000
"""Packets that are looked through for the first ones of each track."""


@dataclass(frozen=True)
class Reading:
    """An opened file, and what is to be decoded of it."""

    container: Any
    streams: Sequence[Any]
    clock: Clock
    start: float
    _packets: Iterator[Any]
    early: set[int] = field(default_factory=set)
    """Tracks of which packets were passed over, as they end long before `start`."""

    def __iter__(self) -> Iterator[Any]:
        """The packets, their times put right by the clock."""
        for packet in self._packets:
            if not self.clock.set(packet):
                continue
            if self._early(packet):
                self.early.add(packet.stream.index)
            else:
                yield packet

    def _early(self, packet: Any) -> bool:
        time = self.clock.time(packet)
        if packet.stream.type != "audio" or time is None:
            return False
        return time + float((packet.duration or 0) * packet.time_base) < self.start - BEFORE


def read_from(path: Path, indices: Sequence[int], start: float) -> Reading:
    """Open the file's tracks `indices` for a cut at `start`; raises MediaError."""
    for search in (True, False) if start > 0 else (False,):
        container = open_media(path)
        streams = [container.streams[index] for index in indices]
        for stream in streams:
            if stream.codec_context is not None:
                stream.codec_context.thread_count = 1  # many clips at once, a thread each
        clock = Clock(container)
        reader = packets(container, streams)
        if not search:
            break
        if (landed := _search(path, container, streams, clock, start)) is not None:
            reader = landed
            break
        container.close()
    return Reading(container, streams, clock, start, reader)


def _search(
    path: Path, container: Any, streams: Sequence[Any], clock: Clock, start: float
) -> Iterator[Any] | None:
    """Packets from shortly before `start` on; None if they have to be read from the beginning."""
    name = container.format.name.split(",")[0]
    pcm = name == "wav" and streams[0].codec_context.name.startswith("pcm_")
    if not pcm and (name not in SEARCHED or (clock.joins and starts_anew(path))):
        return None
    for back in FARTHER:
        settled = start - back
        target = settled - (SETTLING if clock.joins else 0.0)
        if target <= 0:
            break
        try:
            container.seek(round((target + clock.origin) * av.time_base), backward=True)
        except (av.error.FFmpegError, OSError):
            break
        reader: Iterator[Any] = packets(container, streams)
        if clock.joins:
            reader = dropwhile(partial(_unsettled, clock, settled), reader)
        if head := _head(reader, streams, clock, start):
            return chain(head, reader)
    return None


def _unsettled(clock: Clock, settled: float, packet: Any) -> bool:
    time = clock.time(packet)
    return time is None or time < settled


def _head(
    reader: Iterator[Any], streams: Sequence[Any], clock: Clock, start: float
) -> list[Any] | None:
    """Packets up to the first usable one of each track; None if one of those comes too late.

    Pictures are usable from a key frame on.
    """
    missing = {s.index for s in streams}
    head: list[Any] = []
    for packet in reader:
        stream = packet.stream
        if stream.index in missing:
            if stream.type == "video" and not packet.is_keyframe:
                continue
            time = clock.time(packet)
            if time is None or time > max(_needed(stream, start), _begin(stream, clock)):
                return None
            missing.discard(stream.index)
        head.append(packet)
        if not missing:
            return head
        if len(head) >= HEAD:
            break
    return None


def _needed(stream: Any, start: float) -> float:
    """Seconds by which a track's packets have to begin for a cut at `start`."""
    return start if stream.type == "video" else max(0.0, start - BEFORE / 2)


def _begin(stream: Any, clock: Clock) -> float:
    """Where the track begins, and a little more."""
    if stream.start_time is None:
        return 0.05
    return float(stream.start_time * stream.time_base) - clock.origin + 0.05
