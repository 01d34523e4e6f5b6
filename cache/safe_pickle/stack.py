"""A pickle's stack and memo: what was read and is not yet part of anything, charged to a budget.

Entries are put only into dicts, lists and sets that were made here, and nothing is called or
changed but what `globals.py` lists.
"""

from itertools import repeat
from typing import Any

from .globals import ENTRY, Globals, key_of
from .limits import Budget, RefusedError
from .values import ArraySaid, DtypeSaid, Global

NOTHING: Any = object()
"""A place of the memo that was passed over."""
POINTER, NUMBER, MARK, HEAD = 8, 24, 32, 48
"""Bytes of memory: of a place in a list, of a number, of a mark, of a text beside its letters."""
NO_LIST = "it appends to what is no list"


class Stack:
    """The values of a pickle of `size` bytes, while it is read."""

    def __init__(self, size: int, budget: Budget) -> None:
        self._size, self.budget, self.globals = size, budget, Globals(budget)
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: list[Any] = []

    def to_mark(self, each: int) -> list[Any]:
        """What was pushed since the last mark, taken off; `each` is what a value is charged."""
        self.budget.charge(-MARK)
        start = self.marks.pop()
        found = self.stack[start:]
        del self.stack[start:]
        self.budget.charge(each * len(found))
        return found

    def push_container(self, value: Any) -> None:
        """An empty list, dict or set, or one that was charged by its members."""
        self.budget.charge(216 if type(value) in (set, frozenset) else 64)
        self.stack.append(value)

    def push_dict(self) -> None:
        """A dict of what was gathered."""
        flat = self.to_mark(POINTER)
        self.push_container({})
        self.set_items(flat)

    def set_items(self, flat: list[Any]) -> None:
        """Keys and values, one after the other, into the dict on top."""
        target = self.stack[-1]
        if type(target) is not dict or len(flat) % 2:
            raise RefusedError("it puts entries into what is no dict")
        self.budget.charge(ENTRY // 2 * len(flat))
        names = flat[::2]
        if not set(map(type, names)) <= {str}:
            names = [key_of(name) for name in names]
        target.update(zip(names, flat[1::2], strict=True))

    def add_items(self) -> None:
        """What was gathered, into the set below it."""
        values, target = self.to_mark(ENTRY), self.stack[-1]
        if type(target) is not set:
            raise RefusedError("it adds members to what is no set")
        target.update(map(key_of, values))

    def pop(self) -> None:
        """Drop what stands on top: a mark, or a value."""
        if self.marks and self.marks[-1] == len(self.stack):
            self.to_mark(0)
        else:
            self.stack.pop()

    def put(self, place: int) -> None:
        """Remember what stands on top under a number."""
        if not 0 <= place <= self._size:  # values are numbered, and none takes less than a byte
            raise IndexError
        gap = place - len(self.memo)
        if gap >= 0:
            self.budget.charge(POINTER * gap)
            self.memo.extend(repeat(NOTHING, gap + 1))
        self.memo[place] = self.stack[-1]

    def get(self, place: int) -> None:
        """Push what was remembered under a number."""
        value = self.memo[place] if place >= 0 else NOTHING
        if value is NOTHING:
            raise IndexError
        self.stack.append(value)

    def push_global(self) -> None:
        """What stands for the name that two texts say."""
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise RefusedError("it asks for what is no name")
        self.stack.append(self.globals.find(module, name))

    def reduce(self) -> None:
        """Call one of the known functions."""
        arguments, function = self.stack.pop(), self.stack.pop()
        self.stack.append(self.globals.call(function, arguments))

    def build(self) -> None:
        """Give an array or a type its content."""
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) is ArraySaid:
            self.globals.build(target, state)
        elif type(target) is DtypeSaid:
            target.build(state)
        else:
            what = "a function" if type(target) is Global else "what cannot be changed"
            raise RefusedError(f"it changes {what}")
