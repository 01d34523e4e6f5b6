"""docs/example.ipynb is what its cells say, and every one of them ran."""

import ast
import json
from pathlib import Path
from typing import Any

from example_notebook.cells import CELLS, CODE

import sedimental

ROOT = Path(__file__).parent.parent
CELLS_THERE: list[Any] = json.loads((ROOT / "docs/example.ipynb").read_text(encoding="utf-8"))[
    "cells"
]


def source(cell: Any) -> str:
    return "".join(cell["source"])


def test_its_cells_are_those_of_the_tool() -> None:
    """`make notebook` writes it anew."""
    assert [(c["cell_type"], source(c)) for c in CELLS_THERE] == CELLS


def test_every_cell_ran_and_shows_its_result() -> None:
    ran = [cell for cell in CELLS_THERE if cell["cell_type"] == CODE]
    assert [cell["execution_count"] for cell in ran] == list(range(1, len(ran) + 1))
    kinds = {output["output_type"] for cell in ran for output in cell["outputs"]}
    assert "error" not in kinds
    shown = [output["data"] for cell in ran for output in cell["outputs"] if "data" in output]
    pages = ["".join(data.get("text/html", "")) for data in shown]
    assert sum("<table>" in page for page in pages) >= 6
    assert sum("<svg" in page for page in pages) == 1
    assert (ROOT / "docs/example.ipynb").stat().st_size < 400_000


def test_what_it_calls_is_there() -> None:
    for cell in CELLS_THERE:
        if cell["cell_type"] != CODE:
            continue
        for node in ast.walk(ast.parse(source(cell))):
            match node:
                case ast.Attribute(ast.Name("sedimental"), name):
                    assert hasattr(sedimental, name), name
