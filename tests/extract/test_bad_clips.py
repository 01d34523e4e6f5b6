"""M1: whatever goes wrong with one clip ends that clip, with its reason; the run goes on."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from notes import Notes

from sedimental.cache.store.store import list_stores, open_store
from sedimental.config import load_config
from sedimental.extract.decode import media
from sedimental.extract.decode.header import read_header
from sedimental.extract.doctor import examine
from sedimental.extract.encoders import text, vision
from sedimental.extract.encoders.loading import EncoderError
from sedimental.extract.faces import track
from sedimental.extract.run import extract

HUM = (0.3 * np.sin(np.arange(48_000) / 9)).astype("f4")[None]


def raw_h264(path: Path) -> None:
    """Pictures without a container: no time stamps, no length."""
    with av.open(str(path), "w", format="h264") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in range(50):
            image = np.full((48, 64, 3), 4 * level, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode(None))


def broken_corpus(folder: Path, write_video: Any, good: Path) -> list[str]:
    """Files that no check of ours foresees, and one good clip first and last; lines of a table."""
    grey = [np.full((48, 64, 3), 90, np.uint8)] * 50
    whole = write_video(folder / "whole.mp4", grey, sound=HUM).read_bytes()
    (folder / "strange-codec.mp4").write_bytes(
        whole.replace(b"avc1", b"zzzz").replace(b"mp4a", b"yyyy")
    )
    (folder / "strange-sound.mp4").write_bytes(whole.replace(b"mp4a", b"SA3D"))
    raw_h264(folder / "raw.h264")
    for suffix in ("mkv", "webm", "flac", "aiff"):
        write_as(folder / f"whole.{suffix}", suffix, grey)
        data = (folder / f"whole.{suffix}").read_bytes()
        (folder / f"cut.{suffix}").write_bytes(data[: 2 * len(data) // 5])
    (folder / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    os.mkfifo(folder / "pipe.mp4")
    (folder / "folder.mp4").mkdir()
    lines = ["id,split,text,label,media,start,end"]
    names = sorted(p.name for p in folder.iterdir())
    for number, name in enumerate([str(good), *names, str(good)]):
        start = "1.0" if name.startswith("cut") or name == "raw.h264" else ""
        lines.append(f"{number:02d},train,we said it,1,{name},{start},")
    return lines


def write_as(path: Path, suffix: str, frames: list[Any]) -> None:
    codecs = {"mkv": ("libx264", "aac"), "webm": ("libvpx", "libopus")}
    picture, sound = codecs.get(suffix, (None, "flac" if suffix == "flac" else "pcm_s16be"))
    with av.open(str(path), "w") as file:
        video: Any = file.add_stream(picture, rate=25) if picture else None
        audio: Any = file.add_stream(sound, rate=48_000)
        audio.layout = "mono"
        if video is not None:
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            for image in frames:
                file.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            file.mux(video.encode(None))
        wave = np.tile(HUM, 2)
        if audio.format.name.startswith("s16"):
            wave = (32767 * wave).astype(np.int16)
        block = av.AudioFrame.from_ndarray(
            wave, format="s16" if wave.dtype == np.int16 else "fltp", layout="mono"
        )
        block.sample_rate, block.pts = 48_000, 0
        resampler = av.AudioResampler(audio.format, "mono", 48_000, audio.frame_size or 1024)
        for piece in [*resampler.resample(block), *resampler.resample(None)]:
            file.mux(audio.encode(piece))
        file.mux(audio.encode(None))


def test_no_file_ends_the_run(tmp_path: Path, make_pipeline: Any, write_video: Any) -> None:
    """M1, M15: unknown codecs, raw streams, broken-off files with a `start`, pipes, folders."""
    folder = tmp_path / "broken"
    folder.mkdir()
    good = media_of_demo()
    lines = broken_corpus(folder, write_video, good)
    table = folder / "table.csv"
    table.write_text("\n".join(lines) + "\n")
    config = load_config(make_pipeline(table, ("vision", "audio"), kind="csv"))
    assert examine(config, probe=False).stores  # doctor neither ends nor hangs
    result = extract(config)
    failed: dict[str, set[str]] = {"vision": set(), "audio": set()}
    for failure in result.failures:
        assert failure.stage in ("read", "decode", "detect")
        assert failure.reason
        failed[failure.modality].add(failure.clip)
    ids = {line.split(",")[0] for line in lines[1:]}
    names = {line.split(",")[0]: line.split(",")[4] for line in lines[1:]}
    for path in list_stores(config.cache.root):
        store = open_store(path, allow_partial=True)
        held, lost = set(store.clips), failed[store.spec.modality]
        assert held | lost == ids  # features or a reason
        assert not held & lost
        assert {"00", max(ids)} <= held
    reasons = {(names[f.clip], f.modality): f.reason for f in result.failures}
    assert "not a regular file" in reasons["pipe.mp4", "audio"]
    assert "not a regular file" in reasons["folder.mp4", "vision"]
    assert "strange-codec.mp4" in {name for name, _ in reasons}


def media_of_demo() -> Path:
    from sedimental.extract.corpora.demo import FOLDER

    return next(iter(sorted(FOLDER.glob("Raw/*/0001.mp4"))))


@pytest.mark.parametrize(
    ("where", "fault"),
    [
        ("decode", MemoryError()),
        ("track", KeyError("x")),
        ("vision", MemoryError()),
        ("text", OSError(5, "I/O error")),
    ],
)
def test_what_is_raised_for_one_clip_ends_that_clip(
    where: str,
    fault: Exception,
    make_corpus: Any,
    make_pipeline: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """M1: in decode, prepare, detect and encode; batches of several clips lose the one alone."""
    modality = "text" if where == "text" else "vision"
    config = load_config(make_pipeline(make_corpus(3), (modality,)))
    spoil(where, fault, config, monkeypatch)
    result = extract(config)
    (failure,) = result.failures
    assert failure.clip.endswith("0002")
    assert failure.stage in ("decode", "detect", "encode")
    assert "not enough memory" in failure.reason or type(fault).__name__ in failure.reason
    assert result.stores[0].new == 2
    monkeypatch.undo()
    assert not extract(config).failures  # tried again


def spoil(where: str, fault: Exception, config: Any, patch: pytest.MonkeyPatch) -> None:
    """Let `fault` be raised at work on the second clip, wherever it turns up."""
    second = config.corpus.path / "Raw/demo_01a/0002.mp4"

    def raising(original: Callable[..., Any], mine: Callable[..., bool]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            if mine(*args):
                raise fault
            return original(*args, **named)

        return call

    if where == "decode":
        mine = raising(media._decode, lambda path, *_: "0002" in path.name)
        patch.setattr(media, "_decode", mine)
    elif where == "text":
        encode = raising(text.TextEncoder.encode, lambda _, c: any("0002" in w.id for w in c))
        patch.setattr(text.TextEncoder, "encode", encode)
    else:
        frames = media.read_media(second, fps=3.0, audio=False).frames
        assert frames is not None
        follow = track.FaceTrack.next
        crops: list[Any] = []

        def watched(self: Any, image: Any, faces: Any) -> Any:
            mine = any(np.array_equal(image, own) for own in frames.images)
            if mine and where == "track":
                raise fault
            found = follow(self, image, faces)
            if mine:
                crops.append(found)
            return found

        patch.setattr(track.FaceTrack, "next", watched)
        if where == "vision":
            encode = vision.VisionEncoder.encode

            def encoding(self: Any, batch: Any) -> Any:
                if any(np.array_equal(c, own) for c in batch for own in crops):
                    raise fault
                return encode(self, batch)

            patch.setattr(vision.VisionEncoder, "encode", encoding)


@pytest.mark.parametrize("first", ["fixed", "golden", "demo"])
def test_an_encoder_that_fails_on_everything_ends_the_run(
    first: str, make_corpus: Any, make_pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M1: what would end every clip is no fault of the clips, and is not listed as theirs.

    It breaks while its batches are measured, at the reference input, or at a clip.
    """
    config = load_config(make_pipeline(make_corpus(3), ("text",)))
    original, broken = text.TextEncoder.encode, False

    def encode(self: Any, clips: Any) -> Any:
        nonlocal broken
        broken = broken or any(clip.id.startswith(first) for clip in clips)
        if broken:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return original(self, clips)

    monkeypatch.setattr(text.TextEncoder, "encode", encode)
    with pytest.raises(EncoderError, match=r"fails on every input.*illegal memory access"):
        extract(config)


def test_an_encoder_that_cannot_be_measured_encodes_one_by_one(
    make_corpus: Any, make_pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(make_pipeline(make_corpus(3), ("text",)))
    original, batches = text.TextEncoder._forward, list[int]()

    def forward(self: Any, tokens: Any) -> Any:
        batches.append(len(tokens))
        if len(tokens) > 1:
            raise RuntimeError("it takes no two")
        return original(self, tokens)

    monkeypatch.setattr(text.TextEncoder, "_forward", forward)
    progress = Notes()
    result = extract(config, progress)
    assert not result.failures
    assert result.stores[0].new == 3
    (said,) = [line for line in progress.notes if "cannot be measured" in line]
    assert "it takes no two" in said
    assert batches == [2, 1, 1, 1, 1]  # measured in vain, the reference input, the clips


def test_a_header_that_cannot_be_read_is_a_fault_of_the_file(tmp_path: Path) -> None:
    """M15."""
    os.mkfifo(tmp_path / "pipe.wav")
    assert read_header(tmp_path / "pipe.wav").fault == "not a regular file"
