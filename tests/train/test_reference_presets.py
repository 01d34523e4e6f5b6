"""Presets ``mmsa-…``: each baseline as the reference toolkit (MMSA 2.2.1) builds and trains it.

Counts and settings were read off its own models and configuration; `make toolkit` compares
functions and learning with it where it is installed.
"""

import math
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import sedimental
from sedimental.cache.spec import MODALITIES
from sedimental.train.fit.optimizer import falls, groups_of, rate_factors
from sedimental.train.fit.settings import Settings
from sedimental.train.layers.batch_norm import BatchNorm
from sedimental.train.models import build, model_options, model_recipe, option_faults
from sedimental.train.models.shared.interface import Batch, FusionModel, InputShape

PRESETS = Path(sedimental.__path__[0]) / "extract/corpora/presets"
WIDTHS = {"mosi": (768, 5, 20), "mosei": (768, 74, 35), "sims": (768, 33, 709)}
COUNTS = {
    "ef_lstm": (885_605, 1_754_725, 215_695),
    "lf_dnn": (597_171, 572_283, 635_821),
    "tfn": (9_497_043, 5_042_539, 35_632_077),
    "lmf": (505_071, 508_475, 272_381),
    "mult": (2_571_551, 982_951, 1_870_701),
    "misa": (1_138_033, 1_435_105, 21_664_749),
    "self_mm": (159_332, 165_668, 381_380),
    "mmim": (281_673, 292_425, 373_449),
}
"""Weights without BERT, by corpus in the order of `WIDTHS`."""
every_model = pytest.mark.parametrize("name", COUNTS)


def made(name: str, corpus: str = "mosi") -> FusionModel:
    shapes = dict(zip(MODALITIES, map(InputShape, WIDTHS[corpus]), strict=True))
    options = model_options(name, {}, f"mmsa-{corpus}")
    return build(name, options, shapes, torch.Generator().manual_seed(0))


def batch_of(lengths: list[int]) -> Batch:
    random = torch.Generator().manual_seed(1)
    masks = dict.fromkeys(MODALITIES, torch.arange(max(lengths)) < torch.tensor(lengths)[:, None])
    features = {
        m: torch.randn(len(lengths), max(lengths), w, generator=random) * masks[m].unsqueeze(2)
        for m, w in zip(MODALITIES, WIDTHS["mosi"], strict=True)
    }
    labels = torch.linspace(-2, 2, len(lengths))
    return Batch(features, masks, labels, torch.arange(len(lengths)))


@every_model
def test_parameters_are_those_of_the_reference(name: str) -> None:
    """P12, count for count."""
    for corpus, count in zip(WIDTHS, COUNTS[name], strict=True):
        weights = made(name, corpus).parameters()
        assert sum(p.numel() for p in weights) == count, corpus


@every_model
def test_padding_and_neighbours_change_nothing_there_either(name: str) -> None:
    model = made(name)
    model.eval()
    lengths = [9, 1, 6]
    together = model(batch_of(lengths)).prediction
    for k in range(3):
        whole = batch_of(lengths)
        alone = Batch(
            {m: x[k : k + 1, : lengths[k]] for m, x in whole.features.items()},
            {m: x[k : k + 1, : lengths[k]] for m, x in whole.masks.items()},
            whole.labels[k : k + 1],
            whole.index[k : k + 1],
        )
        torch.testing.assert_close(model(alone).prediction, together[k : k + 1], atol=1e-5, rtol=0)


@every_model
def test_every_weight_that_has_a_rate_learns(name: str) -> None:
    """But for those of MISA that nothing reads."""
    model = made(name)
    model.train()
    output = model(batch_of([9, 4, 6, 7, 5, 8]))
    torch.stack([output.prediction.square().mean(), *output.losses.values()]).sum().backward()
    still = {id(p) for g in groups_of(model) if g.rate == 0 for p in g.parameters}
    assert isinstance(model, nn.Module)
    named = {n: p for n, p in model.named_parameters() if id(p) not in still}
    without = {n.partition(".")[0] for n, p in named.items() if p.grad is None}
    # the heads of self_mm learn once `begin` was called
    assert without <= {"unread", "heads"}


def test_settings_are_those_of_the_configuration() -> None:
    """P11: what README once claimed and had otherwise."""
    misa, self_mm, mmim = (model_options(n, {}, "mmsa-mosi") for n in ("misa", "self_mm", "mmim"))
    assert (misa.feedforward, misa.recurrent, misa.width) == (2048, 0, 128)
    assert (self_mm.audio_out, self_mm.vision_out, self_mm.head_layers) == (16, 32, 2)
    assert (mmim.audio_hidden, mmim.vision_hidden, mmim.two_way, mmim.audio_out) == (
        16,
        16,
        True,
        16,
    )
    recipes = {n: model_recipe(n, {}, "mmsa-mosi") for n in COUNTS}
    assert [recipes[n].accumulate for n in ("misa", "self_mm", "mmim", "mult")] == [2, 4, 1, 8]
    assert recipes["self_mm"].weight_decay == 1e-3
    decays = [g.weight_decay for g in groups_of(made("self_mm", "sims"))]
    assert decays == [None, 0.01, 0.01]
    assert [recipes[n].weight_decay for n in ("tfn", "mult", "misa")] == [0, 0, 0]
    assert all(recipe.patience == 8 and recipe.optimizer == "adam" for recipe in recipes.values())
    rates = [g.rate for g in groups_of(made("lmf", "sims"))]
    assert rates == [1.0, 0.25, 0.0]  # the ranks' weights never learn


@pytest.mark.parametrize("corpus", WIDTHS)
def test_the_pipelines_name_models_and_presets_that_there_are(corpus: str) -> None:
    raw = tomllib.loads((PRESETS / f"mmsa-{corpus}.toml").read_text(encoding="utf-8"))
    assert not option_faults(raw)
    assert raw["train"]["preset"] == f"mmsa-{corpus}"
    assert raw["train"]["input_scaling"] == "none"


# --- what these presets need of the loop --------------------------------------------------------


def test_batch_norm_is_the_library_s() -> None:
    ours, theirs = BatchNorm(3), nn.BatchNorm1d(3)
    there = torch.ones(6, dtype=torch.bool)
    for seed in range(3):
        x = torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(seed)) + 2
        torch.testing.assert_close(ours(x, there), theirs(x))
    ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(x, there), theirs(x))
    assert set(ours.state_dict()) < set(theirs.state_dict())


def test_batch_norm_counts_the_clips_that_are_there_and_takes_one() -> None:
    norm, x = BatchNorm(2), torch.randn(4, 2)
    there = torch.tensor([True, True, False, True])
    padded = norm(x, there)
    alone = BatchNorm(2)(x[there], torch.ones(3, dtype=torch.bool))
    torch.testing.assert_close(padded[there], alone)
    single = BatchNorm(2)(x[:1], there[:1])  # nothing to divide by: as in scoring
    torch.testing.assert_close(single, x[:1] / math.sqrt(1 + 1e-5))


def test_the_rate_falls_as_the_library_s_plateau_has_it() -> None:
    losses = [1.0, 0.8, 0.9, 0.85, 0.81, 0.79, 0.79, 0.79, 0.79, 0.79, 0.5, 0.6]
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.Adam([weight], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2)
    recipe = Settings(plateau=2, plateau_factor=0.5, schedule="constant", warmup=0.0)
    for epoch in range(len(losses)):
        found = rate_factors(epoch + 1, 1, recipe, losses[:epoch])
        assert found == [pytest.approx(optimizer.param_groups[0]["lr"])]
        scheduler.step(losses[epoch])
    assert falls(losses, 2) == 2


def test_the_rest_of_an_epoch_is_dropped_and_gradients_are_bounded() -> None:
    from sedimental.train.fit.optimizer import Stepper

    model = made("lf_dnn")
    settings = replace(Settings(), clip_value=1e-4, accumulate=2, whole_groups=True)
    stepper = Stepper(model, settings, torch.device("cpu"))
    loss = model(batch_of([9, 4, 6])).prediction.square().mean()
    stepper.backward(100 * loss)
    assert max(float(p.grad.abs().max()) for p in model.parameters() if p.grad is not None) <= 1e-4
    stepper.forget()
    assert all(p.grad is None for p in model.parameters())
