"""How a corpus's table differs from the one its features were made of."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from ..manifest import SEVERAL, Manifest

RATINGS = ("label", "label_T", "label_A", "label_V", "category", *SEVERAL)
SHOWN = 3


@dataclass(frozen=True)
class TableChanges:
    """Ids of the clips that differ, by how."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    """Their own words, or those said before them."""
    media: tuple[str, ...] = ()
    """Another file, or another cut of it."""
    others: tuple[str, ...] = ()
    """Speakers, names of videos."""

    @property
    def any(self) -> bool:
        """Whether anything differs."""
        return any(getattr(self, f.name) for f in fields(self))

    @property
    def stale(self) -> bool:
        """Whether features are missing or made of what the table no longer says."""
        return bool(self.added or self.texts or self.media)

    @property
    def words(self) -> str:
        """``labels of 2 clips (a, b); 1 new clip (c)``; empty where nothing differs."""
        named = {
            "labels": self.labels,
            "splits": self.splits,
            "texts": self.texts,
            "media or cuts": self.media,
            "speakers or videos": self.others,
        }
        told = [f"{what} of {_count(ids)}" for what, ids in named.items() if ids]
        told += [f"new: {_count(self.added)}"] if self.added else []
        told += [f"gone: {_count(self.removed)}"] if self.removed else []
        return "; ".join(told)


def table_changes(before: Manifest, now: Manifest) -> TableChanges:
    """What of `now` differs from `before`, clip by clip."""
    old = {clip.id: clip for clip in before.clips}
    new = {clip.id: clip for clip in now.clips}
    both = [(old[name], clip) for name, clip in new.items() if name in old]

    def differing(*columns: str) -> tuple[str, ...]:
        return tuple(
            after.id
            for was, after in both
            if any(getattr(was, c) != getattr(after, c) for c in columns)
        )

    return TableChanges(
        added=tuple(name for name in new if name not in old),
        removed=tuple(name for name in old if name not in new),
        labels=differing(*RATINGS),
        splits=differing("split", "fold"),
        texts=differing("text", "context", "context_text"),
        media=differing("media", "start", "end"),
        others=differing("speaker", "video_id", "clip_id"),
    )


def _count(ids: Sequence[str]) -> str:
    """``2 clips (a, b)``"""
    more = ", …" if len(ids) > SHOWN else ""
    return f"{len(ids)} clip{'s' if len(ids) > 1 else ''} ({', '.join(ids[:SHOWN])}{more})"
