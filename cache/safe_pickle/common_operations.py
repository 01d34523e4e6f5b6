"""The operations that pickles consist of in the main, done without a call for each.

The same as `machine.py` does them one by one, check for check: this is what it spends its time on.
Memory is charged at the end, or before anything larger than `SHORT` is made.
"""

import struct
from typing import Any, Protocol

import numpy as np

from .limits import Budget, RefusedError
from .window import Window

NOTHING: Any = object()
"""A place of the memo that was passed over."""
POINTER, NUMBER, MARK, HEAD = 8, 24, 32, 48
"""Bytes of memory: of a place in a list, of a number, of a mark, of a text beside its letters."""
NO_LIST = "it appends to what is no list"
SHORT = 255
"""Bytes of a text that is read here."""
LINE = 256
"""Bytes of a number or a name that is written as a line."""
_LINES = frozenset(b"FVIL")
_ROOM = 16
"""Bytes that the longest operation without a text takes, and more."""
_FLOAT = struct.Struct(">d").unpack_from
_INT = struct.Struct("<i").unpack_from
_UNSIGNED = struct.Struct("<I").unpack_from
_G, _RUN = ord("G"), 9
"""The code of a float, and the bytes that it takes."""


class Operations(Protocol):
    """What the machine hands over: its state, and what takes a call."""

    window: Window
    budget: Budget
    stack: list[Any]
    marks: list[int]
    memo: list[Any]

    def put(self, place: int) -> None:
        """Remember what stands on top under a number."""

    def set_items(self, count: int | None) -> None:
        """Two values, or what was gathered, into a dict."""

    def tuple_to_mark(self) -> None:
        """What was gathered, as a tuple."""

    def int_line(self, line: bytes) -> None:
        """A whole number in digits."""

    def reduce(self) -> None:
        """Call one of the known functions."""

    def build(self) -> None:
        """Give an array or a type its content."""


def common(machine: Operations, most: int) -> int:
    """Carry out up to `most` operations, as far as they are common ones; returns how many."""
    stack, marks, memo = machine.stack, machine.marks, machine.memo
    push, window = stack.append, machine.window
    buffer, at, done, owed = window.buffer, window.place, 0, 0
    last = len(buffer) - _ROOM
    while done < most:
        if at > last:
            window.place = at
            window.fill()
            buffer, at = window.buffer, window.place
            last = len(buffer) - _ROOM
            if at > last:
                break  # the end is near
        code = buffer[at]
        if code >= 0x80:
            if code == 0x94:  # remember under the next number
                memo.append(stack[-1])
                at += 1
            elif code == 0x8C:
                size, start = buffer[at + 1], at + 2
                if start + size > len(buffer):
                    break
                text = buffer[start : start + size].decode("utf-8", "surrogatepass")
                push(text)
                at, owed = start + size, owed + text.__sizeof__()
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
                break
        elif code >= 0x60:
            if code == 0x71 or code == 0x72:  # q r: remember under a number
                place = buffer[at + 1] if code == 0x71 else _UNSIGNED(buffer, at + 1)[0]
                if place == len(memo):
                    memo.append(stack[-1])
                else:
                    machine.put(place)
                at += 2 if code == 0x71 else 5
            elif code == 0x68 or code == 0x6A:  # h j: what was remembered
                value = memo[buffer[at + 1] if code == 0x68 else _UNSIGNED(buffer, at + 1)[0]]
                if value is NOTHING:
                    raise IndexError
                push(value)
                at += 2 if code == 0x68 else 5
            elif code == 0x65:  # e: what was gathered, into a list
                begin = marks.pop()
                values = stack[begin:]
                del stack[begin:]
                target = stack[-1]
                if type(target) is not list:
                    raise RefusedError(NO_LIST)
                target.extend(values)
                at, owed = at + 1, owed + POINTER * len(values) - MARK
            elif code == 0x61:  # a: one
                value, target = stack.pop(), stack[-1]
                if type(target) is not list:
                    raise RefusedError(NO_LIST)
                target.append(value)
                at += 1
            elif code == 0x75 or code == 0x73:  # u s: into a dict
                machine.set_items(None if code == 0x75 else 2)
                at += 1
            elif code == 0x7D:
                push({})
                at, owed = at + 1, owed + 64
            elif code == 0x74:  # t: a tuple of what was gathered
                machine.tuple_to_mark()
                at += 1
            elif code == 0x62:  # b: give what was made its content
                machine.build()
                at += 1
            elif code == 0x70:  # p: remember under a number in digits
                end = buffer.find(b"\n", at, at + LINE)
                if end < 0:
                    break
                place = int(buffer[at + 1 : end])
                if place == len(memo):
                    memo.append(stack[-1])
                else:
                    machine.put(place)
                at = end + 1
            else:
                break
        elif code == _G:
            if buffer[at + _RUN] == _G and at + 5 * _RUN <= last and buffer[at + 4 * _RUN] == _G:
                count = min(most - done, (len(buffer) - at) // _RUN)
                found = _floats(buffer, at, count)
                stack.extend(found)
                at, done = at + _RUN * len(found), done + len(found) - 1
                owed += NUMBER * len(found)
            else:
                push(_FLOAT(buffer, at + 1)[0])
                at, owed = at + _RUN, owed + NUMBER
        elif code == 0x4B:  # K: a byte
            push(buffer[at + 1])
            at += 2
        elif code == 0x58:  # X: text
            size, start = _UNSIGNED(buffer, at + 1)[0], at + 5
            if size > SHORT or start + size > len(buffer):
                break
            text = buffer[start : start + size].decode("utf-8", "surrogatepass")
            push(text)
            at, owed = start + size, owed + text.__sizeof__()
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
            machine.reduce()
            at += 1
        elif code == 0x43:  # C: bytes
            size, start = buffer[at + 1], at + 2
            if start + size > len(buffer):
                break
            push(buffer[start : start + size])
            at, owed = start + size, owed + size + HEAD
        elif code == 0x4E:
            push(None)
            at += 1
        elif code in _LINES:
            end = buffer.find(b"\n", at, at + LINE)
            if end < 0:
                break
            line = buffer[at + 1 : end]
            if code == 0x46:  # F: a float in digits
                push(float(line))
            elif code == 0x56:  # V: text
                text = line.decode("raw-unicode-escape")
                push(text)
                owed += text.__sizeof__()
            else:  # I L: a whole number
                machine.int_line(line)
            at, owed = end + 1, owed + len(line)
        else:
            break
        done += 1
    window.place = at
    machine.budget.charge(owed)
    return done


def _floats(buffer: bytes, at: int, most: int) -> list[float]:
    """The floats that stand one after the other from `at` on, up to `most` of them."""
    rows = np.frombuffer(buffer, np.uint8, most * _RUN, at).reshape(most, _RUN)
    others = rows[:, 0] != _G
    count = int(others.argmax()) if others.any() else most
    found: list[float] = np.ascontiguousarray(rows[:count, 1:]).view(">f8").ravel().tolist()
    return found
