"""Before anything is trained: the corpus table as it is now, and no features of an older one."""

from collections.abc import Iterable

from ..cache.corpus_table import cached_manifest
from ..cache.freshness import Look, Now
from ..cache.manifest import MANIFEST, Manifest, write_manifest
from ..cache.runs.identity import wording
from ..cache.store.store import Store
from ..config import Config
from ..errors import StoreError
from ..progress import Progress
from .data.inputs import find_inputs


def table_now(config: Config, now: Now | None, progress: Progress) -> Manifest:
    """The corpus table: as it is now, where it is at hand; what changed is told.

    Raises ManifestError for a faulty table, and for a corpus that was never extracted.
    """
    before = cached_manifest(config)
    manifest = now.manifest if now else None
    if manifest is None:
        return before
    changed = {
        f"table.{part}": (digest, manifest.digests[part])
        for part, digest in before.digests.items()
        if manifest.digests[part] != digest
    }
    if changed:
        progress.note(
            f"{wording(changed)} since it was extracted: what is trained now is trained on the "
            "table as it is, and runs on the table before are kept beside it"
        )
    return manifest


def refuse_stale(now: Now | None, stores: Iterable[Store]) -> None:
    """Raises StoreError naming every one of `stores` whose features are of an older text or of
    other media."""
    if now is None:
        return
    unique = {store.path: store for store in stores}
    stale = [found.words for store in unique.values() if (found := now.stale(store))]
    if stale:
        raise StoreError("\n".join(stale))


def keep_table(config: Config, manifest: Manifest) -> None:
    """Let the table that was taken over be the cached one, which worker processes read."""
    write_manifest(config.corpus_cache / MANIFEST, manifest)


def refresh(config: Config, look: Look, progress: Progress) -> None:
    """Take the corpus table over as it is now, for stages that read the cached one.

    Raises StoreError where the features of [train.inputs] are of an older text or of other media.
    """
    now = look(config)
    manifest = table_now(config, now, progress)
    refuse_stale(now, (one.store for one in find_inputs(config.frozen)))
    keep_table(config, manifest)
