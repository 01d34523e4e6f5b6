"""Whose a cache folder is: one table made its manifest, and no other may use what lies in it."""

import contextlib
from dataclasses import replace
from pathlib import Path

from ...config import Config, CorpusConfig
from ...errors import CachedManifestError, ConfigError
from ..manifest import MANIFEST, Manifest, read_manifest
from .media_index import read_media

DEMO = ("extract", "corpora", "demo")
"""Where the demo corpus lies within the package."""
ALIKE = 0.5
"""Share of clips that a table whose file was moved has in common with what it was before."""


def cached_manifest(config: Config) -> Manifest:
    """The manifest of the pipeline's corpus; raises CachedManifestError, and ConfigError if it is
    that of another table."""
    found = with_digests(read_manifest(config.corpus_cache / MANIFEST), config.corpus_cache)
    place, theirs = table_path(config.corpus), found.table
    if place is not None and theirs is not None and _is_other(theirs, place):
        raise ConfigError(_foreign(config.corpus_cache, theirs, place))
    # the demo's own is wherever the package is installed
    if config.corpus.kind == "demo" and theirs is not None and theirs.parts[-len(DEMO) :] != DEMO:
        raise ConfigError(_foreign(config.corpus_cache, theirs, Path(*DEMO)))
    return found


def with_digests(manifest: Manifest, folder: Path) -> Manifest:
    """`manifest` with what the cache `folder` knows of its media files."""
    digests = {path: known.whole for path, known in read_media(folder).items()}
    return replace(manifest, media_digests=digests)


def refuse_foreign(config: Config, manifest: Manifest) -> None:
    """Raise ConfigError if the corpus's cache folder belongs to another table than `manifest`'s.

    A table that was moved, or is a copy, is the same one; so is one that was edited in its place.
    So is it if the features of this very table lie where an earlier version put them.
    """
    folder = config.corpus_cache
    _name_earlier(config, manifest)
    try:
        before = read_manifest(folder / MANIFEST)
    except CachedManifestError:
        return  # nothing there, or nothing that could be used: it is written anew
    if manifest.table is None or before.digest == manifest.digest:
        return
    # an earlier version kept the folder of the table alone
    ours, theirs = (manifest.table, before.table) if before.table else (manifest.root, before.root)
    if not _is_other(theirs, ours):
        return
    common = {c.id for c in before.clips} & {c.id for c in manifest.clips}
    moved = not theirs.exists() and len(common) > ALIKE * len(before.clips)
    if not moved:
        raise ConfigError(_foreign(folder, theirs, ours))


def _name_earlier(config: Config, manifest: Manifest) -> None:
    """Raise ConfigError if an earlier version cached this table under a name of any corpus."""
    earlier = config.cache.root / config.corpus.earlier_slug
    if earlier == config.corpus_cache or config.corpus_cache.exists():
        return
    try:
        before = read_manifest(earlier / MANIFEST)
    except CachedManifestError:
        return
    if before.table is None and not _is_other(before.root, manifest.root):
        raise ConfigError(
            f"corpus.name: an earlier version has put the features of this table in {earlier}. "
            f'Keep them with [corpus] name = "{earlier.name}", or rename the folder (and that of '
            f"the runs) to {config.corpus.slug}."
        )


def table_path(corpus: CorpusConfig) -> Path | None:
    """The table or folder that [corpus] names; None where it comes with the package, or is the
    manifest itself."""
    return None if corpus.kind in ("demo", "imported") else corpus.path


def _is_other(first: Path, second: Path) -> bool:
    if first == second:
        return False
    with contextlib.suppress(OSError):
        return not first.samefile(second)
    return True


def _foreign(folder: Path, theirs: Path, ours: Path) -> str:
    return (
        f"corpus.name: {folder} holds the features of another table, {theirs}; this pipeline's is "
        f'{ours}. Give this corpus a name of its own, [corpus] name = "…", or another cache.root.'
    )
