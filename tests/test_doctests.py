"""Runs the examples in docstrings under the names users import."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import sedimental

ROOT = (
    "config",
    *(file.stem for file in Path(sedimental.__path__[0]).glob("*.py") if file.stem[0] != "_"),
)
NAMES = [f"sedimental.{name}" for name in ROOT] + [
    module.name
    for stage in ("config", "extract", "cache", "train", "evaluate")
    for module in pkgutil.walk_packages(
        [f"{sedimental.__path__[0]}/{stage}"], f"sedimental.{stage}."
    )
]


@pytest.mark.parametrize("name", NAMES)
def test_examples_hold(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
