"""Seeds that train as one end as they would have ended alone."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from sedimental.cache.spec import MODALITIES, Modality, Split
from sedimental.cache.store.store import Ragged
from sedimental.errors import RunError
from sedimental.train.data.dataset import Corpus, Selection, Table
from sedimental.train.data.load import arrange
from sedimental.train.fit.loop import fit
from sedimental.train.fit.seeding import stream
from sedimental.train.fit.settings import Settings
from sedimental.train.fit.stacked_seeds import clip_each, fit_stacked, stackable
from sedimental.train.layers.linear import Linear
from sedimental.train.layers.packed import Packed
from sedimental.train.layers.padded_mode import padded_mode
from sedimental.train.models import MODELS, build, model_options, stacks
from sedimental.train.models.shared.interface import Batch, FusionModel

SMALL: Mapping[str, dict[str, object]] = {
    "uegd": {"hidden": 8, "embedding": 4, "heads": 2},
    "lf_dnn": {"hidden": 8, "fused": 8},
}
WIDTH = 6
SEEDS = (1, 2, 3)


class Double(Selection):
    """Batches in float64, where the order of sums hardly counts."""

    def _made(
        self,
        index: torch.Tensor,
        parts: Mapping[Modality, tuple[torch.Tensor, torch.Tensor]],
        previous: int,
    ) -> Batch:
        batch = super()._made(index, parts, previous)
        features = {m: x.double() for m, x in batch.features.items()}
        return replace(batch, features=features, labels=batch.labels.double())


def corpus(layers: int = 1) -> Selection:
    """46 clips of uneven lengths, some without a modality."""
    random = np.random.default_rng(0)
    splits: list[Split] = [*["train"] * 29, *["valid"] * 9, *["test"] * 8]  # type: ignore[list-item]
    clips = tuple(f"v$_${k}" for k in range(len(splits)))
    labels = random.normal(0, 1, len(splits))
    table = Table(clips, tuple(splits), labels, dict.fromkeys(("train", "valid", "test"), 0))
    sources = {}
    for m in MODALITIES:
        lengths = random.integers(0, 7, len(clips))
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        values = random.normal(0, 1, (layers, offsets[-1], WIDTH))
        values += np.repeat(labels, lengths)[:, None]
        ragged = Ragged(values.astype(np.float16), offsets, clips)
        valid = random.random(offsets[-1]) > 0.1
        sources[m] = arrange(table, ragged, valid, layers > 1, "standardize", torch.device("cpu"))
    found = Corpus(table, sources, torch.from_numpy(labels).float()).select(MODALITIES)
    return Double(**vars(found))


def model_of(data: Selection, seed: int, dropout: float = 0.0, name: str = "uegd") -> FusionModel:
    options = model_options(name, SMALL[name] | {"dropout": dropout})
    shapes = {m: source.shape for m, source in data.sources.items()}
    model = build(name, options, shapes, stream(seed, "init"))
    assert isinstance(model, nn.Module)
    return model.double()


SETTINGS = Settings(
    learning_rate=1e-2, batch_size=8, epochs=6, warmup=0.2, mask_time=0.3, mask_width=0.3
)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"clip_norm": 0.3, "weight_decay": 0.1},
        {"accumulate": 3, "optimizer": "adamw", "weight_decay": 0.1, "loss": "huber"},
        {"patience": 1, "learning_rate": 8e-2, "epochs": 12, "schedule": "constant"},
    ],
)
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("name", [name for name in MODELS if stacks(name)])
def test_stacked_equals_one_by_one(name: str, change: dict[str, object], layers: int) -> None:
    data, settings = corpus(layers), replace(SETTINGS, **change)  # type: ignore[arg-type]
    models = [model_of(data, seed, name=name) for seed in SEEDS]
    together = fit_stacked(models, data, settings, SEEDS, "mosi")
    ends = set()
    for seed, stacked in zip(SEEDS, together, strict=True):
        alone = fit(model_of(data, seed, name=name), data, settings, seed, "mosi")
        assert stacked.best_epoch == alone.best_epoch
        assert len(stacked.history) == len(alone.history)
        ends.add(len(alone.history))
        for one, other in zip(stacked.history, alone.history, strict=True):
            assert one.learning_rate == other.learning_rate
            assert one.train_loss == pytest.approx(other.train_loss, abs=1e-6)  # summed in float32
            assert one.valid_loss == pytest.approx(other.valid_loss, abs=1e-9)
        for where, weight in alone.state.items():
            torch.testing.assert_close(stacked.state[where], weight, rtol=1e-9, atol=1e-9)
    if "patience" in change:
        assert len(ends) > 1  # they stopped at different epochs


def test_same_stack_same_weights_and_dropout_works() -> None:
    data = corpus()
    found = [
        fit_stacked([model_of(data, s, 0.5) for s in seeds], data, SETTINGS, seeds, "mosi")
        for seeds in (SEEDS, SEEDS, (1, 2))
    ]
    weights = [fits[0].state["decoder.0.weight"] for fits in found]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])  # the masks are those of the stack


def test_a_stack_names_the_clips_that_diverge() -> None:
    data = corpus()
    source = data.sources["audio"]
    source.values[0, int(source.first[5])] = float("nan")  # type: ignore[attr-defined]
    source.valid[int(source.first[5])] = True  # type: ignore[attr-defined]
    with pytest.raises(RunError, match=r"Epoch 1, batch \d of 4: the loss is nan"):
        fit_stacked([model_of(data, s) for s in SEEDS], data, SETTINGS, SEEDS, "mosi")


def test_each_model_is_clipped_by_its_own_norm() -> None:
    random = torch.Generator().manual_seed(0)
    weights = [torch.zeros(3, *shape, requires_grad=True) for shape in ((4, 2), (5,))]
    for weight in weights:
        weight.grad = torch.randn(weight.shape, generator=random) * torch.tensor(
            [0.01, 1.0, 100.0]
        ).view(3, *[1] * (weight.dim() - 1))
    slow = []
    for k in range(3):
        own = [torch.zeros_like(w[k], requires_grad=True) for w in weights]
        for one, weight in zip(own, weights, strict=True):
            assert weight.grad is not None
            one.grad = weight.grad[k].clone()
        nn.utils.clip_grad_norm_(own, 1.0)
        slow.append(own)
    clip_each(weights, 1.0)
    for k, own in enumerate(slow):
        for one, weight in zip(own, weights, strict=True):
            assert weight.grad is not None
            torch.testing.assert_close(weight.grad[k], one.grad)


def test_what_cannot_be_stacked_says_so() -> None:
    data = corpus()
    model = model_of(data, 1)
    assert stackable(model, SETTINGS)
    assert not stackable(model, replace(SETTINGS, precision="bf16"))
    half = replace(SETTINGS, precision="bf16")
    with pytest.raises(ValueError, match="UEGD cannot be stacked"):
        fit_stacked([model], data, half, [1], "mosi")


def test_computing_everywhere_gives_the_same() -> None:
    layer = nn.Sequential(Linear(3, 4), nn.ReLU())
    frames, mask = torch.randn(2, 5, 3), torch.rand(2, 5) > 0.4
    wanted = Packed.of(frames, mask).map(layer)
    with padded_mode():
        padded = Packed.of(frames, mask).map(layer)
        torch.testing.assert_close(padded.unpacked(), wanted.unpacked())
        torch.testing.assert_close(padded.mean(), wanted.mean())
    torch.testing.assert_close(Packed.of(frames, mask).map(layer).rows, wanted.rows)
