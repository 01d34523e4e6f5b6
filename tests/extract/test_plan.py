"""Parts and passes: every clip once, in parts of the asked size, whatever was there before."""

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sedimental.cache.manifest import Clip
from sedimental.cache.spec import FeatureSpec
from sedimental.config import CacheConfig
from sedimental.extract.plan import Lacking, Sized, frame_bytes, order_of, ordered, parts, passes
from sedimental.extract.shards import Shard


def stream(frames_a_second: float) -> Any:
    """What the planner asks of a stream."""
    spec = FeatureSpec("audio", "e", "e", None, "random:0", "", ("0", "1"), 1000)
    return SimpleNamespace(spec=spec, frames=lambda _clip, seconds: 1 + seconds * frames_a_second)


def clip(number: int) -> Clip:
    return Clip(f"{number:03d}", "v", str(number), "train", "some words")


corpora = st.lists(st.sampled_from([0.0, 1.0, 2.0, 5.0, 60.0]), min_size=1, max_size=40).map(
    lambda lengths: [Sized(clip(n), s) for n, s in enumerate(lengths)]
)
RATES = (5.0, 50.0)
CACHE = CacheConfig(part_mb=1, part_clips=5)


@given(corpora, st.randoms(), st.data())
def test_every_wanted_clip_is_decoded_and_stored_once(
    corpus: list[Sized], random: Any, data: Any
) -> None:
    ids = [s.clip.id for s in corpus]
    held = [data.draw(st.sets(st.sampled_from(ids))) for _ in RATES]
    lacking = [
        Lacking(stream(rate), there, {i for i in ids if i not in there})
        for rate, there in zip(RATES, held, strict=True)
    ]
    found = passes(corpus, lacking, CACHE)
    for n, store in enumerate(lacking):
        jobs = [clip.id for one in found for clip, stores in one.jobs if n in stores]
        assert sorted(jobs) == sorted(store.wanted)
        for one in found:
            mine = [clip.id for clip, stores in one.jobs if n in stores]
            assert not mine or mine[-1] in one.ends[n]  # nothing is left over at the end
    shuffled = corpus.copy()
    random.shuffle(shuffled)
    assert passes(shuffled, lacking, CACHE) == found


@given(corpora, st.sampled_from(RATES), st.data())
def test_a_resumed_run_makes_the_very_parts_of_an_undisturbed_one(
    corpus: list[Sized], rate: float, data: Any
) -> None:
    whole = parts(ordered(corpus), stream(rate), CACHE)
    written = data.draw(st.sets(st.integers(0, len(whole) - 1)))
    held = {clip.id for n in written for clip in whole[n]}
    wanted = {s.clip.id for s in corpus} - held
    found = passes(corpus, [Lacking(stream(rate), held, wanted)], CACHE)
    assert len(found) == (1 if wanted else 0)
    for one in found:
        cut: list[tuple[Clip, ...]] = [()]
        for each, _ in one.jobs:
            cut[-1] += (each,)
            if each.id in one.ends[0]:
                cut.append(())
        assert cut[:-1] == [group for n, group in enumerate(whole) if n not in written]


@given(corpora, st.sampled_from(RATES))
def test_parts_keep_to_their_size(corpus: list[Sized], rate: float) -> None:
    seconds = {s.clip.id: s.seconds for s in corpus}
    made = parts(ordered(corpus), stream(rate), CACHE)
    assert [c.id for c in order_of(made)] == [s.clip.id for s in ordered(corpus)]
    for group in made:
        size = sum((1 + seconds[c.id] * rate) * frame_bytes(stream(rate).spec) for c in group)
        assert len(group) == 1 or (len(group) <= CACHE.part_clips and size <= CACHE.part_mb * 1e6)


@given(corpora, st.integers(1, 7))
def test_shards_share_the_corpus_evenly(corpus: list[Sized], count: int) -> None:
    shares = [Shard(n, count).of(ordered(corpus)) for n in range(1, count + 1)]
    assert sorted(s.clip.id for share in shares for s in share) == [s.clip.id for s in corpus]
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
