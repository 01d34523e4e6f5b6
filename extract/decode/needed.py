"""Which pictures have to be decoded at all: those on screen at a moment, and what they refer to."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

CODECS = ("h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4", "vp8")
"""Whose decoders pass over a frame that no other refers to, without changing any other's bits."""
HELD = 64
"""Packets that may wait until it is known when a frame leaves the screen."""


class Needed:
    """Says of each video packet whether its own frame is asked for.

    A frame is on screen until the next one in time begins. Frames come in another order than they
    are shown in, but none comes later than its decoding time: once a packet is decoded after some
    moment, all frames before that moment are known.
    """

    def __init__(
        self,
        needs: Callable[[float, float], bool],
        time: Callable[[Any], float | None],
        codec: str,
        format: str,
    ) -> None:
        self._needs, self._time = needs, time
        # AVI knows in which order frames are decoded, not in which they are shown
        self._all = codec not in CODECS or format == "avi"
        self._waiting: deque[tuple[Any, float | None]] = deque()
        self._times: deque[float] = deque(maxlen=2 * HELD)
        self._until = float("-inf")
        """Before this no frame can come any more."""

    def put(self, packet: Any) -> Iterator[tuple[Any, bool]]:
        """The packets of which it is known now, in decoding order, each with whether it is needed.

        Those that are not may be skipped if no other frame refers to them.
        """
        time = self._time(packet)
        self._all |= packet.pts is None or time is None
        if self._all:
            yield from self.rest()
            yield packet, True
            return
        assert time is not None
        self._waiting.append((packet, time))
        self._times.append(time)
        if packet.dts is not None:
            self._until = time - float((packet.pts - packet.dts) * packet.time_base)
        while self._waiting:
            first = self._waiting[0][1]
            assert first is not None
            after = min((t for t in self._times if t > first), default=None)
            if after is not None and after <= self._until:
                earliest = first <= min(self._times)
                yield self._waiting.popleft()[0], earliest or self._needs(first, after)
            elif len(self._waiting) > HELD:
                yield self._waiting.popleft()[0], True
            else:
                return

    def rest(self) -> Iterator[tuple[Any, bool]]:
        """Those that still wait: there are no more, or none are skipped any more."""
        while self._waiting:
            yield self._waiting.popleft()[0], True
