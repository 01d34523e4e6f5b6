"""Write docs/reference: `python -m reference` with tools/ on the path, or `make reference`."""

from pathlib import Path

import typer.main

from reference.pages import pages
from sedimental.cli import app
from sedimental.schema import SCHEMA, as_text

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "docs/reference"

if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages(typer.main.get_command(app)).items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(FOLDER / name)
    (ROOT / SCHEMA).write_text(as_text(), encoding="utf-8")
