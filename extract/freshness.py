"""Whether features are still of their media: cheap enough to look before every command."""

from collections.abc import Iterator, Mapping

from ..cache.manifest import Clip, Manifest
from ..cache.store.find import find_store
from ..cache.store.store import Store, open_store
from ..config import Config
from ..errors import StoreError
from .decode.clip_error import ClipError
from .decode.media import media_source

SHOWN = 3
"""Clips that a message names at most."""


def stale_media(config: Config, manifest: Manifest) -> Iterator[str]:
    """A sentence for each store of [[features]] with clips whose media are others by now.

    Media that are not at hand are no news: features outlive them.
    """
    digests: dict[str, str | None] = {}
    for table in config.features:
        if table.modality == "text" or table.imported:
            continue
        try:
            path = find_store(config.corpus_cache, table, config.cache.dtype)
            store = open_store(path, allow_partial=True)
        except StoreError:
            continue  # not there: whoever needs it says so
        changed = _changed(manifest, store, digests)
        if changed:
            more = ", …" if len(changed) > SHOWN else ""
            yield (
                f"the media of {len(changed)} clip{'s' if len(changed) > 1 else ''} "
                f"({', '.join(changed[:SHOWN])}{more}) changed since {store.path.name} was made. "
                "Until `sedimental extract` reads them, what was extracted counts."
            )


def _changed(manifest: Manifest, store: Store, digests: dict[str, str | None]) -> tuple[str, ...]:
    """Clips of which `store` holds features of other media; `digests` keeps what was read."""
    held: Mapping[str, str] = store.sources
    clips = [clip for clip in manifest.clips if clip.id in held]
    for clip in clips:
        if clip.id not in digests:
            digests[clip.id] = _digest(manifest, clip)
    return tuple(c.id for c in clips if digests[c.id] not in (None, held[c.id]))


def _digest(manifest: Manifest, clip: Clip) -> str | None:
    try:
        return media_source(clip, manifest.root)
    except ClipError:
        return None
