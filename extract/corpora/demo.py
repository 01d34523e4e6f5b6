"""The synthetic corpus that ships with the package: drawn faces, machine voices, written lines."""

from pathlib import Path

from ...cache.manifest import Manifest
from . import mmsa

FOLDER = Path(__file__).parent / "demo"


def load(name: str) -> Manifest:
    """The demo corpus, in the mmsa layout; tools/demo_corpus makes it."""
    return mmsa.load(name, FOLDER)
