"""Run the cells in an empty folder and write docs/example.ipynb: `make notebook`.

Needs nbformat, nbclient and ipykernel, which nothing else does.
"""

import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from .cells import CELLS, TEXT

FILE = Path(__file__).parent.parent.parent / "docs/example.ipynb"


def main() -> None:
    """Write the executed notebook."""
    made = nbformat.v4
    cells = [made.new_markdown_cell(t) if k == TEXT else made.new_code_cell(t) for k, t in CELLS]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    notebook = made.new_notebook(cells=cells)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=3600, resources=resources).execute()
    for cell in notebook.cells:
        cell.metadata.clear()  # when it ran is no news
        if "outputs" in cell:  # what a library writes to stderr neither
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    notebook.metadata.clear()
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    nbformat.write(notebook, FILE)
    print(f"wrote {FILE}, {FILE.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
