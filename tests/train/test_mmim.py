"""MMIM: its estimates against `torch.distributions` and loops, and that no batch is too small."""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from sedimental.cache.spec import MODALITIES, Modality
from sedimental.config import load_config
from sedimental.train.models.mmim import ENCODER, MMIM, RECIPES, Options
from sedimental.train.models.mmim_information import (
    MOST,
    ClassMemory,
    Conditional,
    contrast,
    entropy,
)
from sedimental.train.models.shared.hooks import Training
from sedimental.train.models.shared.interface import Batch, InputShape
from sedimental.train.run import train

MakeFeatures = Callable[..., Path]
WIDTHS: dict[Modality, int] = {"text": 5, "audio": 4, "vision": 3}
SMALL = Options(width=8, audio_hidden=4, vision_hidden=3, memory=6, dropout=0.0)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def batch_of(lengths: list[int], seed: int = 0) -> Batch:
    """The second clip has no sound."""
    mask = torch.arange(max(1, *lengths)) < torch.tensor(lengths).unsqueeze(1)
    features = {m: random(*mask.shape, w, seed=seed + w) for m, w in WIDTHS.items()}
    masks = dict.fromkeys(WIDTHS, mask)
    masks["audio"] = mask & (torch.arange(len(lengths)) != 1).unsqueeze(1)
    labels = random(len(lengths), seed=seed)
    return Batch(features, masks, labels, torch.arange(len(lengths)))


def made(options: Options = SMALL, modalities: tuple[Modality, ...] = MODALITIES) -> MMIM:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return MMIM(options, {m: InputShape(WIDTHS[m]) for m in modalities})


def remembered(*sizes: int, width: int = 3, slots: int = 5) -> ClassMemory:
    """A memory of so many vectors a class."""
    memory = ClassMemory(len(sizes), slots, width)
    for kind, size in enumerate(sizes):
        members = torch.zeros(size, len(sizes), dtype=torch.bool)
        members[:, kind] = True
        memory.take(random(size, width, seed=kind), members)
    return memory


def test_likelihood_is_that_of_a_gaussian() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        q = Conditional(5, 3)
    x, y = random(7, 5), 3 * random(7, 3, seed=1)
    wanted = Normal(q.mean(x), (MOST * q.spread(x) / 2).exp()).log_prob(y).sum(dim=1)
    torch.testing.assert_close(q(x, y), wanted)
    assert torch.equal(q.as_it_is(x, y), q(x, y))


@pytest.mark.parametrize("sizes", [(0, 0), (4, 5), (1, 0)])
def test_entropy_is_that_of_a_gaussian_a_class(sizes: tuple[int, int]) -> None:
    memory, y = remembered(*sizes), random(11, 3, seed=9) * torch.tensor([0.2, 1.0, 3.0])
    kinds = torch.tensor([0, 1, 1, 0, 0, 1, 0, 1, 2, 0, 1])  # one is of neither class
    members = torch.stack([kinds == c for c in range(2)], dim=1)
    total = 0.0
    for c in range(2):
        rows = torch.cat([y[kinds == c], memory.rows[c, : sizes[c]]]).double()
        covariance = torch.cov(rows.T, correction=0) + 1e-3 * torch.eye(3)
        total += float(MultivariateNormal(rows.mean(dim=0), covariance).entropy())
    assert float(entropy(y, members, memory, 1e-3)) == pytest.approx(total / 2, rel=1e-4)


def test_a_class_that_cannot_be_estimated_takes_no_part() -> None:
    y, none = random(6, 3), remembered(0, 0)
    one_kind = torch.tensor([[True, False]] * 6)
    alone = entropy(y, one_kind, none, 1e-3)
    assert float(alone) == pytest.approx(float(entropy(y, one_kind[:, :1], remembered(0), 1e-3)))
    one_kind[5] = torch.tensor([False, True])  # one clip has no spread
    assert float(entropy(y, one_kind, none, 1e-3)) == pytest.approx(
        float(entropy(y[:5], one_kind[:5], none, 1e-3))
    )
    assert float(entropy(y[:1], one_kind[:1], none, 1e-3)) == 0


@pytest.mark.parametrize("clips", [1, 2, 3])
@pytest.mark.parametrize("same", [True, False])
def test_entropy_of_few_or_equal_clips_has_finite_gradients(clips: int, same: bool) -> None:
    y = random(clips, 32)  # many more entries than clips: the covariance alone is singular
    y = (y[:1].repeat(clips, 1) if same else y).requires_grad_()
    found = entropy(y, torch.ones(clips, 1, dtype=torch.bool), ClassMemory(1, 4, 32), 1e-3)
    found.backward()
    assert found.isfinite()
    assert y.grad is not None
    assert y.grad.isfinite().all()
    assert y.grad.abs().max() < 1e3
    assert bool(y.grad.any()) == (clips > 1 and not same)


def test_contrast_is_an_explicit_softmax_over_clips() -> None:
    predicted, own = random(6, 4), random(6, 4, seed=1)
    there = torch.tensor([True, True, False, True, False, True])
    total, known = 0.0, [k for k in range(6) if there[k]]
    for i in known:
        scores = []
        for j in known:
            a, b = predicted[i].tolist(), own[j].tolist()
            dot = sum(x * y for x, y in zip(a, b, strict=True))
            scores.append(math.exp(dot / math.hypot(*a) / math.hypot(*b)))
        total -= math.log(scores[known.index(i)] / sum(scores))
    assert float(contrast(predicted, own, there)) == pytest.approx(total / 4, rel=1e-5)
    assert float(contrast(predicted, own, there & False)) == 0
    assert float(contrast(predicted[:1], own[:1], there[:1])) == pytest.approx(0, abs=1e-6)


def test_memory_holds_the_latest_of_each_class() -> None:
    memory = ClassMemory(2, 5, 3)
    wanted: list[deque[list[float]]] = [deque(maxlen=5), deque(maxlen=5)]
    for step in range(6):
        vectors, kinds = random(4, 3, seed=step), random(4, seed=50 + step) > 0.3
        memory.take(vectors, torch.stack([~kinds, kinds], dim=1))
        for row, kind in zip(vectors.tolist(), kinds.tolist(), strict=True):
            wanted[int(kind)].append(row)
        for c in range(2):
            assert int(memory.held[c]) == len(wanted[c])
            assert memory.rows[c, : memory.held[c]].tolist() == list(wanted[c])
    memory.take(random(9, 3), torch.tensor([[True, False]] * 9))  # more than there is room for
    assert torch.equal(memory.rows[0], random(9, 3)[-5:])
    memory.forget()
    assert not memory.real.any()


def accustomed(model: MMIM, batch: Batch) -> None:
    model.begin(Training(batch.size, batch.index, batch.labels, seed=0))
    with torch.no_grad():
        for epoch in (1, 2):
            model.after_step(batch, model(batch), epoch)


def test_losses_are_weighted_sums_of_these() -> None:
    model, batch = made().train(), batch_of([4, 2, 5, 1, 3, 2])
    accustomed(model, batch)
    output = model(batch)
    h, fused = output.representations, output.representations["fused"]
    there = {m: batch.masks[m].any(dim=1) for m in MODALITIES}
    bound = likelihood = contrasts = 0.0
    for m in MODALITIES:
        predicted = model.predictors[m](fused).detach()
        contrasts += float(contrast(predicted, h[m], there[m]))
        if m == "text":
            continue
        told = model.likelihoods[m](h["text"], h[m]).detach()
        mean = float(told[there[m]].sum()) / 6
        kinds = torch.stack([batch.labels < 0, batch.labels >= 0], dim=1) & there[m].unsqueeze(1)
        memory = model.memories[m]
        assert isinstance(memory, ClassMemory)
        assert memory.real.any()
        likelihood += mean
        bound += mean + float(entropy(h[m], kinds, memory, SMALL.ridge))
    found = {name: term.item() for name, term in output.losses.items()}
    assert found == {
        "contrast": pytest.approx(0.1 * contrasts, rel=1e-5),
        "likelihood": pytest.approx(-likelihood, rel=1e-5),
        "bound": pytest.approx(-0.1 * bound, rel=1e-5),
    }
    assert set(made(SMALL, ("vision",)).train()(batch).losses) == {"contrast"}
    assert not model.eval()(batch).losses
    assert not model(batch).extras


def moved_by(model: MMIM, batch: Batch, term: str) -> set[str]:
    """Parts whose weights get a gradient from one loss."""
    model.zero_grad()
    torch.autograd.backward(model(batch).losses[term])
    weights: Mapping[str, Tensor | None] = {n: p.grad for n, p in model.named_parameters()}
    return {n.partition(".")[0] for n, g in weights.items() if g is not None and g.any()}


def test_the_likelihood_and_the_bound_have_stages_of_their_own() -> None:
    model, batch = made().train(), batch_of([4, 2, 5, 1, 3, 2])
    assert moved_by(model, batch, "likelihood") == {"likelihoods"}
    assert moved_by(model, batch, "bound") == {"encoders"}
    assert moved_by(model, batch, "contrast") == {"encoders", "fusion", "predictors"}
    rest, likelihood = made(replace(SMALL, likelihood_rate=0.5)).groups()
    assert (rest.rate, likelihood.rate) == (1.0, 0.5)
    assert len(likelihood.parameters) == len(list(model.likelihoods.parameters()))


def test_the_likelihood_learns_what_text_tells_of_sound() -> None:
    model = made().train()
    batch = batch_of([3] * 40)
    told = batch.features["text"][:, 0] @ random(5, 4, seed=7)
    batch = replace(batch, features={**batch.features, "audio": told[:, None].expand(-1, 3, -1)})
    optimizer = torch.optim.Adam(model.likelihoods.parameters(), lr=1e-2)
    before = model(batch).losses["likelihood"].item()
    for _ in range(200):
        optimizer.zero_grad()
        torch.autograd.backward(model(batch).losses["likelihood"])
        optimizer.step()
    assert model(batch).losses["likelihood"].item() < before - 5


@pytest.mark.parametrize("size", [1, 2])
def test_tiny_batches_do_not_end_in_nan(size: int) -> None:
    """MMSA's issue 40: there MMIM's loss is NaN where batches are very small."""
    options = Options(width=8, memory=4, bound=1.0)  # 32 units, of a handful of clips
    model = made(options).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(30):
        batch = batch_of([3, 2][:size] if step % 5 else [0, 4][:size], seed=step)
        output = model(batch)
        loss = output.prediction.abs().mean() + torch.stack([*output.losses.values()]).sum()
        assert loss.isfinite()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
        optimizer.step()
        with torch.no_grad():
            model.after_step(batch, output, 1)


def test_classes_have_a_memory_each() -> None:
    model, batch = made(replace(SMALL, classes=3)).train(), batch_of([4, 2, 5, 1, 3, 2])
    batch = replace(batch, labels=torch.tensor([0, 1, 2, 2, 2, 0]))
    accustomed(model, batch)
    sound, face = (model.memories[m] for m in ("audio", "vision"))
    assert sound.held.tolist() == [4, 0, 6]  # type: ignore[operator]  # the clip of class 1 has no sound
    assert face.held.tolist() == [4, 2, 6]  # type: ignore[operator]


def test_settings_are_those_of_the_corpora() -> None:
    recipe = RECIPES["mosei"]
    assert (recipe.batch_size, recipe.learning_rate, recipe.weight_decay) == (32, 1e-3, 1e-4)
    assert (recipe.clip_norm, recipe.accumulate, ENCODER.learning_rate) == (1.0, 2, 5e-5)
    assert (Options().contrast, Options().bound, Options().width) == (0.1, 0.1, 128)


def test_it_beats_the_mean_of_the_labels(make_features: MakeFeatures) -> None:
    table = '[train]\nmodels = ["mmim"]\nseeds = [1]\nepochs = 20\nlearning_rate = 5e-3\n'
    tail = "batch_size = 8\naccumulate = 1\n[train.mmim]\ntext = 'mean'\nwidth = 16\n"
    (run,) = train(load_config(make_features(table + tail)))
    truth, said = run.predictions.of("test")
    mean = run.predictions.of("train")[0].mean()
    assert np.abs(said - truth).mean() < 0.7 * np.abs(mean - truth).mean()
