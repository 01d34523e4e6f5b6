"""The loop: it learns what is there, nothing where nothing is, and the same thing twice."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch

from sedimental.cache.errors import RunError
from sedimental.cache.spec import MODALITIES, Modality, Split
from sedimental.cache.store import Ragged
from sedimental.config import TrainConfig
from sedimental.evaluate.metrics import score
from sedimental.train.data import Corpus, Selection, Source, Table
from sedimental.train.loading import arrange
from sedimental.train.loop import Fit, fit, predict, rate_factor
from sedimental.train.models import build, model_options
from sedimental.train.models.base import FusionModel
from sedimental.train.seeding import derive, stream

SMALL = {"hidden": 16, "embedding": 8}
QUICK = TrainConfig(epochs=12, learning_rate=5e-3, mask_time=0.1, mask_width=0.1)
WIDTH = 12


def corpus(
    sizes: Mapping[Split, int],
    seed: int = 0,
    layers: int = 1,
    informative: int = 0,
    shuffle_training: bool = False,
) -> Selection:
    """Three modalities; a third of the label is written into one layer of each."""
    random = np.random.default_rng(seed)
    splits: list[Split] = [s for s, n in sizes.items() for _ in range(n)]
    clips = tuple(f"v$_${k}" for k in range(len(splits)))
    parts = random.normal(0, 1, (3, len(splits)))
    labels = parts.sum(axis=0)
    if shuffle_training:
        train = np.flatnonzero([s == "train" for s in splits])
        labels[train] = random.permutation(labels[train])
    table = Table(clips, tuple(splits), labels, dict.fromkeys(sizes, 0))
    sources = {}
    for m, part in zip(MODALITIES, parts, strict=True):
        direction = random.normal(0, 1, WIDTH)
        lengths = random.integers(2, 6, len(clips))
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        values = random.normal(0, 1, (layers, offsets[-1], WIDTH))
        values[informative] += np.repeat(part, lengths)[:, None] * direction
        ragged = Ragged(values.astype(np.float16), offsets, clips)
        valid = np.ones(offsets[-1], bool)
        sources[m] = arrange(table, ragged, valid, layers > 1, "standardize", torch.device("cpu"))
    return Corpus(table, sources, torch.from_numpy(labels).float()).select(MODALITIES)


SIZES: dict[Split, int] = {"train": 240, "valid": 60, "test": 120}
TINY: dict[Split, int] = {"train": 20, "valid": 8, "test": 8}


def trained(data: Selection, config: TrainConfig = QUICK, seed: int = 1) -> tuple[FusionModel, Fit]:
    shapes = {m: source.shape for m, source in data.sources.items()}
    model = build("uegd", model_options("uegd", SMALL), shapes, stream(seed, "init"))
    found = fit(model, data, config, seed, "mosi")
    model.load_state_dict(found.state)
    return model, found


def corr_on_test(data: Selection, model: FusionModel) -> float:
    rows = data.rows["test"]
    return score(data.table.labels[rows], predict(model, data, rows).values, "mosi")["Corr"]


def test_learns_what_the_modalities_say_together() -> None:
    data = corpus(SIZES)
    model, found = trained(data)
    assert corr_on_test(data, model) > 0.8
    assert found.history[-1].train_loss < found.history[0].train_loss
    text_only = corpus(SIZES)
    text_only = replace(text_only, sources={"text": text_only.sources["text"]})
    alone, _ = trained(text_only)
    assert corr_on_test(text_only, alone) < 0.7


def test_shuffled_training_labels_teach_nothing() -> None:
    found = [corr_on_test(data, trained(data)[0]) for data in shuffled()]
    assert abs(np.mean(found)) < 0.2


def shuffled() -> list[Selection]:
    return [corpus(SIZES, seed, shuffle_training=True) for seed in range(3)]


def test_weighted_sum_prefers_the_informative_layer() -> None:
    data = corpus(SIZES, layers=4, informative=2)
    model, _ = trained(data, QUICK.model_copy(update={"learning_rate": 2e-2}))
    for m in MODALITIES:
        weights = model.outputs()[f"layers_{m}"]
        assert weights.argmax() == 2
        assert weights[2] > 0.35


def test_same_seed_same_predictions_and_no_global_state_moves() -> None:
    data = corpus(TINY)
    config = QUICK.model_copy(update={"epochs": 2})
    before = torch.random.get_rng_state()
    model, found = trained(data, config)
    torch.manual_seed(12345)  # what others do with the global generator must not matter
    again, same = trained(data, config)
    other, _ = trained(data, config, seed=2)
    torch.random.set_rng_state(before)
    rows = data.rows["test"]
    first, second, third = (predict(m, data, rows).values for m in (model, again, other))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, third)
    assert [e.train_loss for e in found.history] == [e.train_loss for e in same.history]
    state = torch.random.get_rng_state()
    trained(data, config)
    assert torch.equal(state, torch.random.get_rng_state())


def test_streams_are_apart() -> None:
    seeds = [derive(s, p, e) for s in (1, 2) for p in ("init", "order") for e in (0, 1)]  # type: ignore[arg-type]
    assert len(set(seeds)) == len(seeds)
    assert derive(1, "dropout", 3) == derive(1, "dropout", 3)


@pytest.mark.parametrize("warmup", [0.0, 0.1, 1.0])
def test_schedule_rises_straight_and_falls_as_a_cosine(warmup: float) -> None:
    config = TrainConfig(warmup=warmup)
    factors = [rate_factor(step, 100, config) for step in range(100)]
    rising = round(100 * warmup)
    for step in range(rising):
        assert factors[step] == pytest.approx((step + 1) / rising)
    for step in range(rising, 100):
        wanted = (1 + math.cos(math.pi * (step - rising) / (100 - rising))) / 2
        assert factors[step] == pytest.approx(wanted)
    assert max(factors) == 1
    assert min(factors) > 0
    steady = config.model_copy(update={"schedule": "constant"})
    assert {rate_factor(step, 100, steady) for step in range(rising, 100)} <= {1.0}


def test_history_and_best_epoch() -> None:
    data = corpus(TINY)
    ticks: list[int] = []
    config = QUICK.model_copy(update={"epochs": 5, "schedule": "constant", "warmup": 0.0})
    shapes = {m: source.shape for m, source in data.sources.items()}
    model = build("uegd", model_options("uegd", SMALL), shapes, stream(1, "init"))
    found = fit(model, data, config, 1, "mosi", lambda: ticks.append(1))
    losses = [e.valid_loss for e in found.history]
    assert [e.epoch for e in found.history] == [1, 2, 3, 4, 5]
    assert len(ticks) == 5
    assert found.best_epoch == 1 + int(np.argmin(losses))
    assert all(e.learning_rate == config.learning_rate for e in found.history)
    model.load_state_dict(found.state)
    rows = data.rows["valid"]
    answers = predict(model, data, rows).values
    exact = np.abs(answers - data.table.labels[rows]).mean()
    assert exact == pytest.approx(min(losses), abs=1e-12)
    assert found.history[found.best_epoch - 1].valid["MAE"] == pytest.approx(exact)


def test_stops_early_when_validation_gets_no_better() -> None:
    data = corpus(TINY, shuffle_training=True)
    config = QUICK.model_copy(update={"epochs": 60, "patience": 2, "learning_rate": 3e-2})
    _, found = trained(data, config)
    assert len(found.history) == found.best_epoch + 2 < 60


def test_options_of_the_optimiser_reach_it() -> None:
    data = corpus(TINY)
    config = QUICK.model_copy(update={"epochs": 1})
    _, plain = trained(data, config)
    for update in ({"clip_norm": 1e-3}, {"weight_decay": 0.5}, {"mask_time": 0.9}):
        _, changed = trained(data, config.model_copy(update=update))
        assert changed.history[0].valid_loss != plain.history[0].valid_loss, update


def test_divergence_names_epoch_batch_and_clips() -> None:
    data = corpus(TINY)
    source = data.sources["audio"]
    row = int(source.first[7])
    source.values[0, row] = float("nan")
    with pytest.raises(RunError, match=r"Epoch 1, batch \d of 2: the loss is nan") as found:
        trained(data, QUICK.model_copy(update={"epochs": 3}))
    message = str(found.value)
    assert "v$_$7" in message
    assert "train.learning_rate" in message


def test_a_prediction_that_is_not_finite_ends_training() -> None:
    data = corpus(TINY)
    source = data.sources["audio"]
    source.values[0, int(source.first[int(data.rows["valid"][0])])] = float("inf")
    with pytest.raises(RunError, match="Epoch 1, validation: a prediction is not finite"):
        trained(data)


def test_scores_come_in_the_order_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    data = corpus(TINY)
    model, _ = trained(data, QUICK.model_copy(update={"epochs": 1}))
    rows = torch.tensor([30, 2, 17, 5])
    together = predict(model, data, rows)
    monkeypatch.setattr("sedimental.train.loop.SCORING_BATCH", 3)
    alone = [predict(model, data, row.unsqueeze(0)) for row in rows]
    np.testing.assert_allclose(together.values, [a.values[0] for a in alone], atol=1e-6)
    np.testing.assert_allclose(
        together.extras["gate"], [a.extras["gate"][0] for a in alone], atol=1e-6
    )
    np.testing.assert_allclose(predict(model, data, rows).values, together.values, atol=1e-6)


def test_extra_losses_of_a_model_are_added() -> None:
    data = corpus(TINY)

    class Burdened(torch.nn.Module):
        """A model whose own term is 3 for every batch."""

        def __init__(self, inner: FusionModel) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, batch: object) -> object:
            output = self.inner(batch)  # type: ignore[arg-type]
            return replace(output, losses={"own": output.prediction.sum() * 0 + 3})

    shapes = {m: source.shape for m, source in data.sources.items()}
    config = QUICK.model_copy(update={"epochs": 1})
    losses = []
    for wrap in (lambda m: m, Burdened):
        model = build("uegd", model_options("uegd", SMALL), shapes, stream(1, "init"))
        losses.append(fit(wrap(model), data, config, 1, "mosi").history[0].train_loss)  # type: ignore[arg-type]
    assert losses[1] == pytest.approx(losses[0] + 3, abs=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_gpu_repeats_itself() -> None:
    data = corpus(TINY)
    there = torch.device("cuda", 0)
    moved: dict[Modality, Source] = {
        m: replace(
            s,
            values=s.values.to(there),
            valid=s.valid.to(there),
            first=s.first.to(there),
            length=s.length.to(there),
        )
        for m, s in data.sources.items()
    }
    data = replace(data, sources=moved, labels=data.labels.to(there))
    shapes = {m: source.shape for m, source in data.sources.items()}
    losses = []
    for _ in range(2):
        model = build("uegd", model_options("uegd", SMALL), shapes, stream(1, "init"))
        model.to(there)
        losses.append([e.valid_loss for e in fit(model, data, QUICK, 1, "mosi").history])
    assert losses[0] == losses[1]
