"""Corpus adapters: a folder the user already has becomes a manifest. Never a download."""

from ...cache.manifest import Manifest, read_manifest
from ...cache.store.summary import MANIFEST
from ...config import CorpusConfig
from . import cherma, csv_table, demo, meld, mmsa, mustard, urfunny


def load_manifest(corpus: CorpusConfig) -> Manifest:
    """The clips that [corpus] describes; raises ManifestError with every fault of the table."""
    if corpus.kind == "demo" or corpus.path is None:
        return demo.load(corpus.slug)
    name, path = corpus.slug, corpus.path
    match corpus.kind:
        case "csv":
            return csv_table.load(name, path)
        case "mmsa":
            return mmsa.load(name, path)
        case "meld":
            return meld.load(name, path, corpus.label)
        case "mustard":
            return mustard.load(name, path, corpus.speakers)
        case "urfunny":
            return urfunny.load(name, path)
        case "cherma":
            return cherma.load(name, path)
        case "imported":
            return read_manifest(path / MANIFEST)
