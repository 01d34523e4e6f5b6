"""Missing frames: masks that depend on nothing but the clip, and scores over missing rates."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sedimental.cache.manifest import Clip, Manifest, read_manifest, write_manifest
from sedimental.cache.spec import MODALITIES, FeatureSpec, Modality
from sedimental.cache.store.writer import ClipFeatures, StoreWriter
from sedimental.config import Config
from sedimental.evaluate.auilc import auilc_of_scores
from sedimental.evaluate.metrics import score
from sedimental.train.data.dataset import Selection, Table
from sedimental.train.data.inputs import find_inputs
from sedimental.train.data.load import load
from sedimental.train.data.missing_features import MissingCase, damaged
from sedimental.train.fit.loop import Scores, predict
from sedimental.train.models import build, model_options
from sedimental.train.models.emt_dlfr.model import EMTDLFR
from sedimental.train.models.shared.interface import Batch, FusionModel, InputShape
from sedimental.train.models.shared.missing_frames import (
    HidesFrames,
    hidden_frames,
    incomplete,
    without_hidden,
    without_own_masking,
)
from sedimental.train.run import train

SMALL: dict[str, Any] = {
    "width": 16,
    "depth": 2,
    "audio_hidden": 8,
    "audio_out": 8,
    "vision_hidden": 8,
    "vision_out": 8,
    "head_width": 32,
    "vision_rate": 1.0,
}


def full(clips: int, frames: int) -> Tensor:
    return torch.ones(clips, frames, dtype=torch.bool)


def test_the_share_of_hidden_frames_is_the_rate() -> None:
    mask, index = full(500, 100), torch.arange(500)
    for rate in (0.0, 0.1, 0.5, 0.9, 1.0):
        for m in MODALITIES:
            inner = hidden_frames(mask, index, m, rate)[:, 1:-1].double()
            assert inner.mean().item() == pytest.approx(rate, abs=0.01)
            # as often in every clip and at every position
            assert (inner.mean(dim=0) - rate).abs().max() < 0.12
            assert (inner.mean(dim=1) - rate).abs().max() < 0.25


def test_draws_are_independent() -> None:
    """Of neighbours in time, in the table and between modalities and seeds, none tells another."""
    mask, index = full(400, 200), torch.arange(400)
    audio = hidden_frames(mask, index, "audio", 0.5).double() - 0.5
    vision = hidden_frames(mask, index, "vision", 0.5).double() - 0.5
    other = hidden_frames(mask, index, "audio", 0.5, seed=1111).double() - 0.5
    pairs = [
        (audio[:, 1:], audio[:, :-1]),
        (audio[1:], audio[:-1]),
        (audio, vision),
        (audio, other),
    ]
    for one, two in pairs:
        assert (4 * (one * two).mean()).abs() < 0.02


def test_a_mask_knows_the_clip_and_the_position_only() -> None:
    mask, index = full(8, 30), torch.tensor([5, 0, 99, 3, 1, 7, 22_855, 2])
    hidden = hidden_frames(mask, index, "audio", 0.4)
    order = torch.tensor([3, 1, 0])
    shorter = hidden_frames(mask[order, :12], index[order], "audio", 0.4)
    assert torch.equal(shorter, hidden[order, :12])
    assert torch.equal(hidden_frames(mask, index, "audio", 0.4), hidden)
    higher = hidden_frames(mask, index, "audio", 0.7)
    assert (higher | ~hidden).all()  # what is gone stays gone
    torch.manual_seed(3)  # no stream of PyTorch's has a say
    assert torch.equal(hidden_frames(mask, index, "audio", 0.4), hidden)


def test_padding_and_special_tokens_are_never_missing() -> None:
    mask = full(3, 6)
    mask[1, 4:] = mask[2] = False
    mask[0, 0] = False  # the first real row is the second
    text = hidden_frames(mask, torch.arange(3), "text", 1.0)
    assert text.tolist() == [
        [False, False, True, True, True, False],
        [False, True, True, False, False, False],
        [False] * 6,
    ]
    assert torch.equal(hidden_frames(mask, torch.arange(3), "vision", 1.0), mask)
    with pytest.raises(ValueError, match=r"missing rate 1\.5"):
        hidden_frames(mask, torch.arange(3), "text", 1.5)


@pytest.mark.parametrize("layers", [None, 2])
def test_hidden_states_are_zeroed_and_special_tokens_kept_or_replaced(layers: int | None) -> None:
    x = torch.arange(1.0, 31).view(2, 5, 3)
    if layers:
        x = torch.stack([x, -x], dim=1)
    mask = full(2, 5)
    mask[1, 3:] = False
    hidden = torch.tensor([[0, 1, 0, 0, 0], [0, 1, 0, 0, 0]]).bool()
    kept = without_hidden(x, mask, hidden, "text")
    mean = without_hidden(x, mask, hidden, "text", "mean")
    if layers:
        assert torch.equal(kept[:, 1], -kept[:, 0])
        assert torch.equal(mean[:, 1], -mean[:, 0])
        x, kept, mean = x[:, 0], kept[:, 0], mean[:, 0]
    assert torch.equal(kept[0, 1], torch.zeros(3))
    assert torch.equal(kept[0, [0, 2, 3, 4]], x[0, [0, 2, 3, 4]])
    assert torch.equal(mean[0, 0], (x[0, 2] + x[0, 3]) / 2)
    assert torch.equal(mean[0, [1, 4]], torch.zeros(2, 3))
    assert torch.equal(mean[1, :3], torch.zeros(3, 3))  # its one token is gone: so is the text


def test_earlier_clips_lose_their_own_frames() -> None:
    x, mask = torch.ones(2, 40, 3), full(2, 40)
    before = Batch({"audio": x}, {"audio": mask}, torch.zeros(2), torch.tensor([4, -1]))
    index = torch.tensor([5, 6])
    batch = Batch({"audio": x}, {"audio": mask}, torch.zeros(2), index, previous=(before,))
    seen = incomplete(batch, 0.5)
    alone = incomplete(before, 0.5)
    assert torch.equal(seen.previous[0].features["audio"], alone.features["audio"])
    assert not torch.equal(seen.features["audio"], alone.features["audio"])


# --- on a real store -----------------------------------------------------------------------------


def spec_of(modality: Modality) -> FeatureSpec:
    return FeatureSpec(
        modality=modality,
        encoder=f"tiny-{modality}",
        source=f"maker/tiny-{modality}",
        revision=None,
        weights="random:0",
        weights_digest="00",
        layers=("0", "1", "2"),
        width=6,
        preprocessing={},
    )


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """64 clips whose frames say their label, loudly in text and softly elsewhere."""
    random = np.random.default_rng(0)
    clips = [
        Clip(
            id=f"v$_${k}",
            video_id="v",
            clip_id=str(k),
            split="train" if k < 40 else "valid" if k < 52 else "test",
            label=float(random.uniform(-3, 3)),
        )
        for k in range(64)
    ]
    folder = tmp_path / "features" / "toy"
    write_manifest(folder / "manifest.jsonl", Manifest("toy", tmp_path, tuple(clips)))
    for m in MODALITIES:
        made = []
        for k, clip in enumerate(clips):
            if m == "audio" and k % 20 == 1:
                continue
            n = int(random.integers(4, 12))
            values = random.normal(0, 1, (3, n, 6)).astype(np.float32)
            values += (clip.label or 0) * (1.0 if m == "text" else 0.3)
            times = np.arange(n, dtype=np.float32)
            valid = np.arange(n) % 4 < 3 if m == "vision" else np.ones(n, dtype=bool)
            made.append(ClipFeatures(clip.id, "s", values, times, times * 0 + 1, valid, {}))
        writer = StoreWriter.create(folder, spec_of(m), "zarr")
        writer.add(made)
        failed = [c.id for k, c in enumerate(clips) if m == "audio" and k % 20 == 1]
        writer.finish({c.id: "s" for c in clips}, dict.fromkeys(failed, "decode: no such stream"))
    return tmp_path


def config_of(root: Path, **train_keys: Any) -> Config:
    inputs = {
        "text": {"encoder": "tiny-text", "layers": 2},
        "audio": {"encoder": "tiny-audio", "layers": "weighted"},
        "vision": {"encoder": "tiny-vision", "layers": -1},
    }
    section: dict[str, Any] = {"inputs": inputs, "models": ["emt_dlfr"], "seeds": [1]}
    section |= {"learning_rate": 3e-3, "batch_size": 8, "accumulate": 1, "epochs": 12}
    return Config.model_validate(
        {
            "corpus": {"kind": "csv", "path": "toy.csv"},
            "cache": {"root": root / "features"},
            "runs": {"root": root / "runs"},
            "features": [{"modality": m, "encoder": f"tiny-{m}"} for m in MODALITIES],
            "train": section | train_keys,
        }
    )


def selection(config: Config) -> Selection:
    manifest = read_manifest(config.corpus_cache / "manifest.jsonl")
    inputs = list(find_inputs(config))
    corpus = load(Table.of(manifest), inputs, "standardize", torch.device("cpu"))
    return corpus.select(MODALITIES)


def test_trains_on_a_real_store_and_scores_at_its_own_rate(corpus: Path) -> None:
    whole = train(config_of(corpus, emt_dlfr=SMALL))[0]
    assert whole.metrics["test"]["MAE"] < 1.0  # predicting the mean: about 1.5
    assert set(whole.outputs) >= {"pooling", "layers_audio"}
    table = SMALL | {"missing_rate": 0.8, "special_tokens": "mean"}
    config = config_of(corpus, emt_dlfr=table, epochs=5)
    poor = train(config)[0]
    assert poor.parameters > whole.parameters
    assert poor.metrics["test"]["MAE"] > whole.metrics["test"]["MAE"]
    assert poor.outputs["missing_rate"] == pytest.approx(0.8)
    assert poor.outputs["text_states_zeroed"] == 1
    again = train(config, fresh=True)[0]
    np.testing.assert_array_equal(again.predictions.values, poor.predictions.values)


def at_rates(
    model: FusionModel, data: Selection, rates: list[float], mask: int = 0
) -> dict[float, Scores]:
    """Test scores at each rate; the model's own plays no part."""
    with without_own_masking(model):
        return {
            rate: predict(
                model,
                damaged(data, MissingCase("rate", "all", rate), mask=mask, special="keep"),
                data.rows["test"],
            )
            for rate in rates
        }


def test_any_model_is_scored_at_any_rate(corpus: Path) -> None:
    data = selection(config_of(corpus))
    rows = data.rows["test"]
    shapes = {m: source.shape for m, source in data.sources.items()}
    generator = torch.Generator().manual_seed(0)
    for name, table in (("emt_dlfr", SMALL | {"missing_rate": 0.3}), ("uegd", {"hidden": 8})):
        model = build(name, model_options(name, table), shapes, generator)
        own = predict(model, data, rows).values
        found = at_rates(model, data, [0.0, 0.3, 1.0])
        np.testing.assert_array_equal(predict(model, data, rows).values, own)  # as it was before
        assert isinstance(model, HidesFrames) == (name == "emt_dlfr")
        same = 0.3 if isinstance(model, HidesFrames) else 0.0
        np.testing.assert_allclose(found[same].values, own, atol=1e-6)
        assert not np.allclose(found[0.0].values, found[0.3].values)
        assert not np.allclose(found[0.3].values, found[1.0].values)
        other = at_rates(model, data, [0.0, 0.3], mask=1)
        np.testing.assert_array_equal(other[0.0].values, found[0.0].values)
        assert not np.allclose(other[0.3].values, found[0.3].values)


def test_the_way_from_a_model_to_its_area(corpus: Path) -> None:
    data = selection(config_of(corpus))
    rows = data.rows["test"]
    truth = data.table.labels[rows.numpy()]
    shapes = {m: InputShape(6, source.shape.layers) for m, source in data.sources.items()}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = EMTDLFR(model_options("emt_dlfr", SMALL), shapes)
    found = at_rates(model, data, [0.0, 0.5, 1.0])
    metrics = {rate: score(truth, one.values, "mosi") for rate, one in found.items()}
    areas = auilc_of_scores(metrics)
    mae = [metrics[rate]["MAE"] for rate in (0.0, 0.5, 1.0)]
    assert areas["MAE"] == pytest.approx((mae[0] + 2 * mae[1] + mae[2]) / 4)
