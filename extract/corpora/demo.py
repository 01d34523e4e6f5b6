"""The synthetic corpus that ships with the package: drawn faces, machine voices, written lines."""

from pathlib import Path

from ...cache.manifest import Manifest
from . import mmsa

FOLDER = Path(__file__).parent / "demo"


def load(name: str) -> Manifest:
    """The demo corpus, in the mmsa layout; `make_demo.py` beside this file makes it."""
    return mmsa.load(name, FOLDER)
