"""Lets a stage's folder be called as its function: `sedimental.extract(config)`."""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Stage(ModuleType):
    """A package that, called, calls the one function it is there for."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        name = self.__name__.rpartition(".")[2]
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
