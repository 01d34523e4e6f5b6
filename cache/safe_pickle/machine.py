"""A pickle's operations, carried out on plain data alone; nothing of Python's pickle takes part.

The operations are those of protocols 0 to 5 as `pickletools` describes them. There is no way to
look up, call or change anything but what `globals.py` lists, and entries are put only into dicts,
lists and sets that were made here. Every operation takes time in proportion to what it reads.
"""

import struct
from codecs import getincrementaldecoder
from collections.abc import Callable
from contextlib import suppress
from itertools import repeat
from typing import IO, Any

import numpy as np

from .common_operations import HEAD, LINE, MARK, NO_LIST, NOTHING, NUMBER, POINTER, common
from .globals import ENTRY, Globals, key_of
from .limits import Budget, Limits, RefusedError
from .values import ArraySaid, DtypeSaid, Global, LatinText, OldText, Plain, quoted
from .window import LARGE, Window

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


class Machine:
    """One reading of one pickle out of `file`, which has `size` bytes after where it stands."""

    def __init__(self, file: IO[bytes], size: int, limits: Limits) -> None:
        self.window, self._size, self._limits = Window(file, size), size, limits
        self._take = self.window.take
        self.budget = Budget(limits.bytes_for(size))
        self._globals = Globals(self.budget)
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: list[Any] = []

    def run(self) -> Any:
        """What the pickle holds, as plain data."""
        table = self._table()
        for _ in range(self._limits.values // BLOCK):
            self.budget.charge(POINTER * BLOCK)
            done = 0
            while done < BLOCK:
                done += common(self, BLOCK - done)
                if done == BLOCK:
                    break
                code = self._take(1)
                if code == b".":
                    result = self.stack.pop()
                    self.memo, self.stack = [], []
                    return Plain(self._limits, self.budget).whole(result)
                table[code]()
                done += 1
        raise RefusedError(f"it holds more than {self._limits.values:,} values")

    def _table(self) -> dict[bytes, Callable[[], None]]:
        """What each operation does; those that are missing are none, or not for data."""
        push = self.stack.append
        return {
            b"N": lambda: push(None),
            b"\x88": lambda: push(True),
            b"\x89": lambda: push(False),
            b"I": lambda: self.int_line(self._line(LINE)),
            b"L": lambda: self.int_line(self._line(LINE)),
            b"J": lambda: self._int(4, signed=True),
            b"K": lambda: push(self._take(1)[0]),
            b"M": lambda: self._int(2, signed=False),
            b"\x8a": lambda: self._long(1),
            b"\x8b": lambda: self._long(4),
            b"F": lambda: push(float(self._line(LINE))),
            b"G": self._float,
            b"S": self._string_line,
            b"T": lambda: push(OldText(self._bytes(4))),
            b"U": lambda: push(OldText(self._bytes(1))),
            b"V": lambda: self._text(self._line(self.window.left), "raw-unicode-escape"),
            b"X": lambda: self._sized_text(4),
            b"\x8c": lambda: self._sized_text(1),
            b"\x8d": lambda: self._sized_text(8),
            b"B": lambda: push(self._bytes(4)),
            b"C": lambda: push(self._bytes(1)),
            b"\x8e": lambda: push(self._bytes(8)),
            b"\x96": lambda: push(self._bytes(8)),
            b"(": self._mark,
            b")": lambda: push(()),
            b"t": self.tuple_to_mark,
            b"\x85": lambda: self._tuple(1),
            b"\x86": lambda: self._tuple(2),
            b"\x87": lambda: self._tuple(3),
            b"]": lambda: self._container([]),
            b"l": lambda: self._container(self._to_mark(POINTER)),
            b"a": lambda: self._append(1),
            b"e": lambda: self._append(None),
            b"}": lambda: self._container({}),
            b"d": self._dict,
            b"s": lambda: self.set_items(2),
            b"u": lambda: self.set_items(None),
            b"\x8f": lambda: self._container(set()),
            b"\x90": self._add_items,
            b"\x91": lambda: self._container(frozenset(map(key_of, self._to_mark(ENTRY)))),
            b"0": self._pop,
            b"1": lambda: self._drop(self._to_mark(0)),
            b"2": lambda: push(self.stack[-1]),
            b"p": lambda: self.put(int(self._line(LINE))),
            b"q": lambda: self.put(self._take(1)[0]),
            b"r": lambda: self.put(int.from_bytes(self._take(4), "little")),
            b"\x94": lambda: self.memo.append(self.stack[-1]),
            b"g": lambda: push(self._get(int(self._line(LINE)))),
            b"h": lambda: push(self._get(self._take(1)[0])),
            b"j": lambda: push(self._get(int.from_bytes(self._take(4), "little"))),
            b"c": lambda: push(self._globals.find(self._word(), self._word())),
            b"\x93": self._stack_global,
            b"i": self._instance,
            b"R": self.reduce,
            b"b": self.build,
            b"\x80": self._protocol,
            b"\x95": lambda: self._drop(self._take(8)),
            b"P": _persistent,
            b"Q": _persistent,
            b"\x97": _out_of_band,
            b"\x98": _out_of_band,
            **dict.fromkeys((b"o", b"\x81", b"\x82", b"\x83", b"\x84", b"\x92"), _of_a_class),
        }

    # What is read

    def _bytes(self, width: int) -> bytes:
        """So many bytes as the number before them says, which are in the file, or EOFError."""
        size = int.from_bytes(self._take(width), "little")
        if size > self.window.left:
            raise EOFError
        self.budget.charge(size + HEAD)
        return self._take(size)

    def _line(self, longest: int) -> bytes:
        line = self.window.line(longest)
        self.budget.charge(len(line))
        return line

    def _word(self) -> str:
        return self._line(LINE).decode("utf-8")

    # Values

    def _int(self, width: int, signed: bool) -> None:
        self.budget.charge(NUMBER)
        self.stack.append(int.from_bytes(self._take(width), "little", signed=signed))

    def int_line(self, line: bytes) -> None:
        """A whole number in digits, or a truth value of protocol 0."""
        if line in (b"00", b"01"):  # truth values of protocol 0
            self.stack.append(line == b"01")
        elif len(line) > 3 * LONGEST_NUMBER:
            raise RefusedError("it holds an enormous number")
        else:
            self.stack.append(int(line.removesuffix(b"L")))

    def _long(self, width: int) -> None:
        size = int.from_bytes(self._take(width), "little")
        if size > LONGEST_NUMBER:
            raise RefusedError("it holds an enormous number")
        self.stack.append(int.from_bytes(self._take(size), "little", signed=True))

    def _float(self) -> None:
        self.budget.charge(NUMBER)
        self.stack.append(_FLOAT(self._take(8))[0])

    def _sized_text(self, width: int) -> None:
        size = int.from_bytes(self._take(width), "little")
        if size > self.window.left:
            raise EOFError
        self.budget.charge(size + HEAD)
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

    # Containers

    def _mark(self) -> None:
        self.budget.charge(MARK)
        self.marks.append(len(self.stack))

    def _to_mark(self, each: int) -> list[Any]:
        """What was pushed since the last mark, taken off; each is charged as part of something."""
        self.budget.charge(-MARK)
        start = self.marks.pop()
        found = self.stack[start:]
        del self.stack[start:]
        self.budget.charge(each * len(found))
        return found

    def _container(self, value: Any) -> None:
        self.budget.charge(216 if type(value) in (set, frozenset) else 64)
        self.stack.append(value)

    def tuple_to_mark(self) -> None:
        """What was gathered, as a tuple."""
        self.stack.append(tuple(self._to_mark(POINTER)))

    def _tuple(self, length: int) -> None:
        if len(self.stack) < length:
            raise IndexError
        self.budget.charge(40 + POINTER * length)
        self.stack[-length:] = [tuple(self.stack[-length:])]

    def _append(self, count: int | None) -> None:
        values = self._to_mark(POINTER) if count is None else [self.stack.pop()]
        target = self.stack[-1]
        if type(target) is not list:
            raise RefusedError(NO_LIST)
        target.extend(values)

    def _dict(self) -> None:
        flat = self._to_mark(POINTER)
        self._container({})
        self._put_items(flat)

    def set_items(self, count: int | None) -> None:
        """Two values, or what was gathered, into a dict."""
        if count is None:
            flat = self._to_mark(POINTER)
        else:
            value = self.stack.pop()
            flat = [self.stack.pop(), value]
        self._put_items(flat)

    def _put_items(self, flat: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(flat) % 2:
            raise RefusedError("it puts entries into what is no dict")
        self.budget.charge(ENTRY // 2 * len(flat))
        names = flat[::2]
        if not set(map(type, names)) <= {str}:
            names = [key_of(name) for name in names]
        target.update(zip(names, flat[1::2], strict=True))

    def _add_items(self) -> None:
        values, target = self._to_mark(ENTRY), self.stack[-1]
        if type(target) is not set:
            raise RefusedError("it adds members to what is no set")
        target.update(map(key_of, values))

    # Stack and memo

    def _pop(self) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self._to_mark(0)
        else:
            self.stack.pop()

    def _drop(self, _: Any) -> None:
        """What was read is of no use."""

    def put(self, place: int) -> None:
        """Remember what stands on top under a number."""
        if not 0 <= place <= self._size:  # values are numbered, and none takes less than a byte
            raise IndexError
        gap = place - len(self.memo)
        if gap >= 0:
            self.budget.charge(POINTER * gap)
            self.memo.extend(repeat(NOTHING, gap + 1))
        self.memo[place] = self.stack[-1]

    def _get(self, place: int) -> Any:
        value = self.memo[place] if place >= 0 else NOTHING
        if value is NOTHING:
            raise IndexError
        return value

    # Names

    def _stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise RefusedError("it asks for what is no name")
        self.stack.append(self._globals.find(module, name))

    def _instance(self) -> None:
        self._globals.find(self._word(), self._word())
        _of_a_class()

    def reduce(self) -> None:
        """Call one of the known functions."""
        given, function = self.stack.pop(), self.stack.pop()
        self.stack.append(self._globals.call(function, given))

    def build(self) -> None:
        """Give an array or a type its content."""
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) is ArraySaid:
            self._globals.build(target, state)
        elif type(target) is DtypeSaid:
            target.build(state)
        else:
            what = "a function" if type(target) is Global else "what cannot be changed"
            raise RefusedError(f"it changes {what}")

    def _protocol(self) -> None:
        if self._take(1)[0] > HIGHEST_PROTOCOL:
            raise RefusedError(f"it is of a protocol after {HIGHEST_PROTOCOL}")


_FLOAT = struct.Struct(">d").unpack


def _persistent() -> None:
    raise RefusedError("it names objects that lie elsewhere, as the data.pkl of a torch file does")


def _out_of_band() -> None:
    raise RefusedError("its arrays lie in another file (out-of-band buffers)")


def _of_a_class() -> None:
    raise RefusedError("it asks for an object of a class")
