"""Which clips share a part: a pure function of the corpus, so that a resumed run repeats it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..cache.manifest import Clip
from ..cache.spec import FeatureSpec
from ..config import CacheConfig
from .streams import Stream


@dataclass(frozen=True)
class Sized:
    """A clip and its length by the file's own header, 0 where it does not say."""

    clip: Clip
    seconds: float


def chunks(
    clips: Sequence[Sized], streams: Sequence[Stream], cache: CacheConfig
) -> Iterator[tuple[Clip, ...]]:
    """Clips in groups of similar length, none of whose parts outgrows `cache.part_mb`.

    Sorting by length makes batches that waste little on padding. Every group is decoded once for
    all `streams` and becomes one part in each of their stores.
    """
    limit, most = cache.part_mb * 1e6, cache.part_clips
    group: list[Clip] = []
    sizes = [0.0] * len(streams)
    for sized in sorted(clips, key=lambda s: (s.seconds, s.clip.id)):
        added = [s.frames(sized.clip, sized.seconds) * frame_bytes(s.spec) for s in streams]
        grown = [a + b for a, b in zip(sizes, added, strict=True)]
        if group and (len(group) == most or max(grown) > limit):
            yield tuple(group)
            group, grown = [], added
        group.append(sized.clip)
        sizes = grown
    if group:
        yield tuple(group)


def frame_bytes(spec: FeatureSpec) -> int:
    """Stored bytes of one frame, all layers."""
    return len(spec.layers) * spec.width * (2 if spec.dtype == "float16" else 4)
