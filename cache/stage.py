"""Lets a stage's folder be called as its function: `sedimental.extract(config)`.

What a stage needs of another, and must not import, the root package hands over: its table `HANDED`
names, for a stage, keyword arguments and where their values are found.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any


class _Stage(ModuleType):
    """A package that, called, calls the one function it is there for."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        name = self.__name__.rpartition(".")[2]
        named = handed(self.__name__) | named
        return getattr(import_module(self.__dict__["_MAIN"], self.__name__), name)(
            *arguments, **named
        )


def callable_stage(package: str, main: str) -> None:
    """Make `package` callable: it stands for the function of its own name in its module `main`.

    The folders and the functions bear the same names, and whichever is imported first would
    otherwise hide the other.
    """
    module = sys.modules[package]
    module.__dict__["_MAIN"] = main
    module.__class__ = _Stage


def handed(package: str) -> dict[str, Any]:
    """What the root package hands over to the stage `package`, by keyword."""
    root, _, name = package.rpartition(".")
    table = getattr(sys.modules[root], "HANDED", {}).get(name, {})
    return {key: getattr(import_module(where, root), what) for key, (where, what) in table.items()}


def stage(package: str) -> Callable[..., Any]:
    """The stage's function as its package is called, with what is handed over to it."""
    found: Any = import_module(package)
    called: Callable[..., Any] = found
    return called
