"""The bytes of a pickle, a stretch at a time, so that an operation costs no call to the file."""

from typing import IO

LARGE = 1 << 16
"""Bytes of a stretch; more than that are read for themselves, into memory that is theirs alone."""


class Window:
    """Reads `size` bytes from where `file`, which can be sought in, stands."""

    __slots__ = ("_file", "_unread", "buffer", "place")

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._unread = file, size
        self.buffer, self.place = b"", 0
        """The stretch, and how much of it was taken."""

    @property
    def left(self) -> int:
        """Bytes not taken yet."""
        return self._unread + len(self.buffer) - self.place

    def fill(self) -> None:
        """Read on, if there is anything; what was not taken stays in front."""
        more = self._file.read(min(LARGE, max(self._unread, 0)))
        self._unread -= len(more)
        self.buffer, self.place = self.buffer[self.place :] + more, 0

    def take(self, size: int) -> bytes:
        """The next `size` bytes; raises EOFError where there are fewer."""
        if size > len(self.buffer) - self.place:
            if size > self.left:
                raise EOFError
            if size > LARGE:
                return self._apart(size)
            while size > len(self.buffer) - self.place:
                before = len(self.buffer) - self.place
                self.fill()
                if len(self.buffer) == before:
                    raise EOFError  # the file became shorter
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
            if before > longest:
                raise EOFError
            self.fill()
            if len(self.buffer) == before:
                raise EOFError
            at = self.buffer.find(b"\n", before)
        if at - self.place > longest:
            raise EOFError
        found = self.buffer[self.place : at]
        self.place = at + 1
        return found
