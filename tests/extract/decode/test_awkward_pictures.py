"""Tracks, covers, cameras held sideways or mirrored, and frames that need not be decoded."""

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from counted_media import FPS, KINDS, SECONDS, counted, number_of, write
from numpy.typing import NDArray

from sedimental.extract.decode import pictures
from sedimental.extract.decode.header import read_header
from sedimental.extract.decode.media import read_media

RATE = 16_000


def chirp(rate: int, seconds: float) -> NDArray[np.float64]:
    """From 200 to 1,400 Hz, so that no two moments are alike."""
    time = np.arange(round(rate * seconds)) / rate
    return 0.5 * np.sin(2 * np.pi * (200 * time + 600 / seconds * time**2))


def two_tracks(path: Path, broken: bool) -> None:
    """Two pictures and two sounds; the second ones are default, or the first ones broken."""
    with av.open(str(path), "w", format="matroska") as file:
        videos = [file.add_stream("libx264", rate=FPS, options={"bf": "0"}) for _ in range(2)]
        audios = [file.add_stream("pcm_s16le", rate=RATE) for _ in range(2)]
        for number, (video, audio) in enumerate(zip(videos, audios, strict=True)):
            video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
            audio.layout = "mono"
            default = number == 1 and not broken
            own = Disposition.default if default else Disposition(0)
            video.disposition = own
            audio.disposition = own if default or broken else Disposition.comment
        for number, (video, audio) in enumerate(zip(videos, audios, strict=True)):
            samples = np.full((1, 2 * RATE), 4_000 * (number + 1), np.int16)
            samples[:, ::2] *= -1
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE, 0
            for packet in audio.encode(frame):
                file.mux(packet)
            for _ in range(50):
                image = av.VideoFrame.from_ndarray(counted(100 + number), format="rgb24")
                for packet in video.encode(image):
                    if broken and not number:
                        packet.update(bytes(packet.size))
                    file.mux(packet)
            file.mux(video.encode(None)) if not (broken and not number) else None


def test_of_several_tracks_the_default_one_is_taken(tmp_path: Path) -> None:
    """M8."""
    path = tmp_path / "two.mkv"
    two_tracks(path, broken=False)
    for track, number in ((None, 1), (0, 0), (1, 1)):
        media = read_media(path, fps=3.0, track=track)
        assert media.frames is not None
        assert {number_of(image) for image in media.frames.images} == {100 + number}
        assert media.waveform is not None
        level = np.abs(media.waveform.samples).max() * 32768
        assert level == pytest.approx(4_000 * (number + 1), rel=0.01)
    assert read_media(path, fps=3.0, track=2).faults == {
        "vision": "no video track",
        "audio": "no audio track",
    }


def test_a_track_that_does_not_decode_gives_way_to_the_next(tmp_path: Path) -> None:
    """M8."""
    path = tmp_path / "broken.mkv"
    two_tracks(path, broken=True)
    media = read_media(path, fps=3.0, audio=False)
    assert media.frames is not None, media.faults
    assert {number_of(image) for image in media.frames.images} == {101}
    assert not media.faults


@pytest.mark.parametrize("suffix", ["mp3", "m4a", "flac"])
def test_a_cover_is_no_video(tmp_path: Path, suffix: str) -> None:
    """M9."""
    codec = {"mp3": "libmp3lame", "m4a": "aac", "flac": "flac"}[suffix]
    path = tmp_path / f"song.{suffix}"
    with av.open(str(path), "w", format="mp4" if suffix == "m4a" else suffix) as file:
        audio: Any = file.add_stream(codec, rate=44_100)
        audio.layout = "mono"
        picture: Any = file.add_stream("mjpeg", rate=1)
        picture.width, picture.height, picture.pix_fmt = 96, 64, "yuvj420p"
        picture.disposition = Disposition.attached_pic
        image = av.VideoFrame.from_ndarray(counted(5), format="rgb24").reformat(format="yuvj420p")
        samples = chirp(44_100, 2.0).astype("f4")[None]
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 44_100, 0
        packets = [*picture.encode(image), *picture.encode(None), *audio.encode(frame)]
        file.mux([*packets, *audio.encode(None)])
    media = read_media(path, fps=3.0)
    assert media.faults == {"vision": "no video track"}
    assert media.waveform is not None
    assert read_header(path).why_no("vision", None) == "no video track"
    assert read_header(path).why_no("audio", None) is None


ONE = 0x10000
MATRICES = {
    "mirrored": ((-ONE, 0, 0, ONE), lambda image: image[:, ::-1]),
    "upside down": ((ONE, 0, 0, -ONE), lambda image: image[::-1]),
    "half a turn": ((-ONE, 0, 0, -ONE), lambda image: image[::-1, ::-1]),
    "transposed": ((0, ONE, ONE, 0), lambda image: image.swapaxes(0, 1)),
    "a quarter and mirrored": (
        (0, -ONE, -ONE, 0),
        lambda image: image.swapaxes(0, 1)[::-1, ::-1],
    ),
}


@pytest.mark.parametrize("way", MATRICES)
def test_mirrored_cameras_are_set_right(tmp_path: Path, write_video: Any, way: str) -> None:
    """M12."""
    (a, b, c, d), wanted = MATRICES[way]
    image = counted(0b10010110)
    path = write_video(tmp_path / "x.mp4", [image] * 10)
    data = bytearray(path.read_bytes())
    upright = struct.pack(">9i", ONE, 0, 0, 0, ONE, 0, 0, 0, 0x40000000)
    at = data.index(upright, data.index(b"tkhd"))
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 0x40000000)
    path.write_bytes(data)
    frames = read_media(path, fps=3.0, audio=False).frames
    assert frames is not None
    want = wanted(image)  # type: ignore[no-untyped-call]
    assert frames.images[0].shape == want.shape
    assert np.abs(frames.images[0].astype(int) - want).mean() < 8


@pytest.mark.parametrize(("ratio", "size"), [("2:1", (64, 192)), ("1:2", (128, 96))])
def test_pixels_become_square(tmp_path: Path, ratio: str, size: tuple[int, int]) -> None:
    """M12: of a picture that is stored narrow, or low."""
    path = tmp_path / "wide.mp4"
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream("libx264", rate=25, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(*map(int, ratio.split(":")))
        for _ in range(10):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(counted(9), format="rgb24")))
        file.mux(stream.encode(None))
    frames = read_media(path, fps=3.0, audio=False).frames
    assert frames is not None
    assert frames.images[0].shape[:2] == size


@pytest.mark.parametrize("name", ["mp4", "hevc", "mkv", "ts-mpeg2", "mpg", "webm", "flv"])
def test_frames_that_are_not_decoded_change_no_bit_of_the_others(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames between those asked for are passed over where no other refers to them."""
    kind = KINDS[name]
    path = tmp_path / f"x.{kind.suffix}"
    write(path, kind, 0.0)
    decoded = 0
    take = pictures.Pictures.take

    def counting(self: Any, frame: Any) -> Any:
        nonlocal decoded
        decoded += 1
        return take(self, frame)

    monkeypatch.setattr(pictures.Pictures, "take", counting)
    few = read_media(path, fps=3.0, audio=False).frames
    first, decoded = decoded, 0
    every = read_media(path, fps=float(FPS), audio=False).frames
    assert few is not None
    assert every is not None
    # at 75 frames a second the same moments are among those asked for, and all are decoded
    dense = read_media(path, fps=75.0, audio=False).frames
    assert dense is not None
    np.testing.assert_array_equal(few.images, dense.images[::25][: len(few.images)])
    if name in ("mp4", "hevc", "mkv", "ts-mpeg2", "mpg"):
        assert first < 0.8 * FPS * SECONDS
