"""Corpus adapters: a folder the user already has becomes a manifest. Never a download."""

from ...cache.manifest import Manifest
from ...config import CorpusConfig
from . import csv_table, demo, mmsa


def load_manifest(corpus: CorpusConfig) -> Manifest:
    """The clips that [corpus] describes; raises ManifestError with every fault of the table."""
    if corpus.kind == "demo" or corpus.path is None:
        return demo.load(corpus.slug)
    load = {"csv": csv_table.load, "mmsa": mmsa.load}[corpus.kind]
    return load(corpus.slug, corpus.path)
