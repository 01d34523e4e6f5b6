"""One clock for all of a file: seconds from its beginning, whatever its time stamps do."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import av.error
from av.format import Flags

from .clip_error import MediaError
from .header import open_media

LONGEST_GAP = 60.0
"""Seconds of nothing that a clip may hold; time stamps farther apart are wrong."""
KINDS = ("audio", "video")
BACKWARDS = 0.25
"""Seconds that packets of one track may step back."""


class Clock:
    """Gives packets the times they are played at.

    In formats that allow it (MPEG-TS and MPEG-PS) the clock may start anew within the file, as it
    does where files were joined: what comes next follows what came before. Elsewhere a time stamp
    that jumps is a fault of its track.
    """

    def __init__(self, container: Any) -> None:
        self.origin = (container.start_time or 0) / av.time_base
        self.joins = bool(Flags(container.format.flags) & Flags.ts_discont)
        self.shift = 0.0
        """Seconds that the clock was put forward so far."""
        self.jumped: dict[int, str] = {}
        """Track to the reason of its end, where a time stamp jumps."""
        self._ends: dict[int, float] = {}

    def set(self, packet: Any) -> bool:
        """Put the packet's time stamps right; False if it is past a jump and not to be used."""
        index = packet.stream.index
        if index in self.jumped:
            return False
        if packet.is_discard:  # outside of the file's edit list
            return True
        stamp = packet.dts  # those of pictures are not in order by pts
        if stamp is None and packet.stream.type == "audio":
            stamp = packet.pts
        if stamp is None:
            return True
        time = float(stamp * packet.time_base) - self.origin + self.shift
        expected = self._ends.get(index)
        if expected is not None and not expected - BACKWARDS <= time <= expected + LONGEST_GAP:
            if not self.joins:
                self.jumped[index] = (
                    f"the time stamps jump by {_span(time - expected)} at {expected:.2f} s"
                )
                return False
            self.shift += expected - time
            time = expected
        length = float((packet.duration or 0) * packet.time_base)
        end = time + min(length, 1.0)
        self._ends[index] = end if expected is None else max(end, expected)
        if self.shift:
            ticks = round(self.shift / packet.time_base)
            packet.dts = None if packet.dts is None else packet.dts + ticks
            packet.pts = None if packet.pts is None else packet.pts + ticks
        return True

    def time(self, packet: Any) -> float | None:
        """When a packet that was `set` is shown; None if it does not say."""
        stamp = packet.pts if packet.pts is not None else packet.dts
        return None if stamp is None else float(stamp * packet.time_base) - self.origin


def _span(seconds: float) -> str:
    return f"{seconds:.1f} s" if abs(seconds) < 600 else f"{seconds / 3600:.1f} h"


def packets(container: Any, streams: Sequence[Any]) -> Iterator[Any]:
    """The packets of `streams`; where the file breaks off, its end."""
    try:
        for packet in container.demux(list(streams)):
            if packet.size:  # the last ones, which flush, are made by who decodes
                yield packet
    except (av.error.FFmpegError, OSError, IndexError):  # the last: of a track that no head told of
        return


def file_end(path: Path) -> float:
    """Seconds at which the last track of the file ends, by its packets."""
    with open_media(path) as container:
        clock, end = Clock(container), 0.0
        for packet in packets(container, [s for s in container.streams if s.type in KINDS]):
            if clock.set(packet) and (time := clock.time(packet)) is not None:
                end = max(end, time + float((packet.duration or 0) * packet.time_base))
    return end


def starts_anew(path: Path) -> bool:
    """Whether the clock of a file that may hold joined ones starts anew in it.

    Its packets are read through for that, once a process: no search by time can be trusted there.
    """
    state = path.stat()
    return _starts_anew(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=256)
def _starts_anew(path: Path, _size: int, _mtime: int) -> bool:
    try:
        with open_media(path) as container:
            clock = Clock(container)
            for packet in packets(container, [s for s in container.streams if s.type in KINDS]):
                clock.set(packet)
                if clock.shift:
                    return True
    except MediaError:
        pass
    return False
