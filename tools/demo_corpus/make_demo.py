"""Make the demo corpus: drawn faces that speak short sentences, labelled in [-3, 3].

Words carry T, pitch and tempo and effort of the voice carry A, the face carries V; M is a fixed
mix of the three.  The layout is that of the MMSA data sets: ``label.csv`` and
``Raw/<video_id>/<clip_id>.mp4``.  Run it with
``PYTHONPATH=tools python -m demo_corpus.make_demo OUT_DIR``, or ``make demo``.
"""

import argparse
import csv
import io
import shutil
import subprocess
import sys
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from .demo_faces import FRAME_SIZE, Look, Pose, portrait
from .demo_sentences import LIMIT, choose_sentences

FPS = 12
CLIPS_PER_SPEAKER = 20
CLIPS_PER_VIDEO = 10
WEIGHTS = (0.42, 0.31, 0.27)
STRETCH = 1.3
COUPLING = 0.25
LABEL_STEP = 0.2
COLUMNS = (
    "video_id", "clip_id", "text", "label", "label_T", "label_A", "label_V", "annotation", "mode",
    "speaker",
)  # fmt: skip

NO_VOICE = (
    "error: espeak-ng is not on the PATH, so nothing can be spoken; install it "
    "(for example: apt-get install espeak-ng) and run this again"
)
NO_ENCODER = (
    "error: this PyAV has no libx264, so no H.264 can be written; install the PyAV wheel "
    "(pip install av), which carries it, and run this again"
)

Wave = NDArray[np.float64]
Labels = NDArray[np.float64]


@dataclass(frozen=True)
class Speaker:
    """A voice (espeak-ng name, middle pitch and swing on its 0..99 scale) and a look."""

    voice: str
    pitch: int
    swing: int
    mode: str
    look: Look


@dataclass(frozen=True)
class Clip:
    """One clip to make: where it goes, what is said and the four labels M, T, A, V."""

    speaker: int
    video_id: str
    clip_id: str
    text: str
    labels: tuple[float, float, float, float]

    @property
    def annotation(self) -> str:
        """Polarity of the multimodal label."""
        return ("Negative", "Neutral", "Positive")[int(np.sign(self.labels[0])) + 1]


def _low(voice: str, mode: str, look: Look) -> Speaker:
    return Speaker(voice, 64, 12, mode, look)


def _high(voice: str, mode: str, look: Look) -> Speaker:
    # These voices lie higher; they speak low in their range so that pitch compares across speakers.
    return Speaker(voice, 32, 10, mode, look)


SPEAKERS: tuple[Speaker, ...] = (
    _low("en-us+m3", "train", Look(
        (226, 180, 150), (74, 48, 32), "short", (96, 70, 44), (60, 84, 120), (150, 170, 185))),
    _high("en-us+f1", "train", Look(
        (240, 202, 180), (150, 96, 50), "long", (70, 110, 140), (150, 60, 70), (190, 180, 160),
        0.75, 2.0, 1.1, 0.85)),
    _low("en-gb-scotland+m7", "train", Look(
        (140, 92, 66), (34, 26, 24), "curly", (60, 38, 24), (200, 180, 90), (120, 150, 150))),
    _high("en-gb-x-rp+f4", "train", Look(
        (206, 156, 118), (38, 28, 26), "bob", (70, 48, 30), (60, 110, 90), (200, 190, 190),
        0.77, 2.1, 1.15, 0.9)),
    _high("en-us+f2", "train", Look(
        (234, 192, 164), (196, 156, 96), "bun", (80, 120, 90), (90, 80, 130), (140, 160, 140),
        0.74, 2.0, 1.0, 0.8)),
    _low("en-gb-x-rp+m5", "train", Look(
        (182, 128, 94), (32, 26, 26), "short", (66, 44, 28), (120, 120, 130), (170, 150, 130),
        0.80, 2.4, 0.9, 1.15, 0.55)),
    _high("en-gb-scotland+f1", "train", Look(
        (112, 74, 54), (26, 20, 20), "bun", (50, 32, 22), (190, 110, 70), (160, 175, 160),
        0.76, 2.1, 1.2)),
    _low("en-us+m1", "train", Look(
        (238, 194, 170), (150, 74, 40), "curly", (90, 130, 120), (70, 100, 80), (165, 160, 180),
        0.79, 2.2)),
    _low("en-gb-x-rp+m7", "valid", Look(
        (214, 166, 132), (60, 42, 32), "curly", (84, 60, 38), (140, 70, 60), (150, 165, 150),
        0.77, 2.1)),
    _high("en-us+f4", "valid", Look(
        (160, 108, 78), (30, 24, 24), "long", (60, 40, 26), (80, 120, 150), (185, 170, 150),
        0.76, 2.0, 1.15, 0.9)),
    _low("en-us+m6", "test", Look(
        (232, 188, 158), (108, 74, 46), "short", (84, 110, 130), (90, 70, 60), (140, 160, 175),
        0.79, 2.3, 0.95, 1.1, 0.35)),
    _high("en-gb-x-rp+f1", "test", Look(
        (172, 118, 86), (36, 28, 28), "bob", (64, 42, 28), (150, 90, 120), (175, 175, 165),
        0.76, 2.1, 1.1, 0.95)),
)  # fmt: skip


def _latents(count: int, rng: np.random.Generator) -> Labels:
    """Draw T, A, V, shape (count, 3): spread evenly over [-3, 3], correlated as COUPLING says."""
    draws = rng.standard_normal((count, 3))
    draws -= draws.mean(0)
    # Whitening first makes every split, however small, correlate as wished.
    draws = draws @ np.linalg.inv(np.linalg.cholesky(np.cov(draws.T))).T
    wished = np.full((3, 3), COUPLING) + (1 - COUPLING) * np.eye(3)
    draws = draws @ np.linalg.cholesky(wished).T
    ranks = draws.argsort(axis=0).argsort(axis=0)
    return LIMIT * (2 * (ranks + 0.5) / count - 1)


def _rounded(values: Labels) -> Labels:
    stepped = np.clip(np.round(values / LABEL_STEP) * LABEL_STEP, -LIMIT, LIMIT)
    # Adding zero turns -0.0 into 0.0.
    return np.asarray(np.round(stepped, 1) + 0.0, np.float64)


def plan_corpus(rng: np.random.Generator) -> list[Clip]:
    """Decide labels and words of all clips, speaker by speaker.

    Returns:
        The clips, 20 per speaker; labels are multiples of 0.2 in [-3, 3].
    """
    owners, latents = [], []
    for mode in ("train", "valid", "test"):
        indices = [index for index, one in enumerate(SPEAKERS) if one.mode == mode]
        owners += [index for index in indices for _ in range(CLIPS_PER_SPEAKER)]
        latents.append(_latents(len(indices) * CLIPS_PER_SPEAKER, rng))
    wished = np.concatenate(latents)
    # Choosing in random order shares out the rarer sentences fairly among the splits.
    order = rng.permutation(len(wished))
    sentences = dict(zip(order.tolist(), choose_sentences(wished[order, 0], rng), strict=True))
    wished[:, 0] = [sentences[index].score for index in range(len(wished))]
    parts = _rounded(wished)
    mixed = STRETCH * parts @ np.asarray(WEIGHTS) + rng.normal(0, 0.08, len(parts))
    labels = np.column_stack([_rounded(mixed), parts])
    clips = []
    for index, owner in enumerate(owners):
        place = index % CLIPS_PER_SPEAKER
        video_id = f"demo_{owner + 1:02d}{'ab'[place // CLIPS_PER_VIDEO]}"
        clip_id = f"{place % CLIPS_PER_VIDEO + 1:04d}"
        m, t, a, v = (float(value) for value in labels[index])
        clips.append(Clip(owner, video_id, clip_id, sentences[index].text, (m, t, a, v)))
    return clips


def speak(text: str, speaker: Speaker, arousal: float) -> tuple[Wave, int]:
    """Speak a sentence with espeak-ng; ``arousal`` in [-3, 3] sets pitch, range, tempo, effort.

    Returns:
        Samples in [-1, 1], shape (samples,), and the sample rate in Hz.
    """
    pitch = int(np.clip(round(speaker.pitch + speaker.swing * arousal), 0, 99))
    markup = f'<prosody range="{round(100 + 22 * arousal)}%">{text}</prosody>'
    command = ["espeak-ng", "-m", "-v", speaker.voice, "-p", str(pitch),
               "-s", str(round(182 + 12 * arousal)), "--stdout", markup]  # fmt: skip
    spoken = subprocess.run(command, capture_output=True, check=True).stdout
    with wave.open(io.BytesIO(spoken)) as reader:
        rate = reader.getframerate()
        # A WAV written to a pipe states a wrong length, so all that is there is read.
        raw = reader.readframes(len(spoken) // 2)
    samples = np.frombuffer(raw, "<i2") / 2**15
    loud = np.flatnonzero(np.abs(samples) > 0.01)
    samples = samples[loud[0] : loud[-1] + rate // 50]
    # Raised voices are brighter: a shelf of 2 dB per step of arousal above about 1.5 kHz.
    ratio = (np.fft.rfftfreq(len(samples), 1 / rate) / 1500) ** 2
    shelf = (1 + 10 ** (arousal / 10) * ratio) / (1 + ratio)
    samples = np.fft.irfft(np.fft.rfft(samples) * shelf, len(samples))
    wished = 10 ** ((-20 + 1.2 * arousal) / 20)
    gain = min(wished / np.sqrt(np.mean(samples**2)), 0.97 / np.abs(samples).max())
    quiet = np.zeros(round(0.15 * rate))
    whole = np.concatenate([quiet, samples * gain, quiet])
    return np.pad(whole, (0, max(0, 2 * rate - len(whole)))), rate


def poses(samples: Wave, rate: int, valence: float, rng: np.random.Generator) -> Iterator[Pose]:
    """Yield a pose per frame: the mouth follows the loudness, the rest the valence in [-3, 3]."""
    count = int(np.ceil(len(samples) / rate * FPS))
    padded = np.pad(samples, (0, rate))
    power = [np.sqrt(np.mean(padded[i * rate // FPS :][: rate // FPS] ** 2)) for i in range(count)]
    opening = np.clip(np.asarray(power) / (np.percentile(power, 90) + 1e-9), 0, 1) ** 0.8
    blink = int(rng.integers(3, count - 3))
    phase = rng.uniform(0, 2 * np.pi, 4)
    gaze = rng.uniform(-0.025, 0.025)
    lean = rng.uniform(-3, 3)
    for index in range(count):
        t = index / FPS
        grown = 0.78 + 0.22 * min(1.0, t / 0.8)
        shown = valence / LIMIT * grown + 0.04 * np.sin(5 * t + phase[0])
        yield Pose(
            valence=float(np.clip(shown, -1, 1)),
            opening=float(opening[index]) * 0.85,
            lids=0.9 if index == blink else 0.35 if index == blink + 1 else 0.0,
            nod=0.02 * np.sin(4.1 * t + phase[1]) - 0.012 * valence,
            tilt=lean + 2.0 * np.sin(2.3 * t + phase[2]),
            gaze=gaze + 0.008 * np.sin(1.7 * t + phase[3]),
        )


def write_clip(path: Path, frames: Sequence[NDArray[np.uint8]], samples: Wave, rate: int) -> None:
    """Write RGB frames (224, 224, 3) and mono samples as H.264 and AAC in an MP4 file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        # One thread keeps the outcome independent of the number of cores.
        video: Any = container.add_stream("libx264", rate=FPS, options={
            "crf": "25", "preset": "veryslow", "threads": "1"})  # fmt: skip
        video.width = video.height = FRAME_SIZE
        video.pix_fmt = "yuv420p"
        audio: Any = container.add_stream("aac", rate=rate)
        audio.layout, audio.bit_rate = "mono", 32000
        for picture in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        sound = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), "fltp", "mono")
        sound.sample_rate, sound.time_base, sound.pts = rate, Fraction(1, rate), 0
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))


def write_labels(path: Path, clips: Sequence[Clip]) -> None:
    """Write ``label.csv``, one row per clip."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for clip in clips:
            mode = SPEAKERS[clip.speaker].mode
            writer.writerow([clip.video_id, clip.clip_id, clip.text, *clip.labels, clip.annotation,
                             mode, f"speaker_{clip.speaker + 1:02d}"])  # fmt: skip


def make_corpus(out_dir: Path, seed: int) -> None:
    """Make the whole corpus in ``out_dir``; the same seed gives the same labels and pictures."""
    planning, drawing = np.random.SeedSequence(seed).spawn(2)
    clips = plan_corpus(np.random.default_rng(planning))
    artists = drawing.spawn(len(SPEAKERS))
    for index, speaker in enumerate(SPEAKERS):
        rng = np.random.default_rng(artists[index])
        draw = portrait(speaker.look, rng)
        for clip in (one for one in clips if one.speaker == index):
            _, _, arousal, valence = clip.labels
            # No one's voice and face say exactly what they feel.
            samples, rate = speak(clip.text, speaker, arousal + rng.normal(0, 0.2))
            shown = float(np.clip(valence + rng.normal(0, 0.2), -LIMIT, LIMIT))
            frames = [draw(pose) for pose in poses(samples, rate, shown, rng)]
            path = out_dir / "Raw" / clip.video_id / f"{clip.clip_id}.mp4"
            write_clip(path, frames, samples, rate)
        print(f"speaker {index + 1} of {len(SPEAKERS)} done", file=sys.stderr)
    write_labels(out_dir / "label.csv", clips)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: ``OUT_DIR [--seed N]``; returns the exit status."""
    parser = argparse.ArgumentParser(prog="make_demo", description="Make the demo corpus.")
    parser.add_argument("out_dir", type=Path, help="folder for label.csv and Raw/")
    parser.add_argument("--seed", type=int, default=1, help="seed of all chance (default: 1)")
    options = parser.parse_args(arguments)
    if shutil.which("espeak-ng") is None:
        print(NO_VOICE, file=sys.stderr)
        return 1
    if "libx264" not in av.codecs_available:
        print(NO_ENCODER, file=sys.stderr)
        return 1
    make_corpus(options.out_dir, options.seed)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
