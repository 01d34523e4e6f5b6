"""Splits and folds of a corpus that has none: whole speakers or videos, like shares of labels."""

import random
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ...cache.corpus.leaks import speaker_name
from ...cache.manifest import Clip, Manifest
from ...cache.spec import SPLITS
from ...config import CorpusConfig
from ...errors import ManifestError

BINS = 5
"""Into as many parts of like size are scores cut, to have their shares alike."""
FEWEST = 3
"""Speakers, or videos, that can be dealt out at all."""


def divided(manifest: Manifest, corpus: CorpusConfig) -> Manifest:
    """`manifest` with the splits or folds that [corpus] asks for; as it is where it asks for none.

    Raises ManifestError where clips cannot be dealt out so.
    """
    dealt = manifest.folds and manifest.folds == corpus.folds  # by the release itself
    if dealt or (corpus.folds is None and corpus.split == "table"):
        return manifest
    clips = manifest.clips
    count = FEWEST if corpus.folds in (None, "speaker") else int(corpus.folds or 0)
    what, groups = grouped(clips, count, corpus.folds == "speaker")
    strata = stratum_of(clips)
    inside: dict[str, list[str]] = defaultdict(list)
    for clip, group in zip(clips, groups, strict=True):
        inside[group].append(strata[clip.id])
    if corpus.folds is None:
        place = deal(inside, corpus.fractions, corpus.split_seed)
        new = [replace(c, split=SPLITS[place[g]]) for c, g in zip(clips, groups, strict=True)]
        note = f'split = "auto": {len(inside)} {what}s dealt out'
    else:
        if corpus.folds == "speaker":
            place = {name: number for number, name in enumerate(sorted(inside))}
        else:
            place = deal(inside, [1 / count] * count, corpus.split_seed)
        new = [replace(c, fold=place[g]) for c, g in zip(clips, groups, strict=True)]
        note = f"folds: {len(inside)} {what}s in {len(set(place.values()))} folds"
    dealt_out = replace(manifest, clips=tuple(new))
    dealt_out = dealt_out if corpus.folds is None else dealt_out.of_fold(0)
    sizes = ", ".join(f"{n} {split}" for split, n in dealt_out.sizes.items())
    first = "" if corpus.folds is None else "the first: "
    return replace(dealt_out, notes=(*dealt_out.notes, f"{note} ({first}{sizes} clips)."))


def grouped(clips: Sequence[Clip], count: int, by_speaker: bool = False) -> tuple[str, list[str]]:
    """(what is never parted, the group of each clip): speakers, else videos, else clips.

    Speakers where every clip has one and there are at least `count`; videos of one file are one.
    """
    speakers = [speaker_name(clip.speaker) for clip in clips]
    named = [name for name in speakers if name is not None]
    if len(named) == len(clips) and len(set(named)) >= max(count, FEWEST):
        return "speaker", named
    if by_speaker:
        without = [clip.id for clip, name in zip(clips, speakers, strict=True) if name is None]
        why = f"{len(set(named))} speakers are too few, {FEWEST} are needed"
        if without:
            why = f"{len(without)} clips have no speaker ({', '.join(without[:3])})"
        raise ManifestError(f'corpus.folds = "speaker": {why}.')
    videos = _of_one_file(clips)
    if len(set(videos)) >= max(count, FEWEST):
        return "video", videos
    if len(clips) < max(count, FEWEST):
        raise ManifestError(f"corpus.folds, corpus.split: {len(clips)} clips are too few for it.")
    return "clip", [clip.id for clip in clips]


def _of_one_file(clips: Sequence[Clip]) -> list[str]:
    """The video of each clip; videos that share a media file go by one name."""
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        while leader.setdefault(name, name) != name:
            name = leader[name]
        return name

    by_media: dict[str, str] = {}
    for clip in clips:
        first = by_media.setdefault(clip.media or f"video {clip.video_id}", clip.video_id)
        leader[find(clip.video_id)] = find(first)
    return [find(clip.video_id) for clip in clips]


def stratum_of(clips: Sequence[Clip]) -> dict[str, str]:
    """Clip id to its class, or to the part of the range that its score is in."""
    scores = sorted(clip.label for clip in clips if clip.label is not None)
    edges = [scores[len(scores) * k // BINS] for k in range(1, BINS)] if scores else []
    return {
        clip.id: clip.category
        or ("none" if clip.label is None else str(bisect_left(edges, clip.label)))
        for clip in clips
    }


def deal(groups: Mapping[str, Sequence[str]], shares: Sequence[float], seed: int) -> dict[str, int]:
    """Which of the parts, of these `shares`, each group goes to; `groups` has its clips' strata.

    The largest groups first, each where it brings all strata closest to their shares; of equals
    the `seed` decides. No part stays empty as long as there are groups for all.

    >>> found = deal({"a": ["x", "y"], "b": ["x", "y"], "c": ["x"], "d": ["y"]}, [0.5, 0.5], 0)
    >>> found["a"] != found["b"], found["c"] != found["d"]
    (True, True)
    """
    # all clips together are a stratum too, so that the parts come out in size as well
    sizes = {name: Counter(strata) + Counter({"": len(strata)}) for name, strata in groups.items()}
    whole = sum(sizes.values(), Counter[str]())
    order = sorted(groups)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda name: -len(groups[name]))
    have = [Counter[str]() for _ in shares]
    part_of: dict[str, int] = {}

    def cost(part: int, strata: Counter[str]) -> float:
        lacks = {s: shares[part] * whole[s] - have[part][s] for s in strata}
        return sum(((lacks[s] - n) ** 2 - lacks[s] ** 2) / whole[s] for s, n in strata.items())

    for name in order:
        strata = sizes[name]
        part = min(range(len(shares)), key=lambda k: cost(k, strata))
        have[part] += strata
        part_of[name] = part
    for part in range(len(shares)):
        if part not in part_of.values():
            counts = Counter(part_of.values())
            rich = [n for n in reversed(order) if counts[part_of[n]] > 1]
            if rich:
                part_of[rich[0]] = part
    return part_of
