"""Small files of every kind that hold a counter in their pictures and bursts in their sound."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from sedimental.extract.decode.sound import Waveform, at_rate

FPS, SECONDS, BITS = 25, 6, 8
COMPARED = 16_000
"""Rate at which sounds are compared."""


@dataclass(frozen=True)
class Kind:
    """How to write one kind of file."""

    suffix: str
    video: str | None = "libx264"
    audio: str | None = "aac"
    rate: int = 48_000
    format: str | None = None
    options: tuple[tuple[str, str], ...] = ()


KINDS = {
    "mp4": Kind("mp4"),
    "fragmented": Kind("mp4", options=(("movflags", "frag_keyframe+empty_moov"),)),
    "mov": Kind("mov", audio="pcm_s16le"),
    "mkv": Kind("mkv", audio="libmp3lame", rate=44_100),
    "webm": Kind("webm", "libvpx", "libopus"),
    "vp9": Kind("webm", "libvpx-vp9", "libopus"),
    "avi": Kind("avi", "mpeg4", "libmp3lame", 44_100),
    "avi-h264": Kind("avi", "libx264", "pcm_s16le", 44_100),
    "ts": Kind("ts", format="mpegts"),
    "ts-mpeg2": Kind("ts", "mpeg2video", "mp2", format="mpegts"),
    "m2ts": Kind("m2ts", audio="ac3", format="mpegts", options=(("mpegts_m2ts_mode", "1"),)),
    "mpg": Kind("mpg", "mpeg1video", "mp2", 44_100, "mpeg"),
    "vob": Kind("vob", "mpeg2video", "ac3", format="vob"),
    "flv": Kind("flv", rate=44_100),
    "wmv": Kind("wmv", "wmv2", "wmav2", 44_100, "asf"),
    "3gp": Kind("3gp", "mpeg4", "libopencore_amrnb", 8_000),
    "hevc": Kind("mp4", "libx265"),
    "ogg": Kind("ogg", None, "libopus"),
    "oga-flac": Kind("oga", None, "flac", format="ogg"),
    "wav": Kind("wav", None, "pcm_s16le", 44_100),
    "adpcm": Kind("wav", None, "adpcm_ima_wav", 44_100),
    "flac": Kind("flac", None, "flac", 44_100),
    "mp3": Kind("mp3", None, "libmp3lame", 44_100),
    "m4a": Kind("m4a", None, "aac", 44_100, "ipod"),
    "aac": Kind("aac", None, "aac", 44_100, "adts"),
    "aiff": Kind("aiff", None, "pcm_s16be", 44_100),
}


def counted(number: int) -> NDArray[np.uint8]:
    """A picture that shows `number`: two rows of four blocks, bright where a bit is set."""
    bits = [(number >> k) & 1 for k in range(BITS)]
    blocks = np.array(bits, np.uint8).reshape(2, 4) * 215 + 20
    return np.repeat(np.kron(blocks, np.ones((32, 24), np.uint8))[..., None], 3, axis=2)


def number_of(image: NDArray[np.uint8]) -> int:
    """What the picture shows."""
    blocks = image.mean(axis=2).reshape(2, 32, 4, 24)[:, 8:-8, :, 6:-6].mean(axis=(1, 3))
    return int(sum(1 << k for k, level in enumerate(blocks.reshape(-1)) if level > 128))


def bursts(rate: int) -> NDArray[np.float32]:
    """A burst each half second, no two of one pitch, over a quiet hiss that is nowhere the same."""
    time = np.arange(SECONDS * rate) / rate
    pitch = 350 + 130 * np.floor(2 * time)
    loud = (time % 0.5 < 0.12) * 0.5
    hiss = np.random.default_rng(0).normal(0, 0.01, len(time))
    return (loud * np.sin(2 * np.pi * pitch * time) + hiss).astype(np.float32)[None]


def write(path: Path, kind: Kind, clock: float, gap: tuple[float, float] = (SECONDS, 0)) -> None:
    """A file of that kind whose clock begins at `clock` and jumps by `gap` (when, how far)."""
    when, jump = gap
    with av.open(str(path), "w", format=kind.format, options=dict(kind.options)) as file:
        video: Any = None
        if kind.video:
            extra = {"bf": "2", "g": "25"} | (
                {"x265-params": "log-level=error"} if kind.video == "libx265" else {}
            )
            if kind.video in ("wmv2", "flv"):
                extra = {"g": "25"}
            if kind.video.startswith("libvpx"):
                extra = {"g": "25", "deadline": "realtime", "cpu-used": "8"}
            video = file.add_stream(kind.video, rate=FPS, options=extra)
            video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
            video.bit_rate = 400_000
        audio: Any = None
        if kind.audio:
            audio = file.add_stream(kind.audio, rate=kind.rate)
            audio.layout, audio.bit_rate = "mono", 12_200 if kind.rate == 8_000 else 64_000
        packets: list[Any] = []
        if video is not None:
            for number in range(FPS * SECONDS):
                frame = av.VideoFrame.from_ndarray(counted(number), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, FPS)
                packets += video.encode(frame)
            packets += video.encode(None)
        if audio is not None:
            whole = av.AudioFrame.from_ndarray(bursts(kind.rate), format="fltp", layout="mono")
            whole.sample_rate, whole.pts = kind.rate, 0
            packets += audio.encode(whole)
            packets += audio.encode(None)
        packets.sort(key=lambda p: float((p.dts if p.dts is not None else 0) * p.time_base))
        for packet in packets:
            if packet.dts is not None:
                shift = clock + (jump if float(packet.dts * packet.time_base) >= when else 0.0)
                packet.pts += round(shift / packet.time_base)
                packet.dts += round(shift / packet.time_base)
            file.mux(packet)


@dataclass(frozen=True)
class Truth:
    """What FFmpeg decodes of a whole file."""

    pictures: list[tuple[float, int]]
    sound: NDArray[np.float32]
    """At COMPARED, by time stamps, gaps silent."""
    gaps: bool = False
    """Some muxers leave one behind the first frame or before the last."""

    @property
    def length(self) -> float:
        """Seconds."""
        return max(self.pictures[-1][0] if self.pictures else 0.0, len(self.sound) / COMPARED)


def truth_of(path: Path) -> Truth:
    """Decode every frame, and put each where its time stamp says."""
    with av.open(str(path)) as file:
        origin = (file.start_time or 0) / av.time_base
        pictures, pieces = list[tuple[float, int]](), list[tuple[float, Any, int]]()
        for frame in file.decode():
            by_dts = file.format.name == "avi" and isinstance(frame, av.VideoFrame)
            stamp = frame.dts if by_dts else frame.pts  # AVI keeps no other
            if stamp is not None and frame.time_base is not None:
                time = float(stamp * frame.time_base) - origin
            elif by_dts:  # the last ones, out of the decoder's memory
                time = pictures[-1][0] + 1 / FPS
            else:
                time = pieces[-1][0] + len(pieces[-1][1]) / pieces[-1][2] if pieces else 0.0
            if isinstance(frame, av.VideoFrame):
                pictures.append((time, number_of(frame.to_ndarray(format="rgb24"))))  # type: ignore[arg-type]
            else:
                values = frame.to_ndarray().mean(axis=0)
                if values.dtype == np.int16 or frame.format.name.startswith("s16"):
                    values = values / 32768
                elif frame.format.name.startswith("s32"):
                    values = values / 2**31
                pieces.append((time, values.astype(np.float32), frame.sample_rate))
    if not pieces:
        return Truth(pictures, np.zeros(0, np.float32))
    rate = pieces[0][2]
    at, placed, expected, gaps = 0, np.zeros(0, np.float32), None, False
    for time, values, _ in pieces:
        if expected is None or abs(time - expected) > 0.01:
            at = round(time * rate)
            gaps |= expected is not None
        placed = np.pad(placed, (0, max(0, at + len(values) - len(placed))))
        placed[max(0, at) : at + len(values)] = values[max(0, -at) :]
        at += len(values)
        expected = at / rate
    return Truth(pictures, at_rate(Waveform(placed, rate), COMPARED).samples, gaps)


def lag(have: NDArray[np.float32], want: NDArray[np.float32]) -> int:
    """Samples by which `have` is late."""
    count = min(len(have), len(want))
    size = 1 << (2 * count - 1).bit_length()
    spectrum = np.fft.rfft(have[:count], size) * np.conj(np.fft.rfft(want[:count], size))
    found = int(np.argmax(np.fft.irfft(spectrum)))
    return found - size if found > size // 2 else found


def likeness(have: NDArray[np.float32], want: NDArray[np.float32]) -> float:
    """Correlation, at the best of a few samples' shift."""
    shift = lag(have, want)
    count = min(len(have), len(want)) - abs(shift)
    one = have[max(0, shift) :][:count]
    other = want[max(0, -shift) :][:count]
    return float(np.corrcoef(one, other)[0, 1])
