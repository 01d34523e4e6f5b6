"""How far extraction is from its own forward passes, and from the scripts that are published.

Run as ``python -P tests/bench/bench_extract.py [FOLDER] [--quick] [--clips N] [--rounds N]
[--precision P]``; P is that of limit and extract, the script computes in fp32. FOLDER holds videos;
without one the demo corpus's are taken. The encoders have their full size and random weights. Each
round measures every contestant once, in turn; the table gives medians, and the median of the ratios
within rounds, which a machine shared with others disturbs least. On a CPU the processor seconds of
the whole process say the same with less noise yet: they do not grow when others have the processor.

* limit: nothing but the networks of `extract`, detector and encoders, over batches that lie ready
  in memory;
* extract: files in, stores out; the time to load weights is taken off, as the limit has none;
* plain: a clip at a time, a frame at a time in the detector as it comes, the library's models as
  they come, every layer copied by itself, a file a clip: what scripts published beside papers do.
"""

import argparse
import csv
import os
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sedimental.config import Config, load_config
from sedimental.extract.decode.media import MediaError, read_media
from sedimental.extract.encoders.audio.sound import SECONDS_PER_BATCH
from sedimental.extract.encoders.device import ComputeDevice
from sedimental.extract.encoders.loading import load_model, resolve
from sedimental.extract.faces.track import FaceTrack
from sedimental.extract.result import ExtractResult
from sedimental.extract.run import extract
from sedimental.extract.stage_times import Clock
from sedimental.extract.streams.streams import AudioStream, TextStream, VisionStream, stream_of

DEMO = Path(__file__).parent.parent.parent / "extract/corpora/demo/Raw"
SUFFIXES = (".mp4", ".mov", ".mpg", ".avi", ".mkv", ".webm")
ENCODERS = {
    "vision": "clip-vit-large-patch14",
    "audio": "wavlm-large",
    "text": "bert-large-uncased",
}
WORDS = "I have to say the second half of it was a good deal better than the first"


@dataclass
class Ready:
    """All that the networks take, decoded and in batches."""

    frames: list[list[Any]]
    """Same-size frames at the detector's working size."""
    pixels: list[torch.Tensor]
    sounds: list[tuple[torch.Tensor, torch.Tensor]]
    words: list[tuple[torch.Tensor, torch.Tensor]]


def pipeline(folder: Path, files: Sequence[Path], precision: str) -> Config:
    """A pipeline over `files` with an empty cache, all in `folder`."""
    with (folder / "clips.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "split", "text", "label", "media"])
        table.writerows([f"{n:03d}", "train", WORDS, 0, path] for n, path in enumerate(files))
    text = f'[corpus]\nkind = "csv"\npath = "clips.csv"\n[extract]\nprecision = "{precision}"\n'
    for modality, encoder in ENCODERS.items():
        text += (
            f'[[features]]\nmodality = "{modality}"\nencoder = "{encoder}"\nweights = "random:0"\n'
        )
    (folder / "pipeline.toml").write_text(text)
    return load_config(folder / "pipeline.toml")


class Limit:
    """The networks alone."""

    def __init__(self, config: Config, files: Sequence[Path]) -> None:
        self.arithmetic = ComputeDevice.of(config.extract)
        streams = {s.spec.modality: s for s in (stream_of(f, "float16") for f in config.features)}
        for stream in streams.values():
            stream.load(self.arithmetic, Clock())
        vision, audio, text = streams["vision"], streams["audio"], streams["text"]
        assert isinstance(vision, VisionStream)
        assert isinstance(audio, AudioStream)
        assert isinstance(text, TextStream)
        assert vision.finder is not None
        self.detector = vision.finder.detector
        self.vision, self.audio, self.text = vision.encoder, audio.encoder, text.encoder
        self.ready = self._ready(files, vision, audio)

    def _ready(self, files: Sequence[Path], vision: VisionStream, audio: AudioStream) -> Ready:
        device = self.arithmetic.device
        frames: list[list[Any]] = []
        crops: list[Any] = []
        sounds: list[Any] = []
        assert vision.finder is not None
        for path in files:
            media = read_media(path, fps=vision.fps)
            assert media.frames is not None
            collected: list[Any] = []
            collector = vision.collect("", collected.append)
            for image in media.frames.images:
                collector.take(image)
            collector.rest()
            seen = [frame for piece in collected for frame in piece.frames]
            frames.append([small for _, small, _ in seen])
            found = self.detector.find(frames[-1])
            follow = FaceTrack(vision.settings)
            for (image, _, scale), faces in zip(seen, found, strict=True):
                crop = follow.next(image, faces / np.array([*[scale] * 4, 1]).astype(np.float32))  # type: ignore[arg-type]
                crops += [] if crop is None else [crop]
            if media.waveform is not None:
                sounds.append(torch.from_numpy(audio.encoder.prepare(media.waveform)))
        batch = self.vision.batch
        pixels = [
            self.vision.pixels(torch.from_numpy(np.stack(crops[k : k + batch])).to(device))
            for k in range(0, len(crops), batch)
        ]
        waves = []
        for group in self.arithmetic.batches([len(s) for s in sounds], budget(self.audio)):
            wave = torch.zeros(len(group), max(len(sounds[i]) for i in group))
            mask = torch.zeros(wave.shape, dtype=torch.long)
            for row, index in enumerate(group):
                wave[row, : len(sounds[index])] = sounds[index]
                mask[row, : len(sounds[index])] = 1
            waves.append((wave.to(device), mask.to(device)))
        tokens = self.text.tokenizer([WORDS] * len(files), return_tensors="pt")
        words = [(tokens["input_ids"].to(device), tokens["attention_mask"].to(device))]
        return Ready(frames, pixels, waves, words)

    def __call__(self) -> None:
        for frames in self.ready.frames:
            self.detector.find(frames)
        with self.arithmetic.running(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for pixels in self.ready.pixels:
                self.vision.model(pixel_values=pixels)
            for wave, mask in self.ready.sounds:
                self.audio.model(wave, attention_mask=mask)
            for ids, mask in self.ready.words:
                self.text.model(input_ids=ids, attention_mask=mask)
        if self.arithmetic.device.type == "cuda":
            torch.cuda.synchronize()


def budget(encoder: Any) -> int:
    """Samples in a batch, as the encoder itself would make them."""
    seconds = SECONDS_PER_BATCH[encoder.arithmetic.device.type]
    return int(seconds * encoder.processing.sample_rate)


class Plain:
    """A clip at a time, as published extraction scripts do; the library's models, same weights."""

    def __init__(self, limit: Limit, config: Config, files: Sequence[Path], folder: Path) -> None:
        from facenet_pytorch import MTCNN

        self.limit, self.files, self.folder = limit, files, folder
        self.device = limit.arithmetic.device
        self.arithmetic = ComputeDevice(self.device, torch.float32)
        self.models: dict[str, Any] = {
            f.modality: load_model(resolve(f)).to(self.device) for f in config.features
        }
        self.mtcnn: Any = MTCNN(image_size=256, margin=0, post_process=False, device=self.device)

    def __call__(self) -> None:
        from PIL import Image

        with self.arithmetic.running(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for path in self.files:
                media = read_media(path, fps=3.0)
                assert media.frames is not None
                faces = [self.mtcnn(Image.fromarray(image)) for image in media.frames.images]
                crops = [face.byte().permute(1, 2, 0) for face in faces if face is not None]
                kept: dict[str, Any] = {}
                if crops:
                    pixels = self.limit.vision.pixels(torch.stack(crops).to(self.device))
                    out = self.models["vision"](pixel_values=pixels, output_hidden_states=True)
                    kept["vision"] = [h[:, 0].float().cpu().numpy() for h in out.hidden_states]
                if media.waveform is not None:
                    wave = torch.from_numpy(self.limit.audio.prepare(media.waveform))[None]
                    out = self.models["audio"](wave.to(self.device), output_hidden_states=True)
                    kept["audio"] = [h.float().cpu().numpy() for h in out.hidden_states]
                tokens = self.limit.text.tokenizer(WORDS, return_tensors="pt").to(self.device)
                out = self.models["text"](**tokens, output_hidden_states=True)
                kept["text"] = [h.float().cpu().numpy() for h in out.hidden_states]
                arrays = {name: np.stack(layers) for name, layers in kept.items()}
                np.savez(self.folder / f"{path.stem}.npz", **arrays)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Took:
    """What one contestant took in one round."""

    wall: float
    cpu: float
    """Processor seconds of all threads."""


def timed(work: Callable[[], object]) -> Took:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Took(time.perf_counter() - wall, time.process_time() - cpu)


def rounds(
    files: Sequence[Path], count: int, precision: str
) -> tuple[dict[str, list[Took]], ExtractResult]:
    """What every contestant took in each round, and the last extraction's result."""
    found: dict[str, list[Took]] = {"limit": [], "extract": [], "plain": []}
    results: list[ExtractResult] = []
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        config = pipeline(base, files, precision)
        limit = Limit(config, files)
        script = Plain(limit, config, files, base)
        limit()  # memory, kernels
        for number in range(count):
            folder = base / f"round-{number}"
            folder.mkdir()
            config = pipeline(folder, files, precision)
            found["limit"].append(timed(limit))
            took = timed(lambda config=config: results.append(extract(config)))  # type: ignore[misc]
            load = next(s for s in results[-1].stages if s.stage == "load")
            found["extract"].append(Took(took.wall - load.busy, took.cpu - load.cpu))
            found["plain"].append(timed(script))
            print(f"round {number + 1}: " + said(found), flush=True)
    return found, results[-1]


def said(found: Mapping[str, Sequence[Took]]) -> str:
    return ", ".join(
        f"{name} {took[-1].wall:.1f} s (cpu {took[-1].cpu:.1f} s)" for name, took in found.items()
    )


def against(
    found: Mapping[str, Sequence[Took]], name: str, kind: str, other: str = "limit"
) -> float:
    """Median over rounds of the ratio to `other` in the same round."""
    pairs = zip(found[name], found[other], strict=True)
    found: float = statistics.median(  # type: ignore[no-redef]
        getattr(took, kind) / getattr(least, kind) for took, least in pairs
    )
    return found  # type: ignore[return-value]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=DEMO)
    parser.add_argument("--quick", action="store_true", help="2 clips, 1 round")
    parser.add_argument("--clips", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16", "fp16"))
    asked = parser.parse_args()
    wanted, count = (2, 1) if asked.quick else (asked.clips, asked.rounds)
    files = usable(sorted(p for p in asked.folder.rglob("*") if p.suffix in SUFFIXES), wanted)
    found, result = rounds(files, count, asked.precision)
    print(f"\n{machine()}; {len(files)} clips of {asked.folder.name}, {count} rounds\n")
    print("| contestant | wall s | of the limit | processor s | of the limit |")
    print("|---|---:|---:|---:|---:|")
    for name, took in found.items():
        wall = statistics.median(t.wall for t in took)
        cpu = statistics.median(t.cpu for t in took)
        ratios = (against(found, name, "wall"), against(found, name, "cpu"))
        print(f"| {name} | {wall:.1f} | {ratios[0]:.2f} | {cpu:.1f} | {ratios[1]:.2f} |")
    times = (against(found, "plain", kind, "extract") for kind in ("wall", "cpu"))
    print("\nplain / extract: {:.2f} in wall time, {:.2f} in processor seconds".format(*times))
    print("\n| stage of extract | threads | busy s | of the time | items/s |")
    print("|---|---:|---:|---:|---:|")
    for s in result.stages:
        cells = (s.stage, s.threads, f"{s.busy:.1f}", f"{s.share:.0%}", f"{s.rate:.1f} {s.unit}")
        print("| " + " | ".join(map(str, cells)) + " |")


def usable(files: Sequence[Path], count: int) -> list[Path]:
    """The first `count` files with sound and pictures."""
    found = []
    for path in files:
        try:
            media = read_media(path, fps=3.0)
        except MediaError:
            continue
        if not media.faults:
            found.append(path)
        if len(found) == count:
            break
    return found


def machine() -> str:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    return (
        f"{cores} cores ({platform.machine()}), {device}, torch {torch.__version__} with "
        f"{torch.get_num_threads()} threads, load {load:.1f}"
    )


if __name__ == "__main__":
    main()
