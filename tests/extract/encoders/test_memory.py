"""Memory stays bounded: by the length of a clip, of the corpus, and by what a device has."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sedimental.cache.store.store import open_store
from sedimental.config import load_config
from sedimental.extract.encoders.budget import Budget
from sedimental.extract.encoders.device import ComputeDevice
from sedimental.extract.faces import frame_chunks as pieces
from sedimental.extract.run import extract
from sedimental.extract.streams import vision as vision_stream

MEASURE = """
import resource, sys
from sedimental.config import load_config
from sedimental.extract.run import extract
for pipeline in sys.argv[1:]:
    result = extract(load_config(pipeline))
    assert not result.failures
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, result.stores[0].frames)
"""


def speech(path: Path, write_video: Any, seconds: int) -> Path:
    time = np.arange(16_000 * seconds) / 16_000
    hum = 0.4 * np.sin(2 * np.pi * (150 + 40 * np.sin(time)) * time)
    return write_video(path, sound=hum.astype(np.float32)[None])  # type: ignore[no-any-return]


def test_peak_memory_does_not_grow_with_the_corpus(
    tmp_path: Path, write_video: Any, make_pipeline: Any
) -> None:
    speech(tmp_path / "talk.mp4", write_video, 60)
    pipelines = []
    for name, count in (("short", 15), ("long", 120)):
        rows = [
            f"{name}{n},train,x,0,talk.mp4,{4 * (n % 15)},{4 * (n % 15) + 4}\n"
            for n in range(count)
        ]
        table = tmp_path / f"{name}.csv"
        table.write_text("id,split,text,label,media,start,end\n" + "".join(rows))
        pipelines.append(
            make_pipeline(
                table,
                modalities=("audio",),
                kind="csv",
                cache=f'root = "{name}"\npart_mb = 1\npart_clips = 8',
                more="rate = 50\n",
                name=f"{name}.toml",
            )
        )
    command = [sys.executable, "-P", "-c", MEASURE, *map(str, pipelines)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    peaks, frames = [float(mb) for mb in said[::2]], [int(n) for n in said[1::2]]
    assert frames[1] == 8 * frames[0]
    # seven minutes more of waveforms and features: 27 MB and 16 MB, features in fp32 32 MB more
    assert peaks[1] - peaks[0] < 30


def test_frames_of_a_long_clip_never_pile_up(
    tmp_path: Path, write_video: Any, make_pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sedimental.extract.corpora.demo import FOLDER
    from sedimental.extract.decode.media import read_media

    frames = read_media(next(FOLDER.glob("Raw/*/0001.mp4")), fps=3.0, audio=False).frames
    assert frames is not None
    face = frames.images[0]
    write_video(tmp_path / "long.mp4", [face] * 40, times=[k / 2 for k in range(40)])
    (tmp_path / "long.csv").write_text("id,split,text,label,media\na,train,x,0,long.mp4\n")
    pipeline = make_pipeline(
        tmp_path / "long.csv", modalities=("vision",), kind="csv", more="fps = 2\n"
    )
    monkeypatch.setattr(pieces, "PIECE_BYTES", 3 * face.nbytes)
    monkeypatch.setattr(vision_stream, "PENDING_BYTES", 6 * face.nbytes)
    waiting: list[int] = []
    original = vision_stream.VisionStream._look

    def look(self: Any) -> None:
        waiting.append(len(self._waiting))
        original(self)

    monkeypatch.setattr(vision_stream.VisionStream, "_look", look)
    result = extract(load_config(pipeline))
    assert not result.failures
    assert result.stores[0].frames == 40
    assert max(waiting) <= 6
    store = open_store(result.stores[0].path)
    assert store.side("valid").all()
    np.testing.assert_allclose(store.side("times"), np.arange(40) / 2)
    # the same face all along, whatever the piece it came in
    values = store.layers(None).values.astype(np.float32)
    np.testing.assert_allclose(values, values[:, :1].repeat(40, axis=1), atol=2e-2)


def test_a_budget_is_halved_once_and_remembered() -> None:
    cpu = ComputeDevice(torch.device("cpu"), torch.float32)
    budget = Budget(cpu, {"cpu": 1000})
    lengths, faults = [10, 10, 20, 20, 30, 30, 40, 40], 0

    def forward(batch: Any) -> list[int]:
        nonlocal faults
        if len(batch) * max(lengths[i] for i in batch) > 90:
            faults += 1
            raise torch.OutOfMemoryError
        return [lengths[i] for i in batch]

    assert budget.run(range(8), lengths, forward) == lengths
    assert (budget.most, faults) == (80, 2)
    for _ in range(5):
        assert budget.run(range(8), lengths, forward) == lengths
    assert faults == 2
    budget.most = 10
    assert budget.run([7], lengths, forward) == [40]  # one alone is always tried
    with pytest.raises(torch.OutOfMemoryError):
        budget.run([0], [100], lambda _: forward([0] * 10))


def test_a_large_gpu_gets_larger_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = ComputeDevice(torch.device("cuda"), torch.float16)
    for memory, most in ((24e9, 100), (80e9, 333), (1e12, 400), (1e9, 25)):
        monkeypatch.setattr(
            torch.cuda,
            "get_device_properties",
            lambda _, m=memory: SimpleNamespace(total_memory=m),
        )
        assert Budget(gpu, {"cuda": 100}).most == most


def test_features_are_the_same_after_a_halved_batch(
    make_corpus: Any, make_pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sedimental.extract.encoders.text import TextEncoder
    from sedimental.extract.encoders.vision import VisionEncoder

    corpus = make_corpus(4)
    cache = 'dtype = "float32"\n'
    whole = extract(load_config(make_pipeline(corpus, ("vision", "text"), cache=cache)))
    for kind in (TextEncoder, VisionEncoder):
        original = kind._forward

        def forward(self: Any, batch: Any, original: Any = original) -> Any:
            if len(batch) > 3:
                raise torch.OutOfMemoryError
            return original(self, batch)

        monkeypatch.setattr(kind, "_forward", forward)
    config = load_config(make_pipeline(corpus, ("vision", "text"), cache=cache + 'root = "small"'))
    small = extract(config)
    assert not small.failures
    for one, other in zip(whole.stores, small.stores, strict=True):
        ours, theirs = open_store(one.path), open_store(other.path)
        values = theirs.read(None, ours.clips).values
        assert np.abs(values - ours.layers(None).values).max() <= 1e-5 * np.abs(values).max()
