"""The bytes of a pickle, a stretch at a time, so that an operation costs no call to the file."""

from typing import IO

LARGE = 1 << 16
"""Bytes of a stretch; more than that are read for themselves, into memory that is theirs alone."""
SHORT, LINE = 255, 256
"""Bytes of a text that is taken from the stretch as it lies there; of a number or name's line."""
ROOM = 2 * LINE
"""Bytes that the longest operation without a longer text takes, and more: as many zeros follow the
last byte of the file, so that one that is cut short is found by what comes after it."""


class Window:
    """Reads `size` bytes from where `file`, which can be sought in, stands."""

    __slots__ = ("_file", "_padding", "_unread", "buffer", "place")

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._unread, self._padding = file, size, 0
        self.buffer, self.place = b"", 0
        """The stretch, and how much of it was taken."""

    @property
    def left(self) -> int:
        """Bytes not taken yet."""
        return self._unread + len(self.buffer) - self.place - self._padding

    def fill(self) -> None:
        """Read on, or put the zeros behind the end; what was not taken stays in front."""
        more = self._file.read(min(LARGE, max(self._unread, 0)))
        self._unread = self._unread - len(more) if more else 0
        if not self._unread and not self._padding:
            self._padding, more = ROOM, more + bytes(ROOM)
        self.buffer, self.place = self.buffer[self.place :] + more, 0

    def take(self, size: int) -> bytes:
        """The next `size` bytes; raises EOFError where there are fewer."""
        while size > len(self.buffer) - self.place and size <= self.left:
            if size > LARGE:
                return self._apart(size)
            self.fill()
        if size > self.left:
            raise EOFError
        self.place += size
        return self.buffer[self.place - size : self.place]

    def _apart(self, size: int) -> bytes:
        ahead = len(self.buffer) - self.place
        self._file.seek(-ahead, 1)
        self.buffer, self.place = b"", 0
        data = self._file.read(size)
        self._unread -= len(data) - ahead
        if len(data) != size:
            raise EOFError
        return data

    def line(self, longest: int) -> bytes:
        """Up to the next line's end, which is left out; EOFError where it is farther away."""
        at = self.buffer.find(b"\n", self.place)
        while at < 0:
            before = len(self.buffer) - self.place
            self.fill()
            if before > longest or len(self.buffer) == before:
                raise EOFError
            at = self.buffer.find(b"\n", before)
        if at - self.place > longest:
            raise EOFError
        line = self.buffer[self.place : at]
        self.place = at + 1
        return line
