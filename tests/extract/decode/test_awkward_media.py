"""Sound and pictures as they come: odd rates, gaps, jumps, covers, turned cameras."""

import struct
import tracemalloc
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from counted_media import FPS, KINDS, SECONDS, lag, likeness, number_of, truth_of, write
from numpy.typing import NDArray

from sedimental.extract.decode.header import read_header
from sedimental.extract.decode.media import Media, decode, read_media
from sedimental.extract.decode.sound import Waveform, at_rate

RATE = 16_000


def chirp(rate: int, seconds: float) -> NDArray[np.float64]:
    """From 200 to 1,400 Hz, so that no two moments are alike."""
    time = np.arange(round(rate * seconds)) / rate
    return 0.5 * np.sin(2 * np.pi * (200 * time + 600 / seconds * time**2))


def wav(path: Path, samples: NDArray[Any], rate: int, announced: int | None = None) -> Path:
    """A WAV of (samples, channels), 16 bit or float32; `announced` bytes of data."""
    kind = 3 if samples.dtype == np.float32 else 1
    channels, width = samples.shape[1], samples.dtype.itemsize
    data = samples.tobytes()
    form = struct.pack(
        "<HHIIHH", kind, channels, rate, rate * channels * width, channels * width, 8 * width
    )
    size = announced or len(data)
    head = b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt " + struct.pack("<I", 16)
    path.write_bytes(head + form + b"data" + struct.pack("<I", size) + data)
    return path


def sound_at(path: Path, rate: int = RATE, **cut: Any) -> Media:
    return decode(path, cut.get("start"), cut.get("end"), {}, [rate])


ODD = (
    4_000,
    7_919,
    8_000,
    11_025,
    11_127,
    12_000,
    15_999,
    16_001,
    22_050,
    22_051,
    24_000,
    31_999,
    32_000,
    37_800,
    44_056,
    44_099,
    44_100,
    47_999,
    96_000,
    192_000,
)


@pytest.mark.parametrize("rate", ODD)
def test_sound_of_any_rate_is_resampled_in_little_memory(tmp_path: Path, rate: int) -> None:
    """M2: 20 rates, most of which share no divisor with 16,000."""
    samples = np.round(chirp(rate, 2.0) * 32767).astype("<i2")[:, None]
    path = wav(tmp_path / "odd.wav", samples, rate)
    tracemalloc.start()
    wave = sound_at(path).waveforms[RATE]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6
    want = chirp(RATE, 2.0)
    assert abs(len(wave.samples) - len(want)) <= 1
    middle = slice(200, len(want) - 400)  # at its ends a filter has nothing on one side
    np.testing.assert_allclose(wave.samples[middle], want[middle], atol=1e-3)
    again = at_rate(Waveform((samples[:, 0] / 32768).astype(np.float32), rate), RATE)
    np.testing.assert_allclose(again.samples[middle], wave.samples[middle], atol=1e-4)


def test_memory_is_that_of_the_result_however_long_the_sound(tmp_path: Path) -> None:
    """M13: four minutes at 48 kHz of two channels are 46 MB; at 16 kHz of one 15 MB come out."""
    minutes = 4
    noise = np.random.default_rng(0).integers(-9000, 9000, (48_000 * 60, 2), np.int16)
    path = wav(tmp_path / "long.wav", np.tile(noise, (minutes, 1)), 48_000)
    tracemalloc.start()
    wave = sound_at(path).waveforms[RATE]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(wave.samples) == minutes * 60 * RATE
    assert peak < 1.4 * wave.samples.nbytes + 5e6


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6, 8, 10])
def test_channels_are_mixed_and_never_clipped(tmp_path: Path, channels: int) -> None:
    """M16: all channels alike give themselves, whatever the layout."""
    one = np.round(chirp(RATE, 1.0) / 0.5 * 0.9 * 32767).astype("<i2")
    path = wav(tmp_path / "many.wav", np.repeat(one[:, None], channels, 1), RATE)
    wave = sound_at(path).waveforms[RATE]
    np.testing.assert_allclose(wave.samples, one / 32768, atol=2e-3)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (np.nan, "holds a number that is not finite at 1.234 s"),
        (np.inf, "holds a number that is not finite at 1.234 s"),
        (-1e30, "reaches -1e+30 times full scale at 1.234 s"),
    ],
)
def test_a_sample_that_is_no_number_is_named_with_its_place(
    tmp_path: Path, value: float, says: str
) -> None:
    """M17."""
    for channels in (1, 2):
        samples = np.repeat(chirp(RATE, 2.0).astype("<f4")[:, None], channels, 1)
        samples[round(1.234 * RATE), -1] = value
        path = wav(tmp_path / f"{channels}.wav", samples, RATE)
        assert sound_at(path).faults == {"audio": f"the sound {says}"}
        assert sound_at(path, start=1.5).faults == {}


@pytest.mark.parametrize("name", ["mkv", "ts", "mp4", "flv"])
def test_a_gap_in_the_sound_is_silence_in_its_place(tmp_path: Path, name: str) -> None:
    """M5: 1.9 s without time stamps in the middle; everything after stays where it is."""
    kind = KINDS[name]
    path = tmp_path / f"gap.{kind.suffix}"
    write(path, kind, 0.0, gap=(3.0, 1.9))
    truth = truth_of(path)
    assert truth.length > SECONDS + 1.5
    media = read_media(path, fps=10.0)
    assert media.waveform is not None
    have = at_rate(media.waveform, RATE).samples
    assert not media.faults
    assert abs(len(have) - len(truth.sound)) < 0.05 * RATE
    np.testing.assert_allclose(np.abs(have[int(3.3 * RATE) : int(4.7 * RATE)]), 0, atol=1e-3)
    if name != "mp4":  # its frames last until the next one
        assert "s of sound are missing from" in media.notes[0]
    late = slice(round(5.0 * RATE), round(7.0 * RATE))
    assert abs(lag(have[late], truth.sound[late])) <= 0.002 * RATE
    assert likeness(have[late], truth.sound[late]) > 0.95
    assert media.frames is not None
    shown = [number_of(image) for image in media.frames.images]
    assert shown[45] == shown[40]  # it stays on screen
    cut = read_media(path, 5.5, 6.5, 10.0)
    assert cut.frames is not None
    assert [number_of(image) for image in cut.frames.images] == shown[55:65]
    assert cut.waveform is not None
    part = at_rate(cut.waveform, RATE).samples
    whole = have[round(5.5 * RATE) :][: len(part)]
    assert abs(lag(part, whole)) <= 0.002 * RATE
    assert likeness(part, whole) > 0.95


@pytest.mark.parametrize("name", ["mkv", "mp4", "flv", "ts"])
def test_a_time_stamp_that_jumps_by_hours_makes_no_frames(tmp_path: Path, name: str) -> None:
    """M6: a fault of the clip, or the file as it would be without the jump; the same in a plan."""
    kind = KINDS[name]
    path = tmp_path / f"jump.{kind.suffix}"
    write(path, kind, 0.0, gap=(4.0, 7.7 * 3600))
    media = read_media(path, fps=10.0)
    if name == "ts":  # the clock starts anew, as where files are joined
        assert media.frames is not None
        assert len(media.frames.images) == pytest.approx(10 * SECONDS, abs=2)
    else:
        assert all("the time stamps jump by 7.7 h at" in why for why in media.faults.values())
        assert set(media.faults) == {"audio", "vision"}
    assert read_header(path).seconds < 60
    before = read_media(path, 1.0, 2.0, 10.0)
    assert not before.faults
    assert before.frames is not None
    assert [number_of(i) for i in before.frames.images][5] in (36, 37, 38)


def test_joined_files_follow_one_another(tmp_path: Path) -> None:
    """M10: the clock starts anew, and so does the rate of the sound."""
    kind = KINDS["ts"]
    first, second = tmp_path / "1.ts", tmp_path / "2.ts"
    write(first, kind, 40.0)
    write(second, KINDS["ts-mpeg2"], 0.0)
    write(second, kind, 0.0)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    media = read_media(joined, fps=10.0)
    assert media.frames is not None
    shown = [number_of(image) for image in media.frames.images]
    assert len(shown) == pytest.approx(20 * SECONDS, abs=2)
    assert shown[70] == pytest.approx(FPS * 1, abs=3)
    assert media.waveform is not None
    assert len(media.waveform.samples) / media.waveform.rate == pytest.approx(12, abs=0.2)
    for start in (1.0, 7.5):
        cut = read_media(joined, start, start + 1, 10.0)
        assert cut.frames is not None
        again = [number_of(image) for image in cut.frames.images]
        assert again == shown[round(10 * start) : round(10 * start) + 10]


def test_a_sample_rate_that_changes_keeps_the_speed(tmp_path: Path) -> None:
    """M10."""
    paths = []
    for number, rate in enumerate((48_000, 32_000)):
        path = tmp_path / f"{number}.aac"
        with av.open(str(path), "w", format="adts") as file:
            stream: Any = file.add_stream("aac", rate=rate)
            stream.layout, stream.bit_rate = "mono", 96_000
            samples = chirp(rate, 3.0).astype("f4")[None]
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = rate, 0
            file.mux([*stream.encode(frame), *stream.encode(None)])
        paths.append(path)
    both = tmp_path / "both.aac"
    both.write_bytes(b"".join(path.read_bytes() for path in paths))
    wave = sound_at(both).waveforms[RATE].samples
    assert len(wave) / RATE == pytest.approx(6.1, abs=0.15)
    second = wave[round(3.05 * RATE) :]
    want = chirp(RATE, 3.0)
    corr = [np.corrcoef(second[k : k + 32_000], want[:32_000])[0, 1] for k in range(0, 2_000)]
    assert max(corr) > 0.95


@pytest.mark.parametrize("name", ["mp4", "mkv", "wav", "avi", "flac"])
def test_a_third_that_is_missing_is_told(tmp_path: Path, name: str) -> None:
    """M11: tolerance is in proportion to the clip, in every format that announces a length."""
    kind = KINDS[name]
    path = tmp_path / f"cut.{kind.suffix}"
    if name == "mp4":  # its index in front, as files for the web have it
        kind = type(kind)("mp4", options=(("movflags", "faststart"),))
    write(path, kind, 0.0)
    data = path.read_bytes()
    path.write_bytes(data[: round(0.7 * len(data))])
    media = read_media(path, fps=3.0 if kind.video else None)
    assert all(why.startswith("broken off") for why in media.faults.values())
    assert set(media.faults) == ({"audio", "vision"} if kind.video else {"audio"})
    assert not read_media(path, 0.5, 2.0, 3.0 if kind.video else None).faults


def test_what_little_is_missing_is_noted(tmp_path: Path) -> None:
    """M11."""
    samples = np.round(chirp(RATE, 3.8) * 32767).astype("<i2")[:, None]
    path = wav(tmp_path / "short.wav", samples, RATE, announced=2 * 4 * RATE)
    media = sound_at(path)
    assert not media.faults
    assert media.notes == ("0.20 s of 4.00 s of audio are missing at the end",)


def test_a_track_that_no_head_tells_of_does_no_harm(tmp_path: Path) -> None:
    """M1: in an FLV, tracks may appear anywhere; found by trial_media.py."""
    kind = KINDS["flv"]
    path = tmp_path / "x.flv"
    write(path, kind, 0.0)
    data = bytearray(path.read_bytes())
    at = len(data) - 4 - int.from_bytes(data[-4:], "big")  # the last tag: its size stands behind it
    data[at] = 18  # of sound or pictures no more, but of data
    path.write_bytes(data)
    media = read_media(path, fps=3.0)
    assert media.frames is not None
    assert media.waveform is not None
