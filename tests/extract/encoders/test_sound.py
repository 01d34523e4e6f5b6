"""Sound without a network (log-mel, eGeMAPS) and the rates that frames can be cut into."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torchaudio
from numpy.typing import NDArray

from sedimental.config import AudioFeatures
from sedimental.extract.decode.media import MediaError, Waveform
from sedimental.extract.encoders.audio.readers import (
    Sound,
    SoundEncoder,
    audio_encoder,
    load_processing,
    preprocessing_of,
)
from sedimental.extract.encoders.device import ComputeDevice
from sedimental.extract.encoders.loading import EncoderError, resolve
from sedimental.extract.encoders.presets.table import encoder_faults
from sedimental.extract.encoders.rates import RateError, hop
from sedimental.extract.streams.streams import stream_of

CPU = ComputeDevice(torch.device("cpu"), torch.float32)


def table(encoder: str, **settings: Any) -> AudioFeatures:
    return AudioFeatures(
        modality="audio", encoder=encoder, **{"rate": 50, "pool": "stride", **settings}
    )


def opened(encoder: str, arithmetic: ComputeDevice = CPU, **settings: Any) -> SoundEncoder:
    features = table(encoder, **settings)
    checkpoint = resolve(features)
    names = tuple(str(n) for n in range(checkpoint.config.num_hidden_layers + 1))
    return audio_encoder(checkpoint, load_processing(checkpoint), names, features, arithmetic)


def noise(samples: int) -> NDArray[np.float32]:
    return np.random.default_rng(samples).normal(0, 0.3, samples).astype(np.float32)


def slow_log_mel(sound: NDArray[np.float32]) -> NDArray[np.float64]:
    """Each frame by its own transform of 60 ms about the middle of its 20 ms."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(960) / 960)
    filters = torchaudio.functional.melscale_fbanks(1025, 0.0, 8000.0, 128, 16_000).double()
    frames = []
    for start in range(0, len(sound), 320):
        piece = np.array(
            [sound[t] if 0 <= t < len(sound) else 0.0 for t in range(start - 320, start + 640)]
        )
        energy = np.abs(np.fft.rfft(piece * window, 2048)) ** 2
        frames.append(np.log(energy @ filters.numpy() + 1e-6))
    return np.stack(frames)


def test_log_mel_equals_the_slow_way_in_any_batch() -> None:
    encoder = opened("log-mel")
    sounds = [Sound(str(n), "", noise(n)) for n in (3200, 100, 3333, 8000)]
    for sound, found in zip(sounds, encoder.encode(sounds), strict=True):
        slow = slow_log_mel(sound.samples)
        assert found.values.shape == (1, *slow.shape)
        np.testing.assert_allclose(found.values[0], slow, atol=2e-3)
        alone = encoder.encode([sound])[0].values
        assert np.abs(found.values - alone).max() <= 1e-5 * np.abs(alone).max()


def test_log_mel_pools_like_the_networks() -> None:
    sound = Sound("x", "", noise(8000))
    every = opened("log-mel").encode([sound])[0].values
    for pool in ("stride", "mean"):
        kept = opened("log-mel", rate=5, pool=pool).encode([sound])[0]
        groups = [every[:, at : at + 10] for at in range(0, every.shape[1], 10)]
        slow = np.stack([g[:, 0] if pool == "stride" else g.mean(1) for g in groups], axis=1)
        np.testing.assert_allclose(kept.values, slow, atol=1e-5)
        np.testing.assert_allclose(kept.durations, 0.2)


def test_log_mel_is_a_store_like_any_other() -> None:
    spec = stream_of(table("log-mel"), "float16").spec
    assert (spec.layers, spec.width, spec.weights, spec.untrained) == (("0",), 128, "none", False)
    assert spec.positions([-1]) == spec.positions([0]) == (0,)
    assert spec.preprocessing["window"] == 0.06
    with pytest.raises(EncoderError, match="has no weights; leave the key out"):
        stream_of(table("log-mel", weights="random:1"), "float16")


class FakeSmile:
    """Stands in for openSMILE: as many frames as it gives, first column the frame's number."""

    def __init__(self, feature_set: str, feature_level: str) -> None:
        assert (feature_set, feature_level) == ("v02", "lld")

    def process_signal(self, signal: NDArray[np.float32], rate: int) -> Any:
        assert rate == 16_000
        frames = (len(signal) - 960) // 160 + 2
        values = np.full((frames, 25), float(np.abs(signal).mean()))
        values[:, 0] = np.arange(frames)
        return SimpleNamespace(to_numpy=lambda dtype: values.astype(dtype))


@pytest.fixture
def opensmile(monkeypatch: pytest.MonkeyPatch) -> None:
    fake: Any = ModuleType("opensmile")
    fake.__version__ = "2.6.0"
    fake.Smile = FakeSmile
    fake.FeatureSet = SimpleNamespace(eGeMAPSv02="v02")
    fake.FeatureLevel = SimpleNamespace(LowLevelDescriptors="lld")
    monkeypatch.setitem(sys.modules, "opensmile", fake)


@pytest.mark.usefixtures("opensmile")
def test_egemaps_frames_are_kept_at_the_asked_rate() -> None:
    encoder = opened("egemaps", rate=10)
    sounds = [Sound(str(n), "", noise(n)) for n in (16_000, 960)]
    long, short = encoder.encode(sounds)
    assert long.values.shape == (1, 10, 25)
    np.testing.assert_allclose(long.values[0, :, 0], np.arange(0, 96, 10))
    np.testing.assert_allclose(long.times, 0.1 * np.arange(10), atol=1e-6)
    assert short.values.shape == (1, 1, 25)
    with pytest.raises(MediaError, match="too short for a frame"):
        encoder.prepare(Waveform(noise(900), 16_000))
    spec = stream_of(table("egemaps"), "float16").spec
    assert (spec.layers, spec.width) == (("0",), 25)
    assert spec.preprocessing["opensmile"] == "2.6.0"


def test_egemaps_without_opensmile_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opensmile", None)  # as if it were not installed
    with pytest.raises(EncoderError, match=r"pip install sedimental\[opensmile\]"):
        stream_of(table("egemaps"), "float16")


def test_egemaps_with_the_real_opensmile() -> None:
    pytest.importorskip("opensmile")
    encoder = opened("egemaps", rate=50)
    seconds = np.arange(16_000) / 16_000
    tone = (0.3 * np.sin(2 * np.pi * 220 * seconds)).astype(np.float32)
    found = encoder.encode([Sound("x", "", tone)])[0]
    assert found.values.shape == (1, 48, 25)
    pitch = found.values[0, 10:40, 10]  # semitones above 27.5 Hz
    np.testing.assert_allclose(pitch, 36, atol=0.5)


def test_only_rates_that_cut_evenly_are_taken() -> None:
    assert [hop(rate, 50) for rate in (50, 25, 16.667, 12.5, 10, 5, 1, 0.5)] == [
        1,
        2,
        3,
        4,
        5,
        10,
        50,
        100,
    ]
    for rate, says in ((12, "12.5 and 10"), (49, "50 and 25"), (60, "does is 50")):
        with pytest.raises(RateError, match=f"{says}\\.$"):
            hop(rate, 50)
    assert hop(5, 50, window=1500) == 10
    with pytest.raises(RateError, match=r"windows of 1500. The nearest rates that do are 8\.33"):
        hop(50 / 7, 50, window=1500)


def test_a_rate_that_does_not_fit_is_a_fault_of_the_pipeline() -> None:
    def faults(**settings: Any) -> list[str]:
        return list(encoder_faults({"features": [{"modality": "audio", **settings}]}))

    assert faults(encoder="wavlm-large", rate=12) == [
        "features[0].rate: 12 does not divide the encoder's 50 frames a second. The nearest rates "
        "that do are 12.5 and 10."
    ]
    assert not faults(encoder="wavlm-large", rate=12.5)
    assert not faults(encoder="egemaps", rate=20)
    assert "windows of 1500" in faults(encoder="whisper-large-v3", rate=50 / 7)[0]
    assert "has no weights" in faults(encoder="log-mel", weights="hub")[0]
    features = table("tiny-wavlm", rate=12)
    checkpoint = resolve(features)
    with pytest.raises(EncoderError, match=r'encoder "tiny-wavlm": rate: 12 does not divide'):
        preprocessing_of(features, checkpoint, load_processing(checkpoint))
