"""Whether what was made of a corpus is still of it: its table and its media as they are now."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from ..config import Config
from .manifest import Manifest
from .store.store import Store

SHOWN = 3
"""Clips that a message names at most."""


@dataclass(frozen=True)
class StaleStore:
    """Clips whose features in one store are not those of the corpus as it is now."""

    store: str
    """Its folder's name."""
    changed: tuple[str, ...]
    """Clips whose text or media are others than those that the features were made from."""
    lacking: tuple[str, ...]
    """Clips that the table has and the store has never seen."""

    @property
    def words(self) -> str:
        """One sentence, with the remedy."""
        said = []
        if self.changed:
            said.append(f"{_clips(self.changed)} changed since their features were made")
        if self.lacking:
            said.append(f"{_clips(self.lacking)} came into the table since")
        return (
            f"{self.store}: {', '.join(said)}. `sedimental extract` makes what is lacking, "
            "`sedimental run` all that follows from it."
        )


class Now(Protocol):
    """A corpus as it is now."""

    @property
    def manifest(self) -> Manifest | None:
        """Its table; None where the table is not at hand, and the cached one must do."""

    def stale(self, store: Store) -> StaleStore | None:
        """What of `store` is out of date; None: nothing."""

    def stale_features(self) -> tuple[str, ...]:
        """A sentence for each store of the pipeline that is out of date."""


Look = Callable[[Config], Now]


def stale_store(store: Store, sources: Mapping[str, str]) -> StaleStore | None:
    """Compare `store` with the `sources` of the clips as they are now (clip id -> digest).

    Clips that failed when they were extracted are not lacking: the store knows why.
    """
    held = store.sources
    changed = tuple(c for c, source in sources.items() if c in held and held[c] != source)
    lacking = tuple(c for c in sources if c not in held and c not in store.failures)
    return StaleStore(store.path.name, changed, lacking) if changed or lacking else None


def _clips(ids: tuple[str, ...]) -> str:
    shown = ", ".join(ids[:SHOWN]) + (", …" if len(ids) > SHOWN else "")
    return f"{len(ids)} clip{'s' if len(ids) > 1 else ''} ({shown})"
