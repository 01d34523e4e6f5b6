"""One pass over a clip: frames by time stamp, sound in its place, reasons for what is missing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedimental.extract.decode.header import read_header
from sedimental.extract.decode.media import (
    MediaError,
    decode,
    read_media,
    source_digest,
)

RATE = 16_000


def grey(level: int) -> Any:
    return np.full((48, 64, 3), level, np.uint8)


def levels(media: Any) -> list[int]:
    """Which of the frames grey(20 * k) each picture is."""
    return [round(float(image.mean()) / 20) for image in media.frames.images]


def tone(seconds: float, hertz: float = 440) -> Any:
    time = np.arange(round(seconds * RATE)) / RATE
    return (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)[None]


def test_frames_are_those_on_screen_whatever_the_frame_rate(
    tmp_path: Path, write_video: Any
) -> None:
    times = [0.0, 0.30, 0.36, 0.70, 1.50, 1.52]  # variable: counting frames would go wrong
    path = write_video(tmp_path / "v.mp4", [grey(20 * k) for k in range(6)], times)
    media = read_media(path, fps=2.0, audio=False)
    # literal: the last frame whose time has come at 0, 0.5, 1.0 and 1.5 s
    literal = [max(k for k, t in enumerate(times) if t <= moment) for moment in (0, 0.5, 1.0, 1.5)]
    assert levels(media) == literal
    assert media.frames is not None
    np.testing.assert_allclose(media.frames.times, [0, 0.5, 1, 1.5])


@given(
    fps=st.sampled_from([1.0, 3.0, 7.0, 25.0]), cut=st.tuples(st.floats(0, 1), st.floats(0.2, 1))
)
def test_a_cut_gives_the_frames_of_its_own_moments(
    tmp_path_factory: Any, write_video: Any, fps: float, cut: tuple[float, float]
) -> None:
    path = Path(tmp_path_factory.getbasetemp()) / "cut.mp4"
    if not path.exists():
        write_video(path, [grey(4 * k) for k in range(50)])
    start, end = cut[0], cut[0] + cut[1]
    media = read_media(path, start, end, fps=fps, audio=False)
    assert media.frames is not None
    shown = [float(image.mean()) / 4 for image in media.frames.images]
    moments = [start + i / fps for i in range(100) if start + i / fps < min(end, 2.0) - 1e-6]
    assert len(shown) == len(moments)
    np.testing.assert_allclose(shown, [np.floor((m + 1e-6) * 25) for m in moments], atol=0.6)


def test_sound_is_mixed_down_and_cut(tmp_path: Path, write_video: Any) -> None:
    stereo = np.concatenate([tone(2.0), np.zeros_like(tone(2.0))])
    path = write_video(tmp_path / "a.mp4", [grey(0)] * 50, sound=stereo, rate=RATE)
    media = read_media(path, 0.5, 1.5, fps=3.0)
    assert media.waveform is not None
    assert media.waveform.rate == RATE
    assert abs(len(media.waveform.samples) - RATE) <= 1
    # one of two channels silent: half the amplitude is left
    assert np.abs(media.waveform.samples).max() == pytest.approx(0.25, abs=0.03)
    spectrum = np.abs(np.fft.rfft(media.waveform.samples))
    assert np.argmax(spectrum) / len(media.waveform.samples) * RATE == pytest.approx(440, abs=3)


def test_what_is_missing_has_a_reason(tmp_path: Path, write_video: Any) -> None:
    mute = write_video(tmp_path / "mute.mp4", [grey(100)] * 25)
    blind = write_video(tmp_path / "blind.mp4", sound=tone(1.0))
    silent = write_video(tmp_path / "silent.mp4", [grey(9)] * 25, sound=np.zeros((1, RATE), "f4"))
    assert read_media(mute, fps=3.0).faults == {"audio": "no audio track"}
    assert read_media(blind, fps=3.0).faults == {"vision": "no video track"}
    assert read_media(silent, fps=3.0).faults == {"audio": "silent audio track"}
    assert read_media(mute, fps=3.0, audio=False).faults == {}
    late = read_media(mute, 5.0, 6.0, fps=3.0, audio=False)
    assert late.faults == {"vision": "the cut begins after the end of the file"}


def test_unreadable_files_are_errors_that_say_why(tmp_path: Path, write_video: Any) -> None:
    whole = write_video(tmp_path / "whole.mp4", [grey(k % 250) for k in range(200)], sound=tone(8))
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    empty = tmp_path / "empty.mp4"
    empty.touch()
    for path, why in (
        (cut, "unreadable"),
        (empty, "empty file"),
        (tmp_path / "no", "no such file"),
    ):
        with pytest.raises(MediaError, match=why):
            read_media(path, fps=3.0)
        assert why in str(read_header(path).fault)


def test_a_stream_that_breaks_off_is_no_silent_half(tmp_path: Path, write_video: Any) -> None:
    frames = [np.random.default_rng(k).integers(0, 255, (48, 64, 3), np.uint8) for k in range(150)]
    whole = write_video(tmp_path / "whole.mp4", frames)
    data = bytearray(whole.read_bytes())
    begin = data.index(b"mdat")  # wreck the second half of the pictures, keep the index
    half = begin + (len(data) - begin) // 3
    end = data.index(b"moov") if data.index(b"moov") > begin else len(data)
    data[half:end] = bytes(end - half)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(data)
    media = read_media(broken, fps=3.0, audio=False)
    assert media.frames is None
    assert "broken off" in media.faults["vision"]


def test_source_digest_tells_files_and_cuts_apart(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(300_000))
    seen = {source_digest(path, None, None), source_digest(path, 0.5, None)}
    for position in (0, 299_999):
        data = bytearray(300_000)
        data[position] = 1
        path.write_bytes(data)
        seen.add(source_digest(path, None, None))
    path.write_bytes(bytes(300_001))
    seen.add(source_digest(path, None, None))
    assert len(seen) == 5


@pytest.mark.parametrize("quarter", [0, 1, 2, 3])
def test_pictures_stand_upright_as_the_file_asks(
    tmp_path: Path, write_video: Any, turned: Any, quarter: int
) -> None:
    lying = grey(20)
    lying[:, :32] = 220  # bright on the left
    path = turned(write_video(tmp_path / "v.mp4", [lying] * 10), quarter)
    frames = read_media(path, fps=3.0, audio=False).frames
    assert frames is not None
    upright = np.rot90(lying, -quarter)  # clockwise: to the top, the right, the bottom
    assert frames.images[0].shape == upright.shape
    assert np.abs(frames.images[0].astype(int) - upright).mean() < 5


def test_one_pass_gives_frames_at_several_rates_and_sound(tmp_path: Path, write_video: Any) -> None:
    path = write_video(tmp_path / "v.mp4", [grey(4 * k) for k in range(50)], sound=tone(2.0))
    kept: dict[float, list[Any]] = {3.0: [], 5.0: [], 10.0: []}
    sinks = {fps: taken.append for fps, taken in kept.items()}
    media = decode(path, 0.2, 1.7, sinks, [RATE])
    assert media.waveform is not None
    assert not media.faults
    for fps, images in kept.items():
        alone = read_media(path, 0.2, 1.7, fps=fps, audio=False).frames
        assert alone is not None
        np.testing.assert_array_equal(images, alone.images)
