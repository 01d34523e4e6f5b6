"""A corpus as it is now, beside what was made of it: cheap enough to look before every command."""

from collections.abc import Mapping
from functools import cached_property

from ..cache.corpus_table import table_path
from ..cache.freshness import StaleStore, stale_store
from ..cache.manifest import Clip, Manifest
from ..cache.store.find import find_store
from ..cache.store.store import Store, open_store
from ..cache.words import is_wordless
from ..config import Config
from ..errors import StoreError
from .corpora import load_manifest
from .decode.clip_error import ClipError
from .decode.media import media_source
from .streams.context import Before, text_source


class CorpusNow:
    """The table of a pipeline's corpus and its media, read when first asked for."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._media: dict[str, str | None] = {}

    @cached_property
    def manifest(self) -> Manifest | None:
        """The table as it is now; None where it is not at hand (or is the cache's own).

        Raises ManifestError with every fault of the table.
        """
        if self.config.corpus.kind == "imported":
            return None
        path = table_path(self.config.corpus)
        if path is not None and not path.exists():
            return None
        return load_manifest(self.config.corpus)

    def stale(self, store: Store) -> StaleStore | None:
        """The clips whose features `store` made of another text or other media, or lacks."""
        if self.manifest is None or store.spec.weights == "imported":
            return None
        return stale_store(store, self._sources(self.manifest, store))

    def stale_features(self) -> tuple[str, ...]:
        """A sentence for each store of [[features]] that is out of date."""
        found = []
        for table in self.config.features:
            try:
                path = find_store(self.config.corpus_cache, table, self.config.cache.dtype)
                store = open_store(path, allow_partial=True)
            except StoreError:
                continue  # not there: whoever needs it says so
            if stale := self.stale(store):
                found.append(stale.words)
        return tuple(found)

    def _sources(self, manifest: Manifest, store: Store) -> Mapping[str, str]:
        """Digests of what the clips' features would be made from; without those that have none."""
        if store.spec.modality == "text":
            before = Before(int(store.spec.preprocessing.get("context") or 0), manifest)
            said = [clip for clip in manifest.clips if not is_wordless(clip.text)]
            return {clip.id: text_source(before(clip), clip) for clip in said}
        found = {clip.id: self._media_source(manifest, clip) for clip in manifest.clips}
        return {clip: source for clip, source in found.items() if source is not None}

    def _media_source(self, manifest: Manifest, clip: Clip) -> str | None:
        """None where the file is not at hand: features outlive their media."""
        if clip.id not in self._media:
            try:
                self._media[clip.id] = media_source(clip, manifest.root)
            except ClipError:
                self._media[clip.id] = None
        return self._media[clip.id]


def look(config: Config) -> CorpusNow:
    """The corpus of `config` as it is now; nothing is read before it is asked for."""
    return CorpusNow(config)
