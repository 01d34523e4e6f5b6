"""Which entries a name means."""

from collections.abc import Iterable, Sequence

from ..config.base import snake
from ..config.forgiving import ELSEWHERE
from .entries import Entry


def matching(name: str, known: Sequence[Entry]) -> list[Entry]:
    """The entries called `name`; else those whose name ends in it, alike ones once.

    A section (``train``, ``[train.inputs]``) means all of its keys.
    """
    asked = name.strip().strip("[]").lower()
    own = ".".join(map(snake, asked.split(".")))  # a model in its paper's letters
    alias = {asked, own, f"train.{own}", ELSEWHERE.get(own, "")}
    exact = [e for e in known if e.name.lower() in alias]
    ending = [e for e in known if e.name.lower().endswith(f".{asked}")]
    keys = [e for e in known if e.kind == "key" and e.name.rpartition(".")[0] == asked]
    return next((_once(found) for found in (exact, ending, keys) if found), [])


def names_of(known: Iterable[Entry]) -> list[str]:
    """What entries may be asked by: whole names and last parts."""
    whole = [entry.name for entry in known]
    return list(dict.fromkeys([*whole, *(name.rpartition(".")[2] for name in whole)]))


def _once(found: Sequence[Entry]) -> list[Entry]:
    """Of keys that three tables share, one."""
    return list({(e.kind, e.words, e.values, e.default): e for e in reversed(found)}.values())[::-1]
