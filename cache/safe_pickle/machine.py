"""A pickle's operations, carried out on plain data alone; nothing of Python's pickle takes part.

The operations are those of protocols 0 to 5 as `pickletools` describes them. Every one takes time
in proportion to what it reads.
"""

import struct
from codecs import getincrementaldecoder
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO, Any, NoReturn

import numpy as np

from .globals import ENTRY, key_of
from .limits import Budget, Limits, RefusedError
from .stack import HEAD, MARK, NO_LIST, NOTHING, NUMBER, POINTER, Stack
from .values import LatinText, OldText, Plain, quoted
from .window import LARGE, LINE, ROOM, SHORT, Window

BLOCK = 4096
"""Operations between two looks at how many there were."""
LONG_TEXT = 1 << 24
"""Bytes from which text must be Latin-1: such are arrays; one rare letter makes it four times."""
LATIN = 0xC3
"""The highest byte that Latin-1 has in UTF-8."""
PIECE = 1 << 22
"""Bytes of such text that are turned at once."""
LONGEST_NUMBER = 16
"""Bytes of a whole number."""
HIGHEST_PROTOCOL = 5
_FLOAT = struct.Struct(">d").unpack_from
_INT = struct.Struct("<i").unpack_from
_UNSIGNED = struct.Struct("<I").unpack_from
_G, _RUN = ord("G"), 9
"""The code of a float, and the bytes that it takes."""
_LINES = frozenset(b"FIL")

Operations = Mapping[int, Callable[[], object]]


class Machine(Stack):
    """One reading of one pickle out of `file`, which has `size` bytes after where it stands."""

    def __init__(self, file: IO[bytes], size: int, limits: Limits) -> None:
        super().__init__(size, Budget(limits.bytes_for(size)))
        self.window, self._limits = Window(file, size), limits
        self._take = self.window.take

    def run(self) -> Any:
        """What the pickle holds, as plain data."""
        rare = self._rare_operations()
        for _ in range(self._limits.values // BLOCK):
            self.budget.charge(POINTER * BLOCK)
            if self._ends_within(BLOCK, rare):
                result = self.stack.pop()
                self.memo, self.stack = [], []
                return Plain(self._limits, self.budget).whole(result)
        raise RefusedError(f"it holds more than {self._limits.values:,} values")

    def _ends_within(self, most: int, rare: Operations) -> bool:
        """Carry out `most` operations, or fewer if the pickle ends; whether it does.

        What pickles consist of in the main is done without a call for each: this is what time is
        spent on. The window has `ROOM` bytes ahead of each. Memory of small values is charged at
        the end.
        """
        stack, marks, memo = self.stack, self.marks, self.memo
        push, window = stack.append, self.window
        buffer, at, done, owed = window.buffer, window.place, 0, 0
        last = len(buffer) - ROOM
        while done < most:
            if at > last:
                window.place = at
                window.fill()
                buffer, at = window.buffer, window.place
                last = len(buffer) - ROOM
                if at > last:
                    raise EOFError
            code = buffer[at]
            if code >= 0x80:
                if code == 0x94:  # remember under the next number
                    memo.append(stack[-1])
                    at += 1
                elif code == 0x8C:  # text
                    start = at + 2
                    at = start + buffer[at + 1]
                    text = buffer[start:at].decode("utf-8", "surrogatepass")
                    push(text)
                    owed += text.__sizeof__()
                elif 0x85 <= code <= 0x87:  # tuples of 1 to 3
                    length = code - 0x84
                    if len(stack) < length:
                        raise IndexError
                    stack[-length:] = [tuple(stack[-length:])]
                    at, owed = at + 1, owed + 40 + POINTER * length
                elif code == 0x88 or code == 0x89:
                    push(code == 0x88)
                    at += 1
                else:
                    buffer, at, last = self._rarely(rare[code], at)
            elif code >= 0x60:
                if code == 0x71 or code == 0x72:  # q r: remember under a number
                    place = buffer[at + 1] if code == 0x71 else _UNSIGNED(buffer, at + 1)[0]
                    if place == len(memo):
                        memo.append(stack[-1])
                    else:
                        self.put(place)
                    at += 2 if code == 0x71 else 5
                elif code == 0x68 or code == 0x6A:  # h j: what was remembered
                    value = memo[buffer[at + 1] if code == 0x68 else _UNSIGNED(buffer, at + 1)[0]]
                    if value is NOTHING:
                        raise IndexError
                    push(value)
                    at += 2 if code == 0x68 else 5
                elif code == 0x65 or code == 0x61:  # e a: what was gathered, or one, into a list
                    begin = marks.pop() if code == 0x65 else len(stack) - 1
                    values = stack[begin:]
                    del stack[begin:]
                    target = stack[-1]
                    if type(target) is not list:
                        raise RefusedError(NO_LIST)
                    target.extend(values)
                    at, owed = at + 1, owed + (POINTER * len(values) - MARK if code == 0x65 else 0)
                elif code == 0x75:  # u: what was gathered, into a dict
                    self.set_items(self.to_mark(POINTER))
                    at += 1
                elif code == 0x73:  # s: one entry
                    value = stack.pop()
                    self.set_items([stack.pop(), value])
                    at += 1
                elif code == 0x7D:
                    push({})
                    at, owed = at + 1, owed + 64
                elif code == 0x74:  # t: a tuple of what was gathered
                    push(tuple(self.to_mark(POINTER)))
                    at += 1
                elif code == 0x62:  # b: give what was made its content
                    self.build()
                    at += 1
                elif code == 0x70:  # p: remember under a number in digits
                    line, at = _line(buffer, at)
                    place = int(line)
                    if place == len(memo):
                        memo.append(stack[-1])
                    else:
                        self.put(place)
                else:
                    buffer, at, last = self._rarely(rare[code], at)
            elif code == _G:
                if buffer[at + _RUN] == _G and buffer[at + 4 * _RUN] == _G:
                    floats = _floats(buffer, at, min(most - done, (len(buffer) - at) // _RUN))
                    stack.extend(floats)
                    at, done = at + _RUN * len(floats), done + len(floats) - 1
                    owed += NUMBER * len(floats)
                else:
                    push(_FLOAT(buffer, at + 1)[0])
                    at, owed = at + _RUN, owed + NUMBER
            elif code == 0x4B:  # K: a byte
                push(buffer[at + 1])
                at += 2
            elif code == 0x58 and (size := _UNSIGNED(buffer, at + 1)[0]) <= SHORT:  # X: text
                start = at + 5
                at = start + size
                text = buffer[start:at].decode("utf-8", "surrogatepass")
                push(text)
                owed += text.__sizeof__()
            elif code == 0x28:  # ( what is gathered begins here
                marks.append(len(stack))
                at, owed = at + 1, owed + MARK
            elif code == 0x5D:
                push([])
                at, owed = at + 1, owed + 64
            elif code == 0x4A:  # J: a number of four bytes
                push(_INT(buffer, at + 1)[0])
                at, owed = at + 5, owed + NUMBER
            elif code == 0x4D:  # M: of two
                push(buffer[at + 1] | buffer[at + 2] << 8)
                at, owed = at + 3, owed + NUMBER
            elif code == 0x52:  # R: call what is known
                self.reduce()
                at += 1
            elif code == 0x43:  # C: bytes
                start = at + 2
                at = start + buffer[at + 1]
                push(buffer[start:at])
                owed += at - start + HEAD
            elif code == 0x4E:
                push(None)
                at += 1
            elif code in _LINES:  # numbers in digits
                line, at = _line(buffer, at)
                push(float(line) if code == 0x46 else _int_line(line))
                owed += len(line)
            elif code == 0x2E:
                self.budget.charge(owed)
                return True
            else:
                buffer, at, last = self._rarely(rare[code], at)
            done += 1
        window.place = at
        self.budget.charge(owed)
        return False

    def _rarely(self, operation: Callable[[], object], at: int) -> tuple[bytes, int, int]:
        """Carry out what stands at `at`; where to go on, and where the window has to be filled."""
        self.window.place = at + 1
        operation()
        return self.window.buffer, self.window.place, len(self.window.buffer) - ROOM

    def _rare_operations(self) -> Operations:
        """What each other operation does; those that are missing are none, or not for data."""
        push, to_mark = self.stack.append, self.to_mark
        operations: dict[bytes, Callable[[], object]] = {
            b"\x8a": lambda: self._long(1),
            b"\x8b": lambda: self._long(4),
            b"S": self._string_line,
            b"T": lambda: push(OldText(self._bytes(4))),
            b"U": lambda: push(OldText(self._bytes(1))),
            b"V": lambda: self._text(self._line(self.window.left), "raw-unicode-escape"),
            b"X": lambda: self._sized_text(4),
            b"\x8d": lambda: self._sized_text(8),
            b"B": lambda: push(self._bytes(4)),
            b"\x8e": lambda: push(self._bytes(8)),
            b"\x96": lambda: push(self._bytes(8)),
            b")": lambda: push(()),
            b"l": lambda: self.push_container(to_mark(POINTER)),
            b"d": self.push_dict,
            b"\x8f": lambda: self.push_container(set()),
            b"\x90": self.add_items,
            b"\x91": lambda: self.push_container(frozenset(map(key_of, to_mark(ENTRY)))),
            b"0": self.pop,
            b"1": lambda: to_mark(0),
            b"2": lambda: push(self.stack[-1]),
            b"g": lambda: self.get(int(self._line(LINE))),
            b"c": lambda: push(self.globals.find(self._word(), self._word())),
            b"\x93": self.push_global,
            b"i": lambda: _refuse(_OF_A_CLASS, self.globals.find(self._word(), self._word())),
            b"\x80": self._protocol,
            b"\x95": lambda: self._take(8),
            **dict.fromkeys((b"P", b"Q"), lambda: _refuse(_ELSEWHERE)),
            **dict.fromkeys((b"\x97", b"\x98"), lambda: _refuse(_OUT_OF_BAND)),
            **dict.fromkeys(
                (b"o", b"\x81", b"\x82", b"\x83", b"\x84", b"\x92"), lambda: _refuse(_OF_A_CLASS)
            ),
        }
        return {ord(code): operation for code, operation in operations.items()}

    def _length(self, width: int) -> int:
        """A number of so many bytes: how many follow, which are in the file, or EOFError."""
        size = int.from_bytes(self._take(width), "little")
        if size > self.window.left:
            raise EOFError
        self.budget.charge(size + HEAD)
        return size

    def _bytes(self, width: int) -> bytes:
        return self._take(self._length(width))

    def _line(self, longest: int) -> bytes:
        line = self.window.line(longest)
        self.budget.charge(len(line))
        return line

    def _word(self) -> str:
        return self._line(LINE).decode("utf-8")

    def _long(self, width: int) -> None:
        size = int.from_bytes(self._take(width), "little")
        if size > LONGEST_NUMBER:
            raise RefusedError("it holds an enormous number")
        self.stack.append(int.from_bytes(self._take(size), "little", signed=True))

    def _sized_text(self, width: int) -> None:
        size = self._length(width)
        if size <= LONG_TEXT:
            self._text(self._take(size))
        else:
            self._long_text(size)

    def _text(self, raw: bytes, encoding: str = "utf-8") -> None:
        if len(raw) > LONG_TEXT and np.frombuffer(raw, np.uint8).max() > LATIN:
            raise RefusedError("it holds an enormous text")
        how = "surrogatepass" if encoding == "utf-8" else "strict"
        text: str | LatinText = raw.decode(encoding, how)
        if len(raw) > LARGE and isinstance(text, str):
            with suppress(UnicodeEncodeError):  # else it is no array, but text
                text = LatinText(text.encode("latin-1"))
        self.budget.charge(text.__sizeof__() - len(raw) - HEAD)
        self.stack.append(text)

    def _long_text(self, size: int) -> None:
        """An array that protocol 2 wrote as text, a piece at a time: it is in memory once."""
        decoder, pieces = getincrementaldecoder("utf-8")(), list[bytes]()
        for start in range(0, size, PIECE):
            raw = self._take(min(PIECE, size - start))
            if np.frombuffer(raw, np.uint8).max() > LATIN:
                raise RefusedError("it holds an enormous text")
            pieces.append(decoder.decode(raw, start + PIECE >= size).encode("latin-1"))
        self.stack.append(LatinText(b"".join(pieces)))

    def _string_line(self) -> None:
        line = self._line(self.window.left)
        self.budget.charge(len(line) + HEAD)
        self.stack.append(quoted(line))

    def _protocol(self) -> None:
        if self._take(1)[0] > HIGHEST_PROTOCOL:
            raise RefusedError(f"it is of a protocol after {HIGHEST_PROTOCOL}")


_ELSEWHERE = "it names objects that lie elsewhere, as the data.pkl of a torch file does"
_OUT_OF_BAND = "its arrays lie in another file (out-of-band buffers)"
_OF_A_CLASS = "it asks for an object of a class"


def _refuse(why: str, *_: object) -> NoReturn:
    raise RefusedError(why)


def _line(buffer: bytes, at: int) -> tuple[bytes, int]:
    """The line behind the code at `at`, and where the next operation stands."""
    end = buffer.find(b"\n", at, at + LINE)
    if end < 0:
        raise EOFError
    return buffer[at + 1 : end], end + 1


def _int_line(line: bytes) -> int:
    """A whole number in digits, or a truth value of protocol 0."""
    if line in (b"00", b"01"):
        return line == b"01"
    if len(line) > 3 * LONGEST_NUMBER:
        raise RefusedError("it holds an enormous number")
    return int(line.removesuffix(b"L"))


def _floats(buffer: bytes, at: int, most: int) -> list[float]:
    """The floats that stand one after the other from `at` on, up to `most` of them."""
    rows = np.frombuffer(buffer, np.uint8, most * _RUN, at).reshape(most, _RUN)
    others = rows[:, 0] != _G
    count = int(others.argmax()) if others.any() else most
    found: list[float] = np.ascontiguousarray(rows[:count, 1:]).view(">f8").ravel().tolist()
    return found
