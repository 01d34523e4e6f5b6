"""The loop: it learns what is there, nothing where nothing is, and the same thing twice."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch

from sedimental.cache.runs import Epoch
from sedimental.cache.spec import MODALITIES, Modality, Split
from sedimental.cache.store.store import Ragged
from sedimental.config import TrainConfig
from sedimental.errors import RunError
from sedimental.evaluate.metrics import score
from sedimental.train.data.dataset import Corpus, Selection, Source, Table
from sedimental.train.data.load import arrange
from sedimental.train.fit.early_stopping import BestEpoch
from sedimental.train.fit.loop import fit, predict
from sedimental.train.fit.loop import shuffled as batches_of
from sedimental.train.fit.optimizer import rate_factor
from sedimental.train.fit.seeding import derive, stream
from sedimental.train.fit.settings import Settings
from sedimental.train.models import build, model_options
from sedimental.train.models.shared.hooks import Group, Training
from sedimental.train.models.shared.interface import Batch, FusionModel, Output

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


def trained(
    data: Selection, config: TrainConfig = QUICK, seed: int = 1
) -> tuple[FusionModel, BestEpoch]:
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
    # a model that learned nothing points anywhere: of one corpus it has a correlation of 0 ± 0.4
    return [corpus(SIZES, seed, shuffle_training=True) for seed in range(12)]


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
    seeds = [derive(s, p, e) for s in (1, 2) for p in ("init", "order") for e in (0, 1)]
    assert len(set(seeds)) == len(seeds)
    assert derive(1, "dropout", 3) == derive(1, "dropout", 3)


@pytest.mark.parametrize("warmup", [0.0, 0.1, 1.0])
def test_schedule_rises_straight_and_falls_as_a_cosine(warmup: float) -> None:
    factors = [rate_factor(step, 100, warmup, "cosine") for step in range(100)]
    rising = round(100 * warmup)
    for step in range(rising):
        assert factors[step] == pytest.approx((step + 1) / rising)
    for step in range(rising, 100):
        wanted = (1 + math.cos(math.pi * (step - rising) / (100 - rising))) / 2
        assert factors[step] == pytest.approx(wanted)
    assert max(factors) == 1
    assert min(factors) > 0

    assert {rate_factor(step, 100, warmup, "constant") for step in range(rising, 100)} <= {1.0}


def test_history_and_best_epoch() -> None:
    data = corpus(TINY)
    ticks: list[int] = []
    config = QUICK.model_copy(update={"epochs": 5, "schedule": "constant", "warmup": 0.0})
    shapes = {m: source.shape for m, source in data.sources.items()}
    model = build("uegd", model_options("uegd", SMALL), shapes, stream(1, "init"))
    found = fit(model, data, config, 1, "mosi", lambda _: ticks.append(1))
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


def epochs(losses: list[float], corrs: list[float]) -> list[Epoch]:
    return [
        Epoch(k, 1.0, loss, 1e-3, 0.1, {"Corr": corr})
        for k, (loss, corr) in enumerate(zip(losses, corrs, strict=True), start=1)
    ]


def test_an_undefined_criterion_falls_back_on_the_loss_and_says_so() -> None:
    """R14: of constant predictions there is no correlation; epoch 1 was kept, unsaid."""
    nan = float("nan")
    for losses, corrs, best, undefined in (
        ([3.0, 1.0, 2.0], [nan, nan, nan], 2, True),
        ([3.0, 1.0, 2.0], [nan, nan, 0.1], 3, False),
        ([3.0, 1.0, 2.0], [nan, -0.5, nan], 2, False),
        ([1.0, 2.0, 3.0], [nan, 0.1, 0.2], 3, False),
    ):
        track = BestEpoch(Settings(epochs=3, criterion="Corr", also=("MAE",)))
        track.rivals.clear()
        for epoch in epochs(losses, corrs):
            track.take(epoch, dict)
        assert (track.best_epoch, track.undefined) == (best, undefined)


def test_one_validation_clip_is_enough() -> None:
    data = corpus({"train": 20, "valid": 1, "test": 1})
    _, found = trained(data, QUICK.model_copy(update={"epochs": 2}))
    assert len(found.history) == 2


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
    assert isinstance(source, Source)
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
    assert isinstance(source, Source)
    source.values[0, int(source.first[int(data.rows["valid"][0])])] = float("inf")
    with pytest.raises(RunError, match="Epoch 1, validation: a prediction is not finite"):
        trained(data)


def test_scores_come_in_the_order_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    data = corpus(TINY)
    model, _ = trained(data, QUICK.model_copy(update={"epochs": 1}))
    rows = torch.tensor([30, 2, 17, 5])
    together = predict(model, data, rows)
    monkeypatch.setattr("sedimental.train.fit.loop.SCORING_BATCH", 3)
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


class Plain(torch.nn.Module):
    """One linear layer on the mean text frame; what surrounds a model is tested with it."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(WIDTH, 1)
        self.heard: list[tuple[str, object]] = []

    def forward(self, batch: Batch) -> Output:
        return Output(self.head(batch.features["text"].mean(dim=1)).squeeze(-1))

    def outputs(self) -> Mapping[str, torch.Tensor]:
        return {}


class Halved(Plain):
    """Its bias learns at half the rate and does not decay."""

    def groups(self) -> list[Group]:
        return [Group((self.head.weight,)), Group((self.head.bias,), rate=0.5, weight_decay=0.0)]  # type: ignore[arg-type]


def plain(kind: type[Plain] = Plain) -> Plain:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind()


NOTHING_RANDOM = Settings(
    learning_rate=1e-2, batch_size=6, epochs=3, warmup=0.0, schedule="constant"
)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"accumulate": 2},
        {"accumulate": 3, "clip_norm": 0.5},
        {"loss": "l2", "weight_decay": 0.3},
        {"loss": "huber", "weight_decay": 0.3, "optimizer": "adamw"},
        {"drops": (2, 3)},
        {"accumulate": 100},
    ],
)
@pytest.mark.parametrize("kind", [Plain, Halved])
def test_steps_are_those_of_a_plain_loop(kind: type[Plain], change: dict[str, object]) -> None:
    """Four batches of an epoch, the last one short; groups of batches whose last is short."""
    data, settings = corpus(TINY), replace(NOTHING_RANDOM, **change)  # type: ignore[arg-type]
    model, slow = plain(kind), plain(kind)
    fit(model, data, settings, 1, "mosi")
    halved = 0.5 if kind is Halved else 1.0
    decay = 0.0 if kind is Halved else settings.weight_decay
    optimizer = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimizer](
        [
            {"params": [slow.head.weight], "weight_decay": settings.weight_decay},
            {"params": [slow.head.bias], "weight_decay": decay},
        ]
    )
    distance = {
        "l1": torch.nn.L1Loss(),
        "l2": torch.nn.MSELoss(),
        "huber": torch.nn.HuberLoss(),
    }[settings.loss]
    for epoch in (1, 2, 3):
        batches = [data.batch(rows) for rows in batches_of(data, settings.batch_size, 1, epoch)]
        assert [b.size for b in batches] == [6, 6, 6, 2]
        for start in range(0, 4, settings.accumulate):
            optimizer.zero_grad()
            for batch in batches[start : start + settings.accumulate]:
                distance(slow(batch).prediction, batch.labels).backward()
            if settings.clip_norm:
                torch.nn.utils.clip_grad_norm_(slow.parameters(), settings.clip_norm)
            rate = 1e-2 * 0.1 ** len([d for d in settings.drops if d <= epoch])
            optimizer.param_groups[0]["lr"] = rate
            optimizer.param_groups[1]["lr"] = rate * halved
            optimizer.step()
    torch.testing.assert_close(dict(model.state_dict()), dict(slow.state_dict()))


def test_groups_must_be_the_weights_each_once() -> None:
    class Twice(Plain):
        def groups(self) -> list[Group]:
            return [Group((self.head.weight,)), Group((self.head.weight,))]  # type: ignore[arg-type]

    with pytest.raises(ValueError, match=r"Twice\.groups\(\)"):
        fit(plain(Twice), corpus(TINY), NOTHING_RANDOM, 1, "mosi")


def test_a_model_that_remembers_is_told_before_and_after() -> None:
    class Listening(Plain):
        def begin(self, training: Training) -> None:
            self.register_buffer("seen", torch.zeros(training.table, dtype=torch.long))
            self.heard.append(("begin", training))

        def after_step(self, batch: Batch, output: Output, epoch: int) -> None:
            assert not torch.is_grad_enabled()
            self.seen: torch.Tensor
            self.seen[batch.index] += 1
            self.heard.append(("step", epoch))

    data, model = corpus(TINY), plain(Listening)
    found = fit(model, data, replace(NOTHING_RANDOM, epochs=2), 7, "mosi")
    training = model.heard[0][1]
    assert isinstance(training, Training)
    assert (training.table, training.seed) == (36, 7)
    assert torch.equal(training.index, data.rows["train"])
    assert torch.equal(training.labels, data.labels[:20])
    assert model.heard[1:] == [("step", 1)] * 4 + [("step", 2)] * 4
    assert found.state["seen"].tolist() == [found.best_epoch] * 20 + [0] * 16


def test_the_criterion_picks_the_epoch() -> None:
    data = corpus(TINY)
    config = QUICK.model_copy(update={"epochs": 8, "schedule": "constant"})
    for criterion, pick in (("MAE", np.argmin), ("Corr", np.argmax), ("Has0_acc_2", np.argmax)):
        _, found = trained(data, config.model_copy(update={"criterion": criterion}))
        assert found.best_epoch == 1 + int(pick([e.valid[criterion] for e in found.history]))
    _, found = trained(data, config.model_copy(update={"loss": "l2"}))
    answers = [e.valid_loss for e in found.history]
    assert found.best_epoch == 1 + int(np.argmin(answers))
    assert answers != [e.valid["MAE"] for e in found.history]


def test_a_criterion_that_is_never_a_number_keeps_the_first_epoch() -> None:
    settings = Settings(criterion="Corr", epochs=3)
    track = BestEpoch(settings)
    for number in (1, 2, 3):
        kept = track.add(Epoch(number, 0.0, 1.0, 0.1, 0.1, {"Corr": math.nan}))
        assert kept == (number == 1)
    assert track.finished


@pytest.mark.parametrize("precision", ["bf16"])
def test_mixed_precision_learns_the_same(precision: str) -> None:
    data = corpus(SIZES)
    model, found = trained(data, QUICK.model_copy(update={"precision": precision}))
    _, exact = trained(data)
    assert found.history[0].train_loss != exact.history[0].train_loss
    assert found.history[-1].valid_loss == pytest.approx(exact.history[-1].valid_loss, rel=0.1)
    assert all(w.dtype == torch.float32 for w in model.parameters())


def test_fp16_asks_for_a_gpu() -> None:
    with pytest.raises(RunError, match=r"train\.precision"):
        trained(corpus(TINY), QUICK.model_copy(update={"precision": "fp16"}))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_every_precision_on_a_gpu(precision: str) -> None:
    data = on_gpu(corpus(SIZES))
    shapes = {m: source.shape for m, source in data.sources.items()}
    model = build("uegd", model_options("uegd", SMALL), shapes, stream(1, "init"))
    model.to("cuda")
    config = QUICK.model_copy(update={"precision": precision, "clip_norm": 5.0})
    assert fit(model, data, config, 1, "mosi").history[-1].train_loss < 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_gpu_repeats_itself() -> None:
    data = on_gpu(corpus(TINY))
    shapes = {m: source.shape for m, source in data.sources.items()}
    losses = []
    for _ in range(2):
        model = build("uegd", model_options("uegd", SMALL), shapes, stream(1, "init"))
        model.to("cuda")
        losses.append([e.valid_loss for e in fit(model, data, QUICK, 1, "mosi").history])
    assert losses[0] == losses[1]


def on_gpu(data: Selection) -> Selection:
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
        if isinstance(s, Source)
    }
    return replace(data, sources=moved, labels=data.labels.to(there))
