"""What training may have seen of the test clips: one video, voice, text or recording in two splits.

Scores on such clips flatter a model. Nothing is refused: some corpora are meant so (the speakers of
a series), and the reader decides; but it is said before training and in every report.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ..manifest import Clip, Manifest
from ..spec import SPLITS, Split

WORDS, LETTERS = 5, 20
"""A text with fewer words, or letters, is said by anybody: "okay", "thank you so much"."""
CHARACTERS = 10
"""The same of scripts that are written without spaces between words."""
SHOWN = 3
TOLERANCE = 0.05
"""Seconds that cuts of one file may overlap: cuts are rounded."""
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0eff]")


def leaks(manifest: Manifest) -> tuple[str, ...]:
    """A plain sentence for each kind of leak; `media_digests` tell which files are the same."""
    clips = manifest.clips
    found = [
        _shared(clips, "video", lambda c: c.video_id),
        _shared(clips, "speaker", lambda c: speaker_name(c.speaker)),
        _shared(clips, "transcript", lambda c: telling(c.text), quoted=True),
        *_recordings(clips, manifest.media_digests),
    ]
    return tuple(text for text in found if text)


def telling(text: str) -> str | None:
    """`text` without case, marks and spaces, if it is long enough to be one clip's own.

    >>> telling("Okay!"), telling("It was, by far, the BEST film."), telling("Thank you so much")
    (None, 'it was by far the best film', None)
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = re.findall(r"[^\W_]+", folded)
    letters = sum(map(len, words))
    if len(_UNSPACED.findall(folded)) >= max(CHARACTERS, letters // 2):
        return "".join(words)
    return " ".join(words) if len(words) >= WORDS and letters >= LETTERS else None


def speaker_name(speaker: str | None) -> str | None:
    """A speaker's name without case and spare spaces; None for one who has none.

    >>> speaker_name(" Ann  Lee"), speaker_name("unknown")
    ('ann lee', None)
    """
    name = " ".join(unicodedata.normalize("NFKC", speaker or "").casefold().split())
    return None if name in ("", "unknown", "none", "nan", "other", "all", "-") else name


def _shared(
    clips: Sequence[Clip], what: str, key: Callable[[Clip], str | None], quoted: bool = False
) -> str:
    """A sentence about values of `key` that occur in several splits; empty if none does."""
    groups: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        if (value := key(clip)) is not None:
            groups[value].append(clip)
    shared = {v: own for v, own in groups.items() if len({c.split for c in own}) > 1}
    if not shared:
        return ""
    names = [f'"{_cut(own[0].text)}"' if quoted else value for value, own in shared.items()]
    return (
        f"{_many(len(shared), what)} of {len(groups)} in several splits ({_some(names)}): "
        f"{_reach(shared.values())}."
    )


def _recordings(clips: Sequence[Clip], digests: Mapping[str, str]) -> Iterator[str]:
    """Clips that are the same stretch of the same recording, whatever their files are called."""
    groups: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        if clip.media:
            groups[digests.get(clip.media, clip.media)].append(clip)
    pairs = [pair for own in groups.values() for pair in _overlapping(own)]
    told = {clip.id for pair in pairs for clip in pair}
    two = [own for own in groups.values() if len({clip.video_id for clip in own}) > 1]
    parts = [c for own in two for c in own if c.id not in told]
    names = {digest: str(own[0].media) for digest, own in groups.items()}
    yield _shared(parts, "media file", lambda c: names[digests.get(str(c.media), str(c.media))])
    across = [pair for pair in pairs if pair[0].split != pair[1].split]
    within = [pair for pair in pairs if pair[0].split == pair[1].split]
    if across:
        yield (
            f"{_many(len(across), 'recording')} in two splits, under two ids ({_pairs(across)}): "
            f"{_reach([[clip for pair in across for clip in pair]])}."
        )
    if within:
        yield (
            f"{_many(len(within), 'recording')} under two ids in one split ({_pairs(within)}): "
            "the clip counts twice."
        )


def _overlapping(clips: Sequence[Clip]) -> Iterator[tuple[Clip, Clip]]:
    """Pairs of cuts of one recording that have a stretch of it in common."""
    latest: Clip | None = None
    for clip in sorted(clips, key=lambda c: c.start or 0.0):
        if latest is not None and _end(latest) > (clip.start or 0.0) + TOLERANCE:
            yield latest, clip
        latest = clip if latest is None else max(latest, clip, key=_end)


def _end(clip: Clip) -> float:
    return float("inf") if clip.end is None else clip.end


def _reach(groups: Iterable[Sequence[Clip]]) -> str:
    """How many clips of each split have a twin in another."""
    counts: dict[Split, int] = dict.fromkeys(SPLITS, 0)
    for own in groups:
        for clip in own:
            counts[clip.split] += 1
    told = [f"{n} {split} clip{'s' if n > 1 else ''}" for split, n in counts.items() if n]
    return " and ".join([", ".join(told[:-1]), told[-1]] if len(told) > 1 else told)


def _pairs(pairs: Sequence[tuple[Clip, Clip]]) -> str:
    return _some([f"{first.id} and {second.id}" for first, second in pairs])


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count > 1 else ''}"


def _some(names: Sequence[str]) -> str:
    return f"{'; '.join(names[:SHOWN])}{'; …' if len(names) > SHOWN else ''}"


def _cut(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 60 else f"{flat[:57]}…"
