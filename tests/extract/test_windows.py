"""Windows of a long video: all of it is in one, and each has its own words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sedimental.errors import ManifestError
from sedimental.extract import windows
from sedimental.extract.windows import by_subtitles, sliding, windows_of

WORDS = """WEBVTT

00:00:00.000 --> 00:00:02.000
First.

00:00:04.000 --> 00:00:05.500
<i>Second.</i>
"""


@pytest.fixture
def video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(windows, "seconds_of", lambda path: 7.0)
    return tmp_path / "v.mp4"


@pytest.mark.parametrize(
    ("length", "hop", "spans"),
    [
        (2.0, 2.0, [(0, 2), (2, 4), (4, 6), (5, 7)]),
        (4.0, None, [(0, 4), (2, 6), (3, 7)]),
        (7.0, None, [(0, 7)]),
        (60.0, None, [(0, 7)]),
    ],
)
def test_windows_cover_the_whole(video: Path, length: float, hop: Any, spans: Any) -> None:
    found = sliding(video, length, hop)
    assert [(clip.start, clip.end) for clip in found] == spans
    assert [clip.clip for clip in found] == [str(n + 1) for n in range(len(spans))]
    assert {clip.video for clip in found} == {"v.mp4"}
    assert len({clip.id for clip in found}) == len(found)


def test_each_window_has_its_own_words(video: Path, tmp_path: Path) -> None:
    (words := tmp_path / "v.vtt").write_text(WORDS)
    assert [clip.text for clip in sliding(video, 2, 2, words)] == [
        "First.",
        "",
        "Second.",
        "Second.",
    ]
    spoken = by_subtitles(video, words)
    assert [(c.start, c.end, c.text) for c in spoken] == [(0, 2, "First."), (4, 5.5, "Second.")]


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda v, w: windows_of([v], ["words"], [], 2), "words without times"),
        (lambda v, w: windows_of([v], [], [], None), "give the subtitles"),
        (lambda v, w: windows_of([], [], [], 2), "name the VIDEO"),
        (lambda v, w: windows_of([v, v], [], [w], 2), "1 given for 2 videos"),
        (lambda v, w: sliding(v, 0.001), "more than 5000"),
        (lambda v, w: by_subtitles(v, w.with_suffix(".txt")), "has no times"),
    ],
)
def test_what_cannot_be_cut_is_told(
    video: Path, tmp_path: Path, ask: Callable[[Path, Path], Any], says: str
) -> None:
    (words := tmp_path / "v.vtt").write_text(WORDS)
    with pytest.raises(ManifestError, match=says):
        ask(video, words)


def test_length_is_asked_of_the_file(tmp_path: Path) -> None:
    demo = Path(windows.__file__).parent / "corpora/demo/Raw"
    clip = next(iter(sorted(demo.rglob("*.mp4"))))
    assert 1 < windows.seconds_of(clip) < 5
    (tmp_path / "x.mp4").write_bytes(b"no video")
    with pytest.raises(ManifestError, match="cannot be opened"):
        windows.seconds_of(tmp_path / "x.mp4")
