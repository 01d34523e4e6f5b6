"""A pickle's operations, carried out on plain data alone; nothing of Python's pickle takes part.

The operations are those of protocols 0 to 5 as `pickletools` describes them. There is no way to
look up, call or change anything but what `globals.py` lists, and entries are put only into dicts,
lists and sets that were made here. Every operation takes time in proportion to what it reads.
"""

import re
import struct
from collections.abc import Callable
from itertools import repeat
from typing import IO, Any

import numpy as np

from .globals import ENTRY, Globals, key_of
from .limits import Budget, Limits, RefusedError
from .values import ArraySaid, DtypeSaid, Global, OldText, Plain

POINTER, NUMBER, MARK, HEAD = 8, 24, 32, 48
"""Bytes of memory: of a place in a list, of a number, of a mark, of a text beside its letters."""
BLOCK = 4096
"""Operations between two looks at how many there were."""
LINE = 256
"""Bytes of a number or a name that is written as a line."""
LARGE = 1 << 16
LONG_TEXT = 1 << 24
"""Bytes from which text must be Latin-1: such are arrays; one rare letter makes it four times."""
LONGEST_NUMBER = 16
"""Bytes of a whole number."""
HIGHEST_PROTOCOL = 5
_ESCAPES = re.compile(rb"\\(x[0-9a-fA-F]{2}|[\\'\"abfnrtv])")
_SIGNS = {
    ord(sign): code
    for sign, code in zip(b"\\'\"abfnrtv".decode(), b"\\'\"\a\b\f\n\r\t\v", strict=True)
}


class Machine:
    """One reading of one pickle out of `file`, which has `size` bytes after where it stands."""

    def __init__(self, file: IO[bytes], size: int, limits: Limits) -> None:
        self._file, self._read, self._size, self._limits = file, file.read, size, limits
        self._begin = file.tell()
        self._budget = Budget(limits.bytes_for(size))
        self._globals = Globals(self._budget)
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: list[Any] = []

    def run(self) -> Any:
        """What the pickle holds, as plain data."""
        read, table = self._read, self._table()
        for _ in range(self._limits.values // BLOCK):
            self._budget.charge(POINTER * BLOCK)
            for _ in range(BLOCK):
                code = read(1)
                if code == b".":
                    result = self._stack.pop()
                    self._memo, self._stack = [], []
                    return Plain(self._limits, self._budget).whole(result)
                table[code]()
        raise RefusedError(f"it holds more than {self._limits.values:,} values")

    def _table(self) -> dict[bytes, Callable[[], None]]:
        """What each operation does; those that are missing are none, or not for data."""
        push = self._stack.append
        return {
            b"N": lambda: push(None),
            b"\x88": lambda: push(True),
            b"\x89": lambda: push(False),
            b"I": self._int_line,
            b"L": self._int_line,
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
            b"V": lambda: self._text(self._line(self._left()), "raw-unicode-escape"),
            b"X": lambda: self._text(self._bytes(4)),
            b"\x8c": lambda: self._text(self._bytes(1)),
            b"\x8d": lambda: self._text(self._bytes(8)),
            b"B": lambda: push(self._bytes(4)),
            b"C": lambda: push(self._bytes(1)),
            b"\x8e": lambda: push(self._bytes(8)),
            b"\x96": lambda: push(self._bytes(8)),
            b"(": self._mark,
            b")": lambda: push(()),
            b"t": lambda: push(tuple(self._to_mark(POINTER))),
            b"\x85": lambda: self._tuple(1),
            b"\x86": lambda: self._tuple(2),
            b"\x87": lambda: self._tuple(3),
            b"]": lambda: self._container([]),
            b"l": lambda: self._container(self._to_mark(POINTER)),
            b"a": lambda: self._append(1),
            b"e": lambda: self._append(None),
            b"}": lambda: self._container({}),
            b"d": self._dict,
            b"s": lambda: self._set_items(2),
            b"u": lambda: self._set_items(None),
            b"\x8f": lambda: self._container(set()),
            b"\x90": self._add_items,
            b"\x91": lambda: self._container(frozenset(map(key_of, self._to_mark(ENTRY)))),
            b"0": self._pop,
            b"1": lambda: self._drop(self._to_mark(0)),
            b"2": lambda: push(self._stack[-1]),
            b"p": lambda: self._put(int(self._line(LINE))),
            b"q": lambda: self._put(self._take(1)[0]),
            b"r": lambda: self._put(int.from_bytes(self._take(4), "little")),
            b"\x94": lambda: self._memo.append(self._stack[-1]),
            b"g": lambda: push(self._get(int(self._line(LINE)))),
            b"h": lambda: push(self._get(self._take(1)[0])),
            b"j": lambda: push(self._get(int.from_bytes(self._take(4), "little"))),
            b"c": lambda: push(self._globals.find(self._word(), self._word())),
            b"\x93": self._stack_global,
            b"i": self._instance,
            b"R": self._reduce,
            b"b": self._build,
            b"\x80": self._protocol,
            b"\x95": lambda: self._drop(self._take(8)),
            b"P": _persistent,
            b"Q": _persistent,
            b"\x97": _out_of_band,
            b"\x98": _out_of_band,
            **dict.fromkeys((b"o", b"\x81", b"\x82", b"\x83", b"\x84", b"\x92"), _of_a_class),
        }

    # What is read

    def _left(self) -> int:
        return self._size - (self._file.tell() - self._begin)

    def _take(self, size: int) -> bytes:
        data = self._read(size)
        if len(data) != size:
            raise EOFError
        return data

    def _bytes(self, width: int) -> bytes:
        """So many bytes as the number before them says, which are in the file, or EOFError."""
        size = int.from_bytes(self._take(width), "little")
        if size > LARGE and size > self._left():
            raise EOFError
        self._budget.charge(size + HEAD)
        return self._take(size)

    def _line(self, longest: int) -> bytes:
        line = self._file.readline(longest + 1)
        if not line.endswith(b"\n"):
            raise EOFError
        self._budget.charge(len(line))
        return line[:-1]

    def _word(self) -> str:
        return self._line(LINE).decode("utf-8")

    # Values

    def _int(self, width: int, signed: bool) -> None:
        self._budget.charge(NUMBER)
        self._stack.append(int.from_bytes(self._take(width), "little", signed=signed))

    def _int_line(self) -> None:
        line = self._line(LINE)
        if line in (b"00", b"01"):  # truth values of protocol 0
            self._stack.append(line == b"01")
        elif len(line) > 3 * LONGEST_NUMBER:
            raise RefusedError("it holds an enormous number")
        else:
            self._stack.append(int(line.removesuffix(b"L")))

    def _long(self, width: int) -> None:
        size = int.from_bytes(self._take(width), "little")
        if size > LONGEST_NUMBER:
            raise RefusedError("it holds an enormous number")
        self._stack.append(int.from_bytes(self._take(size), "little", signed=True))

    def _float(self) -> None:
        self._budget.charge(NUMBER)
        self._stack.append(_FLOAT(self._take(8))[0])

    def _text(self, raw: bytes, encoding: str = "utf-8") -> None:
        if len(raw) > LONG_TEXT and np.frombuffer(raw, np.uint8).max() > 0xC3:
            raise RefusedError("it holds an enormous text")
        how = "surrogatepass" if encoding == "utf-8" else "strict"
        text = raw.decode(encoding, how)
        self._budget.charge(text.__sizeof__() - len(raw) - HEAD)
        self._stack.append(text)

    def _string_line(self) -> None:
        line = self._line(self._left())
        if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in b"'\"":
            raise ValueError("a string without its quotes")
        self._budget.charge(len(line) + HEAD)
        self._stack.append(OldText(_ESCAPES.sub(_unescaped, line[1:-1])))

    # Containers

    def _mark(self) -> None:
        self._budget.charge(MARK)
        self._marks.append(len(self._stack))

    def _to_mark(self, each: int) -> list[Any]:
        """What was pushed since the last mark, taken off; each is charged as part of something."""
        self._budget.charge(-MARK)
        start = self._marks.pop()
        found = self._stack[start:]
        del self._stack[start:]
        self._budget.charge(each * len(found))
        return found

    def _container(self, value: Any) -> None:
        self._budget.charge(216 if type(value) in (set, frozenset) else 64)
        self._stack.append(value)

    def _tuple(self, length: int) -> None:
        if len(self._stack) < length:
            raise IndexError
        self._budget.charge(40 + POINTER * length)
        self._stack[-length:] = [tuple(self._stack[-length:])]

    def _append(self, count: int | None) -> None:
        values = self._to_mark(POINTER) if count is None else [self._stack.pop()]
        target = self._stack[-1]
        if type(target) is not list:
            raise RefusedError("it appends to what is no list")
        target.extend(values)

    def _dict(self) -> None:
        flat = self._to_mark(POINTER)
        self._container({})
        self._put_items(flat)

    def _set_items(self, count: int | None) -> None:
        if count is None:
            flat = self._to_mark(POINTER)
        else:
            value = self._stack.pop()
            flat = [self._stack.pop(), value]
        self._put_items(flat)

    def _put_items(self, flat: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not dict or len(flat) % 2:
            raise RefusedError("it puts entries into what is no dict")
        self._budget.charge(ENTRY // 2 * len(flat))
        for k in range(0, len(flat), 2):
            target[key_of(flat[k])] = flat[k + 1]

    def _add_items(self) -> None:
        values, target = self._to_mark(ENTRY), self._stack[-1]
        if type(target) is not set:
            raise RefusedError("it adds members to what is no set")
        target.update(map(key_of, values))

    # Stack and memo

    def _pop(self) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._to_mark(0)
        else:
            self._stack.pop()

    def _drop(self, _: Any) -> None:
        """What was read is of no use."""

    def _put(self, place: int) -> None:
        if not 0 <= place <= self._size:  # values are numbered, and none takes less than a byte
            raise IndexError
        gap = place - len(self._memo)
        if gap >= 0:
            self._budget.charge(POINTER * gap)
            self._memo.extend(repeat(_NOTHING, gap + 1))
        self._memo[place] = self._stack[-1]

    def _get(self, place: int) -> Any:
        value = self._memo[place] if place >= 0 else _NOTHING
        if value is _NOTHING:
            raise IndexError
        return value

    # Names

    def _stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if type(name) is not str or type(module) is not str:
            raise RefusedError("it asks for what is no name")
        self._stack.append(self._globals.find(module, name))

    def _instance(self) -> None:
        self._globals.find(self._word(), self._word())
        _of_a_class()

    def _reduce(self) -> None:
        given, function = self._stack.pop(), self._stack.pop()
        self._stack.append(self._globals.call(function, given))

    def _build(self) -> None:
        state, target = self._stack.pop(), self._stack[-1]
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
_NOTHING = object()


def _unescaped(match: re.Match[bytes]) -> bytes:
    said = match[1]
    return bytes([int(said[1:], 16) if said[:1] == b"x" else _SIGNS[said[0]]])


def _persistent() -> None:
    raise RefusedError("it names objects that lie elsewhere, as the data.pkl of a torch file does")


def _out_of_band() -> None:
    raise RefusedError("its arrays lie in another file (out-of-band buffers)")


def _of_a_class() -> None:
    raise RefusedError("it asks for an object of a class")
