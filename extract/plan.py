"""Which clips share a part: a pure function of the corpus, so that a resumed run repeats it."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from ..cache.manifest import Clip
from ..cache.spec import FeatureSpec
from ..config import CacheConfig
from .streams.streams import Stream


@dataclass(frozen=True)
class Sized:
    """A clip and its length by the file's own header, 0 where it does not say."""

    clip: Clip
    seconds: float


@dataclass(frozen=True)
class Lacking:
    """What a run is to do for one store."""

    stream: Stream
    held: AbstractSet[str]
    """Clips whose features are there."""
    wanted: AbstractSet[str]
    """Clips to be extracted."""


@dataclass(frozen=True)
class Pass:
    """Clips in the order they are decoded, each with the stores (by index) that want it."""

    jobs: tuple[tuple[Clip, tuple[int, ...]], ...]
    ends: tuple[frozenset[str], ...]
    """Of each store: the clips with which a part is full."""


def ordered(clips: Sequence[Sized]) -> list[Sized]:
    """By length, so that batches waste little on padding; ties by id, never by the table."""
    return sorted(clips, key=lambda s: (s.seconds, s.clip.id))


def passes(
    clips: Sequence[Sized], stores: Sequence[Lacking], cache: CacheConfig
) -> tuple[Pass, ...]:
    """What to decode, in which order, and where each store's parts end.

    Each store has its own parts, cut from the same order, so every clip is decoded once for all of
    them. The cuts are those of the whole corpus: parts of which nothing is there yet come first,
    made of the very clips, and so of the very batches, that an undisturbed run makes them of.
    Single clips missing from parts that exist (new, failed) are gathered in a second pass.
    """
    order = ordered(clips)
    cuts: tuple[list[list[Sequence[Clip]]], ...] = ([], [])
    for store in stores:
        groups = parts(order, store.stream, cache)
        fresh = [g for g in groups if not any(c.id in store.held for c in g)]
        begun = {clip.id for clip in order_of(fresh)}
        late = [s for s in order if s.clip.id in store.wanted and s.clip.id not in begun]
        cuts[0].append([[c for c in g if c.id in store.wanted] for g in fresh])
        cuts[1].append([list(g) for g in parts(late, store.stream, cache)])
    return tuple(each for cut in cuts if (each := _pass(order, cut)).jobs)


def _pass(order: Sequence[Sized], cuts: Sequence[Sequence[Sequence[Clip]]]) -> Pass:
    wanted = [{clip.id for clip in order_of(groups)} for groups in cuts]
    jobs = tuple(
        (sized.clip, stores)
        for sized in order
        if (stores := tuple(n for n, ids in enumerate(wanted) if sized.clip.id in ids))
    )
    return Pass(jobs, tuple(frozenset(g[-1].id for g in groups if g) for groups in cuts))


def order_of(groups: Sequence[Sequence[Clip]]) -> list[Clip]:
    """All clips of `groups`, one after the other."""
    return [clip for group in groups for clip in group]


def parts(clips: Sequence[Sized], stream: Stream, cache: CacheConfig) -> list[tuple[Clip, ...]]:
    """Neighbours in `clips` in groups that fit one part of `cache.part_mb` (or are one clip)."""
    limit, groups = cache.part_mb * 1e6, []
    group: list[Clip] = []
    size = 0.0
    for sized in clips:
        added = stream.frames(sized.clip, sized.seconds) * frame_bytes(stream.spec)
        if group and (len(group) == cache.part_clips or size + added > limit):
            groups.append(tuple(group))
            group, size = [], 0.0
        group.append(sized.clip)
        size += added
    return [*groups, tuple(group)] if group else groups


def frame_bytes(spec: FeatureSpec) -> int:
    """Stored bytes of one frame, all layers."""
    return len(spec.layers) * spec.width * (2 if spec.dtype == "float16" else 4)
