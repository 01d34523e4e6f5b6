"""Corpus adapters: a folder the user already has becomes a manifest. Never a download."""

from dataclasses import replace

from ...cache.corpus_table import table_path
from ...cache.manifest import MANIFEST, Manifest, read_manifest
from ...config import CorpusConfig
from . import cherma, csv_table, demo, meld, mmsa, mustard, urfunny
from .divide import divided


def load_manifest(corpus: CorpusConfig) -> Manifest:
    """The clips that [corpus] describes; raises ManifestError with every fault of the table."""
    found = divided(_loaded(corpus), corpus)
    return replace(found, table=table_path(corpus) or found.table)


def _loaded(corpus: CorpusConfig) -> Manifest:
    if corpus.kind == "demo" or corpus.path is None:
        return replace(demo.load(corpus.slug), table=demo.FOLDER)
    name, path = corpus.slug, corpus.path
    unsplit = corpus.split == "auto" or corpus.folds is not None
    match corpus.kind:
        case "csv":
            return csv_table.load(name, path, unsplit)
        case "mmsa":
            return mmsa.load(name, path, unsplit)
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
