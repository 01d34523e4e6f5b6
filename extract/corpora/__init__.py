"""Corpus adapters: a folder the user already has becomes a manifest. Never a download."""

from dataclasses import replace

from ...cache.corpus.corpus_table import table_path
from ...cache.manifest import MANIFEST, Manifest, read_manifest
from ...cache.spec import MOSEI_EMOTIONS
from ...config import CorpusConfig
from ...registries import ADDED_CORPORA, PluginError
from . import (
    cherma,
    crema_d,
    csv_table,
    demo,
    emobox,
    iemocap,
    meld,
    mer2023,
    mmsa,
    msp_podcast,
    mustard,
    ravdess,
    sims_v2,
    urfunny,
)
from .divide import divided

UNSPLIT = ("crema-d", "ravdess")
"""Kinds whose releases have no splits: dealt out as under ``split = "auto"``."""


def load_manifest(corpus: CorpusConfig) -> Manifest:
    """The clips that [corpus] describes; raises ManifestError with every fault of the table."""
    how = {"split": "auto"} if corpus.kind in UNSPLIT and corpus.folds is None else {}
    manifest = divided(_loaded(corpus), corpus.model_copy(update=how))
    return replace(manifest, table=table_path(corpus) or manifest.table)


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
        case "mosei":
            return mmsa.load(name, path, unsplit, MOSEI_EMOTIONS)
        case "sims-v2":
            return sims_v2.load(name, path, corpus.unlabelled)
        case "iemocap":
            return iemocap.load(name, path, corpus.emotions, corpus.folds == len(iemocap.SESSIONS))
        case "crema-d":
            return crema_d.load(name, path)
        case "ravdess":
            return ravdess.load(name, path)
        case "msp-podcast":
            return msp_podcast.load(name, path, corpus.tests)
        case "mer2023":
            return mer2023.load(name, path, corpus.tests, corpus.unlabelled)
        case "emobox":
            return emobox.load(name, path)
        case "imported":
            return read_manifest(path / MANIFEST)
    manifest = ADDED_CORPORA.load(corpus.kind)(corpus)  # its own faults are ManifestError
    if not isinstance(manifest, Manifest):
        raise PluginError(
            f'{ADDED_CORPORA.group}: "{corpus.kind}" gives {type(manifest).__name__}, not a '
            "Manifest. Mend the package that adds it, or uninstall it."
        )
    return manifest
