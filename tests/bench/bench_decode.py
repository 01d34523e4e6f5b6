"""What passing over frames that nobody asks for saves, and what decoding keeps in memory.

Run as ``python -P tests/bench/bench_decode.py [--quick]``. Three pictures a second are taken from
clips of 640x360 that are made here, x264 and x265 at their default presets (three frames between
two that others refer to), libvpx-vp9 at its default. Both ways are measured in turn, in processor
seconds: "all" decodes every frame, "needed" passes over those that no moment and no other frame
asks for. The pictures are compared bit for bit.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from sedimental.extract.decode import needed
from sedimental.extract.decode.media import decode

CODECS = {"H.264": ("libx264", "mp4"), "HEVC": ("libx265", "mp4"), "VP9": ("libvpx-vp9", "webm")}
SIZE = (640, 360)
SKIPPED = needed.CODECS


def make(path: Path, codec: str, rate: int, seconds: int) -> None:
    """A clip as of a person who speaks: most of it stands still, a part of it moves and changes."""
    random = np.random.default_rng(0)
    small = random.integers(0, 255, (2, 90, 160, 3), np.uint8)
    room, face = (cv2.resize(part, SIZE, interpolation=cv2.INTER_CUBIC) for part in small)
    with av.open(str(path), "w") as file:
        options = {"x265-params": "log-level=error"} if codec == "libx265" else {}
        if codec == "libvpx-vp9":
            options = {"deadline": "good", "cpu-used": "5"}
        stream: Any = file.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.bit_rate = 1_500_000
        for number in range(rate * seconds):
            at = number / rate
            x, y = round(230 + 40 * np.sin(2 * at)), round(90 + 20 * np.cos(3 * at))
            view, light = room.copy(), 0.8 + 0.2 * np.sin(9 * at)
            view[y : y + 180, x : x + 160] = (face[:180, :160] * light).astype(np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="rgb24")))
        file.mux(stream.encode(None))


def taken(path: Path, skip: bool) -> tuple[float, list[Any]]:
    """Processor seconds and the pictures."""
    needed.CODECS = SKIPPED if skip else ()  # type: ignore[assignment]
    images: list[Any] = []
    began = time.process_time()
    decode(path, None, None, {3.0: images.append}, ())
    return time.process_time() - began, images


def peak(path: Path) -> float:
    """Megabytes that a process takes which decodes the file and keeps nothing."""
    code = (
        "import resource, sys; from pathlib import Path;"
        "from sedimental.extract.decode.media import decode;"
        "decode(Path(sys.argv[1]), None, None, {3.0: lambda _: None}, [16_000]);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    said = subprocess.run([sys.executable, "-P", "-c", code, str(path)], capture_output=True)
    return int(said.stdout) * 1024 / 1e6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    seconds, rounds = (4, 3) if quick else (10, 5)
    print("| | all frames, s | needed, s | ratio |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for label, (codec, suffix) in CODECS.items():
            for rate in (30, 60):
                path = Path(name) / f"{label}-{rate}.{suffix}"
                make(path, codec, rate, seconds)
                pairs = [(taken(path, False), taken(path, True)) for _ in range(rounds)]
                for (_, every), (_, few) in pairs:
                    assert all(np.array_equal(a, b) for a, b in zip(every, few, strict=True))
                every, few = (statistics.median(p[k][0] for p in pairs) for k in (0, 1))  # type: ignore[assignment]
                ratio = statistics.median(p[0][0] / p[1][0] for p in pairs)
                print(
                    f"| {label}, {rate} fps | {every:.2f} | {few:.2f} | {ratio:.2f} |", flush=True
                )
        for length in (seconds, 5 * seconds):
            path = Path(name) / f"long-{length}.mp4"
            make(path, "libx264", 30, length)
            print(f"memory to decode {length} s: {peak(path):.0f} MB")


if __name__ == "__main__":
    main()
