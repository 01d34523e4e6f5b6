"""Word alignment in the cache: transcripts and times, and stores read a row a word."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sedimental.cache.alignment.time_align import COLLAPSE
from sedimental.cache.alignment.transcript import timed, words_of
from sedimental.cache.alignment.word import Word
from sedimental.cache.alignment.word_store import CHARACTERS, WordStore, overlaps
from sedimental.cache.alignment.word_times import WordTimes, read_words, write_words
from sedimental.cache.spec import FeatureSpec, Modality
from sedimental.cache.store.store import Store, open_store
from sedimental.cache.store.writer import ClipFeatures, StoreWriter
from sedimental.errors import CorruptStoreError, StoreError


def said(*words: tuple[str, float | None, float | None]) -> list[Word]:
    return [Word(*word) for word in words]


def spans(words: tuple[Word, ...] | None) -> list[tuple[str, Any, Any]]:
    return [(w.text, w.start, w.end) for w in words or ()]


def test_a_source_that_parts_and_spells_words_otherwise_gives_its_times() -> None:
    text = "Well, I don't -- know!"
    source = said(("sp", 0, 1), ("WELL", 1, 2), ("i", 2, 3), ("do", 3, 4), ("n't", 4, 5))
    found = timed(text, [*source, *said(("know", 5, 6))])
    assert spans(found) == [("Well,", 1, 2), ("I", 2, 3), ("don't --", 3, 5), ("know!", 5, 6)]
    assert [text[w.begins : w.ends] for w in found or ()] == ["Well,", "I", "don't --", "know!"]


def test_words_that_share_one_of_the_source_share_its_time() -> None:
    found = timed("\u6211\u559c\u6b22", said(("\u6211", 0, 1), ("\u559c\u6b22", 1, 2)))
    assert spans(found) == [("\u6211", 0, 1), ("\u559c", 1, 1.5), ("\u6b22", 1.5, 2)]


def test_words_that_the_source_lacks_have_no_times_and_another_text_is_refused() -> None:
    found = timed("one two three four", said(("one", 0, 1), ("three", 2, 3), ("four", None, None)))
    assert spans(found) == [
        ("one", 0, 1),
        ("two", None, None),
        ("three", 2, 3),
        ("four", None, None),
    ]
    assert timed("one two three four", said(("quick", 0, 1), ("brown", 1, 2))) is None
    assert spans(timed("", said(("so", 0, 1), ("", 1, 2)))) == [("so", 0, 1)]


@given(st.text(max_size=40))
def test_words_part_the_text_in_order(text: str) -> None:
    found = words_of(text)
    edges = [edge for span in found for edge in span]
    assert edges == sorted(edges)
    assert all(begin < end for begin, end in found)
    heard = "".join(c for c in text if c.isalnum())
    assert "".join(c for a, b in found for c in text[a:b] if c.isalnum()) == heard


WORDS = {
    # overlapping, of no length, in a gap, before an end that is beyond the clip, of unknown time
    "a": said(("x", 0.0, 0.25), ("y", 0.2, 0.45), ("z", 0.3, 0.3), ("gap", 0.62, 0.68))
    + said(("late", 0.7, 9.0), ("beyond", 5.0, 6.0), ("never", None, None)),
    "b": said(("x", 0.0, 1.0)),
    "nothing": [],
}
FRAMES = {"a": 8, "b": 3, "c": 2, "nothing": 2}


def store_of(folder: Path, modality: Modality, side: dict[str, dict[str, Any]]) -> Store:
    spec = FeatureSpec(modality, "e", "e", None, "random:0", "0", ("0", "1"), 4, dtype="float32")
    random = np.random.default_rng(0)
    writer = StoreWriter.create(folder, spec, "zarr")
    for group in (("a", "c"), ("b", "nothing")):  # two parts
        made = []
        for name in group:
            n = FRAMES[name]
            times = (np.arange(n) / 10 * (1.4 if name == "c" else 1)).astype(np.float32)
            if modality == "text":
                times = np.full(n, np.nan, np.float32)
            values = random.normal(size=(2, n, 4)).astype(np.float32)
            valid = np.arange(n) != 4
            own = {key: rows[name] for key, rows in side.items()}
            made.append(
                ClipFeatures(name, "s", values, times, np.full_like(times, 0.1), valid, own)
            )
        writer.add(made)
    writer.finish(dict.fromkeys(FRAMES, "s"), {})
    return open_store(folder / spec.folder_name)


def times_of(words: dict[str, list[Word]]) -> dict[str, WordTimes]:
    return {clip: WordTimes(tuple(own), "k") for clip, own in words.items()}


@pytest.mark.parametrize("collapse", COLLAPSE)
def test_each_row_is_what_overlaps_its_word(tmp_path: Path, collapse: str) -> None:
    frames = store_of(tmp_path, "audio", {})
    store = WordStore(frames, times_of(WORDS), collapse)
    assert sorted(store.clips) == ["a", "b"]
    assert [int(n) for n in store.frames] == [len(WORDS[c]) for c in store.clips]
    whole = store.layers([1, 0])
    valid = store.side("valid")
    for clip in store.clips:
        read = frames.read([1, 0], [clip]).values
        starts = frames.side("times", [clip]).astype("f8")
        ends, real = starts + frames.side("durations", [clip]), frames.side("valid", [clip])
        at = whole.offsets[whole.clips.index(clip)]
        for number, word in enumerate(WORDS[clip]):
            rows, seconds = [], []
            for k in range(FRAMES[clip]):
                if word.start is None or word.end is None or not real[k]:
                    continue
                shared = min(ends[k], word.end) - max(starts[k], word.start)
                inside = word.start == word.end and starts[k] <= word.start < ends[k]
                if shared > 1e-6 or inside:
                    rows.append(k)
                    seconds.append(1.0 if inside else shared)
            assert valid[at + number] == bool(rows)
            expected = np.zeros((2, 4))
            if rows:
                here = read[:, rows].swapaxes(0, 1)
                expected = COLLAPSE[collapse](here, np.array(seconds))
            np.testing.assert_allclose(whole.values[:, at + number], expected, atol=1e-6)
    assert valid.tolist() == [
        *([True, True, True, True, True, False, False] if store.clips[0] == "a" else [True]),
        *([True] if store.clips[0] == "a" else [True, True, True, True, True, False, False]),
    ]


def test_parts_batches_and_single_clips_agree_with_the_whole(tmp_path: Path) -> None:
    store = WordStore(store_of(tmp_path, "audio", {}), times_of(WORDS), "mean")
    whole = store.layers(["1"])
    parts = list(store.parts(["1"]))
    assert [c for part in parts for c in part.clips] == list(whole.clips)
    np.testing.assert_array_equal(np.concatenate([p.values for p in parts], axis=1), whole.values)
    [one] = store.batches(["1"], [["b"]])
    np.testing.assert_array_equal(one.values, store.read(["1"], ["b"]).values)
    times, lasting = store.side("times", ["a"]), store.side("durations", ["a"])
    np.testing.assert_allclose(times[:3], [0, 0.2, 0.3], atol=1e-6)
    assert np.isnan(times[-1])
    np.testing.assert_allclose(lasting[:3], [0.25, 0.25, 0], atol=1e-6)
    with pytest.raises(StoreError, match="words have no 'boxes'"):
        store.side("boxes")


def test_tokens_are_pooled_by_characters(tmp_path: Path) -> None:
    #       [CLS]   No      ##body   ,      is    [SEP]
    first = [(-1, -1), (0, 2), (2, 6), (6, 7), (8, 10), (-1, -1), (-1, -1), (-1, -1)]
    places = {n: np.full((k, 2), -1, "i4") for n, k in FRAMES.items()} | {
        "a": np.array(first, "i4")
    }
    frames = store_of(tmp_path, "text", {CHARACTERS: places})
    words = timed("Nobody, is odd", said(("nobody", 0, 1), ("is", 1, 2), ("odd", 2, 3)))
    store = WordStore(frames, {"a": WordTimes(words or (), "k")}, "mean")
    found, values = store.layers([1]).values[0], frames.read([1], ["a"]).values[0]
    # frame 4 is not valid in this store, so "is" has nothing; "odd" was cut by max_length
    np.testing.assert_allclose(found[0], values[1:4].mean(axis=0), atol=1e-6)
    assert store.side("valid").tolist() == [True, False, False]


def test_text_without_places_is_refused_with_the_way_out(tmp_path: Path) -> None:
    frames = store_of(tmp_path, "text", {})
    with pytest.raises(StoreError, match=r"Remove the folder and run `sedimental extract`"):
        WordStore(frames, times_of(WORDS), "mean")


def test_the_words_a_store_is_read_by_show_in_its_sources(tmp_path: Path) -> None:
    frames = store_of(tmp_path, "audio", {})
    moved = WORDS | {"b": said(("x", 0.0, 0.9))}
    sources = [WordStore(frames, times_of(w), "mean").sources for w in (WORDS, moved)]
    assert sources[0]["a"] == sources[1]["a"]
    assert sources[0]["b"] != sources[1]["b"]
    assert WordStore(frames, times_of(WORDS), "max").sources["a"] != sources[0]["a"]


@settings(max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5)), max_size=5))
def test_overlaps_are_never_negative_and_never_longer_than_either(
    spans: list[tuple[float, float]],
) -> None:
    words = np.array([sorted(span) for span in spans]).reshape(-1, 2)
    places = np.array([[k / 2, k / 2 + 0.5] for k in range(10)])
    found = overlaps(words, places)
    assert (found >= 0).all()
    lengths = words[:, 1] - words[:, 0]
    held = np.where(lengths > 0, lengths, 1.0)
    assert (found <= held[:, None] + 1e-9).all()


def test_words_come_back_and_damage_is_told(tmp_path: Path) -> None:
    words = {"a": WordTimes((Word("so", 0.1, 0.25, 0, 2), Word("x")), "key")}
    write_words(tmp_path / "words-1-of-2.json", words)
    write_words(tmp_path / "words-2-of-2.json", {"b": words["a"]})
    assert read_words(tmp_path) == {"a": words["a"], "b": words["a"]}
    path = tmp_path / "words-1-of-2.json"
    path.write_bytes(path.read_bytes().replace(b"0.25", b"0.26"))
    with pytest.raises(CorruptStoreError, match=r"Remove it; `sedimental extract` finds"):
        read_words(tmp_path)
