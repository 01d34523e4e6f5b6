"""Leaks between splits: what is told, and what is not."""

from dataclasses import replace
from pathlib import Path

import pytest

from sedimental.cache.corpus.leaks import leaks
from sedimental.cache.manifest import Clip, Manifest
from sedimental.cache.spec import Split

CHINESE = "\u8fd9\u90e8\u7535\u5f71\u771f\u7684\u975e\u5e38\u597d\u770b"


def clip(name: str, split: Split, **own: object) -> Clip:
    made = Clip(name, own.pop("video_id", name), "0", split, f"what {name} says")  # type: ignore[arg-type]
    return replace(made, **own)  # type: ignore[arg-type]


def told(*clips: Clip, **digests: str) -> tuple[str, ...]:
    media = {path.replace("_", "."): digest for path, digest in digests.items()}
    return leaks(Manifest("toy", Path(), clips, media_digests=media))


def test_nothing_is_told_of_splits_that_share_nothing() -> None:
    assert told(clip("a", "train"), clip("b", "valid"), clip("c", "test")) == ()


@pytest.mark.parametrize("splits", [("train", "test"), ("train", "valid"), ("valid", "test")])
def test_videos_and_speakers_in_two_splits(splits: tuple[Split, Split]) -> None:
    """R10."""
    first, second = splits
    [video] = told(clip("a", first, video_id="v"), clip("b", second, video_id="v"))
    assert video.startswith("1 video of 1 in several splits (v): ")
    assert f"1 {first} clip and 1 {second} clip" in video
    [speaker] = told(clip("a", first, speaker="Ann  Lee"), clip("b", second, speaker="ann lee"))
    assert speaker.startswith("1 speaker of 1 in several splits (ann lee): ")


@pytest.mark.parametrize("speaker", ["unknown", "", "None", "-"])
def test_a_speaker_without_a_name_is_nobody(speaker: str) -> None:
    assert not told(clip("a", "train", speaker=speaker), clip("b", "test", speaker=speaker))


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("It was the best film I ever saw.", "it was the BEST film, I ever saw", True),
        (f"{CHINESE}\uff01", CHINESE, True),
        ("Okay.", "okay", False),
        ("Thank you so much!", "Thank you so much!", False),
        ("I don't know.", "I don't know.", False),
        ("\u597d\u7684", "\u597d\u7684", False),
        ("It was the best film I ever saw.", "It was the worst film I ever saw.", False),
        ("", "", False),
    ],
)
def test_a_transcript_in_two_splits_unless_anybody_says_it(
    first: str, second: str, same: bool
) -> None:
    """R10: short things are said by everybody, and alarm nobody."""
    found = told(clip("a", "train", text=first), clip("b", "test", text=second))
    assert bool(found) is same
    if same:
        assert found[0].startswith("1 transcript of 1 in several splits (")


def test_one_recording_under_two_ids() -> None:
    """R10: by its path and cut, and by its bytes under another name."""
    twice = told(clip("a", "train", media="x.mp4"), clip("b", "test", media="x.mp4"))
    assert twice == (
        "1 recording in two splits, under two ids (a and b): 1 train clip and 1 test clip.",
    )
    [copied] = told(
        clip("a", "train", media="x.mp4"),
        clip("b", "train", media="y.mp4"),
        x_mp4="same",
        y_mp4="same",
    )
    assert copied.startswith("1 recording under two ids in one split (a and b)")
    parts = (("a", "train", 0.0), ("b", "test", 1.0), ("c", "test", 2.0))
    cuts = [clip(k, s, media="x.mp4", start=t, end=t + 1) for k, s, t in parts]  # type: ignore[arg-type]
    [apart] = told(*cuts)
    assert apart.startswith("1 media file of 1 in several splits (x.mp4): 1 train clip")
    [overlap] = told(*cuts, clip("d", "train", media="x.mp4", start=1.5, end=3))
    assert overlap.startswith("2 recordings in two splits, under two ids (b and d; d and c)")
    same = [replace(c, video_id="v") for c in cuts]
    assert len(told(*same)) == 1  # the video says it
