"""Statistics of frames: over steps of sound and over whole clips, and what hand-made ones need."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sedimental.cache.manifest import Clip, Manifest
from sedimental.cache.store.writer import ClipFeatures
from sedimental.config import AudioFeatures, ConfigError, TextFeatures, VisionFeatures, load_config
from sedimental.extract.encoders.audio.readers import Sound, audio_encoder, load_processing
from sedimental.extract.encoders.device import ComputeDevice
from sedimental.extract.encoders.loading import resolve
from sedimental.extract.encoders.pooling import pooled, pooled_clip
from sedimental.extract.encoders.text import Words
from sedimental.extract.streams.streams import TextStream, stream_of
from sedimental.train.sweep.linear_fits import ridge

from .test_encoders import CPU

POOLS = ["mean", "mean+std", "mean+std+max"]


def literal(frames: NDArray[Any], pool: str) -> NDArray[Any]:
    """(frames, width) -> (parts * width,)"""
    ways = {"mean": frames.mean(0), "std": frames.std(0), "max": frames.max(0)}
    return np.concatenate([ways[name] for name in pool.split("+")])


@pytest.mark.parametrize("pool", POOLS)
def test_steps_of_sound_equal_the_slow_way(pool: str) -> None:
    hidden = torch.randn(2, 11, 3, generator=torch.Generator().manual_seed(0))
    real = torch.arange(11) < torch.tensor([[11], [6]])
    found = pooled(hidden, real, 4, pool)
    for row, frames in zip(found, (11, 6), strict=True):
        for step, begin in enumerate(range(0, frames, 4)):
            own = hidden[len(found) - 1 if frames == 6 else 0, begin : min(begin + 4, frames)]
            np.testing.assert_allclose(row[step], literal(own.numpy(), pool), atol=1e-6)
    assert not found[1, 2:].any()  # padding


@pytest.mark.parametrize("pool", POOLS)
def test_a_clip_is_one_frame_of_those_that_are_real(pool: str) -> None:
    values = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    valid = np.array([True, False, True, True, False])
    second = np.full(5, 0.5, dtype=np.float32)
    clip = ClipFeatures("a", "", values, np.arange(5, dtype=np.float32), second, valid, {})
    found = pooled_clip(clip, pool)
    assert (found.values.shape, found.durations.tolist()) == (
        (2, 1, 3 * len(pool.split("+"))),
        [2.5],
    )
    for layer in range(2):
        wanted = literal(values[layer, valid], pool)
        np.testing.assert_allclose(found.values[layer, 0], wanted, atol=1e-6)
    blind = pooled_clip(ClipFeatures("a", "", values, second, second, ~valid & valid, {}), pool)
    assert not blind.valid.any()
    assert not blind.values.any()


def test_text_is_pooled_with_a_store_of_its_own() -> None:
    def opened(**settings: Any) -> tuple[TextStream, NDArray[Any]]:
        stream = stream_of(
            TextFeatures(modality="text", encoder="tiny-bert", **settings),
            "float32",
            Manifest("x", clips=(Clip("a", "a", "0", "train"),), root=None),  # type: ignore[arg-type]
        )
        assert isinstance(stream, TextStream)
        stream.load(CPU, Silence())  # type: ignore[arg-type]
        return stream, stream.encoder.encode([Words("a", "", "one two three")])[0].values

    plain, tokens = opened()
    stream, found = opened(pool="mean+std+max")
    assert stream.spec.width == 3 * plain.spec.width
    assert stream.spec.fingerprint != plain.spec.fingerprint
    assert found.shape == (len(tokens), 1, stream.spec.width)
    np.testing.assert_allclose(found[1, 0], literal(tokens[1], "mean+std+max"), atol=1e-5)


def test_one_frame_a_clip_is_not_aligned_with_words(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.toml"
    table = '[[features]]\nmodality = "vision"\nencoder = "tiny-clip"\npool = "mean"\n'
    line = '[train.inputs]\nvision = { encoder = "tiny-clip", align = "words" }\n'
    path.write_text(f'[corpus]\nkind = "demo"\n{table}{line}')
    with pytest.raises(ConfigError, match="one frame a clip where the table"):
        load_config(path)


class Silence:
    """A clock that nobody reads."""

    def stage(self, name: str, unit: str) -> None:
        pass

    def busy(self, *_: Any) -> Any:
        raise AssertionError


def test_crops_are_those_of_any_pool() -> None:
    tables = [
        VisionFeatures(modality="vision", encoder="tiny-clip", pool=p) for p in ("none", "mean")
    ]
    assert tables[0].cropping == tables[1].cropping
    specs = [stream_of(table, "float32").spec for table in tables]
    assert specs[0].fingerprint != specs[1].fingerprint


def voice(lively: bool, seed: int) -> NDArray[np.float32]:
    """Two seconds like speech: syllables of a gliding voice through two formants. A lively one has
    as much energy and as high a voice, on average, but changes more."""
    random, rate = np.random.default_rng(seed), 16_000
    times = np.arange(2 * rate) / rate
    swing = 0.45 if lively else 0.12
    pitch = random.normal(150, 25) * (1 + swing * np.sin(2 * np.pi * random.uniform(1, 2) * times))
    source = np.sign(np.sin(2 * np.pi * np.cumsum(pitch) / rate)) * 0.1
    syllables = 1 + (0.9 if lively else 0.3) * np.sin(2 * np.pi * random.uniform(3, 5) * times)
    sound = source * syllables / np.sqrt((syllables**2).mean()) * random.uniform(0.6, 1.4)
    for formant in random.normal([500, 1500], [60, 150]):
        sound = sound + 0.3 * np.sin(2 * np.pi * formant * times) * sound
    return np.asarray(sound + 0.003 * random.standard_normal(len(sound)), np.float32)


def test_hand_made_features_tell_voices_as_well_as_plain_statistics_do() -> None:
    """log-mel as its table stands, against mean and deviation of the same filters over the clip."""
    sounds = [Sound(str(k), "", voice(k % 2 == 0, k)) for k in range(96)]
    labels = np.array([1.0 if k % 2 == 0 else -1.0 for k in range(96)])

    def right(**settings: Any) -> tuple[float, list[NDArray[Any]]]:
        table = AudioFeatures(modality="audio", encoder="log-mel", **settings)
        checkpoint = resolve(table)
        how = (load_processing(checkpoint), ("0",), table, ComputeDevice(CPU.device, torch.float32))
        frames = [one.values[0] for one in audio_encoder(checkpoint, *how).encode(sounds)]
        return accuracy(np.stack([own.mean(axis=0) for own in frames]), labels), frames

    best, _ = right()
    every, frames = right(rate=50, pool="stride")
    plain = accuracy(np.stack([literal(own, "mean+std") for own in frames]), labels)
    assert best >= plain > 0.8
    assert best > every
    table = AudioFeatures(modality="audio", encoder="log-mel")
    assert (table.rate, table.pool) == (1.0, "mean+std")
    assert AudioFeatures(modality="audio", encoder="wavlm-large").pool == "stride"


def accuracy(x: NDArray[Any], labels: NDArray[Any]) -> float:
    """Of a ridge fitted on two thirds of the clips, on the others."""
    train = np.arange(len(x)) % 3 > 0
    x = (x - x[train].mean(axis=0)) / (x[train].std(axis=0) + 1e-6)
    fits = ridge(x[train], labels[train])
    return max(float((np.sign(fit(x[~train])[:, 0]) == labels[~train]).mean()) for fit in fits)
