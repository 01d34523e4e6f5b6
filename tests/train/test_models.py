"""One contract for every fusion model, and the way from pipeline.toml to it."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, save

from sedimental.cache.spec import MODALITIES, Modality
from sedimental.config import ConfigError, TrainConfig
from sedimental.errors import RunError
from sedimental.train.fit.settings import settings_of
from sedimental.train.models import (
    MODELS,
    build,
    model_options,
    model_recipe,
    option_faults,
    within_text,
)
from sedimental.train.models.shared.hooks import Remembers, Training
from sedimental.train.models.shared.interface import Batch, FusionModel, InputShape
from sedimental.train.models.uegd import PRESETS as UEGD_PRESETS

WIDTHS: dict[Modality, int] = {"text": 12, "audio": 10, "vision": 8}
SUBSETS: list[tuple[Modality, ...]] = [
    ("text", "audio", "vision"),
    ("text", "audio"),
    ("audio", "vision"),
    ("text",),
    ("vision",),
]
SMALL: dict[str, dict[str, object]] = {
    "uegd": {"hidden": 16, "embedding": 8},
    "emt_dlfr": {"width": 16, "heads": 2, "depth": 2},
    "glomo": {"width": 16, "heads": 4, "encoder_layers": 1, "fusion_feedforward": 32},
    "sugrm": {"width": 8, "heads": 2, "rounds": 2, "stride": 2, "input_window": 3},
    "mmml": {"width": 16, "heads": 2, "layers": 1, "head": 16},
    "ef_lstm": {"steps": 6, "hidden": 16},
    "tfn": {"text_width": 8, "audio_width": 4, "vision_width": 4, "hidden": 16},
    "mult": {"width": 8, "heads": 2, "layers": 1, "memory_layers": 1},
    "tfr_net": {"width": 12, "heads": 2, "levels": 1},
    "misa": {"width": 16, "recurrent": 8, "feedforward": 32},
    "self_mm": {"fusion_width": 24},
    "mtfn": {"text_width": 8, "audio_width": 4, "vision_width": 4, "hidden": 16},
    "mfn": {"text_hidden": 16, "audio_hidden": 8, "memory": 16, "inner": 32},
    "graph_mfn": {"text_hidden": 16, "audio_hidden": 8, "memory": 16, "vertex": 16},
    "mfm": {"text_hidden": 16, "audio_hidden": 8, "memory": 16, "latent": 16, "decoder": 8},
    "mctn": {"width": 24},
    "tetfn": {"width": 8, "heads": 2, "layers": 1, "memory_layers": 1, "hidden": 8},
    "almt": {"width": 16, "heads": 2, "tokens": 2, "fusion_layers": 1},
    "lnln": {"width": 16, "heads": 2, "tokens": 2, "fusion_layers": 1},
    "mmim": {"width": 24, "audio_hidden": 8, "vision_hidden": 8, "memory": 8},
}
"""Options of each model that is big for a test; others are tested as they are."""

CACHED = [name for name in MODELS if not within_text(name)]
every_model = pytest.mark.parametrize("name", CACHED)


def shapes(modalities: tuple[Modality, ...], weighted: bool = False) -> dict[Modality, InputShape]:
    return {m: InputShape(WIDTHS[m], 3 if weighted else None) for m in modalities}


def make(
    name: str,
    modalities: tuple[Modality, ...] = MODALITIES,
    weighted: bool = False,
    seed: int = 0,
) -> FusionModel:
    generator = torch.Generator().manual_seed(seed)
    options = model_options(name, SMALL.get(name, {}))
    return build(name, options, shapes(modalities, weighted), generator)


def batch_of(
    lengths: list[int],
    modalities: tuple[Modality, ...] = MODALITIES,
    weighted: bool = False,
    frames: int = 0,
    padding: float = 0.0,
    seed: int = 0,
) -> Batch:
    """Clips of these lengths; clip k has the same real frames whatever the padding."""
    longest = max(1, frames, *lengths)
    features, masks = {}, {}
    for m in modalities:
        rows = []
        for k, length in enumerate(lengths):
            source = torch.Generator().manual_seed(1000 * seed + 10 * k + MODALITIES.index(m))
            values = torch.randn(3, 64, WIDTHS[m], generator=source)[:, :longest]
            values[:, length:] = padding
            rows.append(values if weighted else values[0])
        features[m] = torch.stack(rows)
        masks[m] = torch.arange(longest) < torch.tensor(lengths).unsqueeze(1)
    labels = torch.linspace(-2, 2, len(lengths))
    return Batch(features, masks, labels, torch.arange(len(lengths)))


def clip(batch: Batch, k: int) -> Batch:
    return Batch(
        {m: x[k : k + 1] for m, x in batch.features.items()},
        {m: x[k : k + 1] for m, x in batch.masks.items()},
        batch.labels[k : k + 1],
        batch.index[k : k + 1],
    )


def test_every_registered_model_has_its_table_in_the_config() -> None:
    """R12: names come from one table; a name in it alone makes ``[train.<name>]`` a key."""
    config = TrainConfig.model_validate({"models": list(MODELS), **{m: {"a": 1} for m in MODELS}})
    assert config.models == tuple(MODELS)
    assert all(getattr(config, name) == {"a": 1} for name in MODELS)


def test_inputs_that_do_not_go_together_are_a_fault_with_a_way_out() -> None:
    options = model_options("mmml", {})
    with pytest.raises(RunError, match=r"12 and 10 wide.*train\.mmml\.width"):
        build("mmml", options, shapes(("text", "audio")), torch.Generator())


@every_model
@pytest.mark.parametrize("modalities", SUBSETS)
@pytest.mark.parametrize("weighted", [False, True])
def test_shapes_for_any_subset(name: str, modalities: tuple[Modality, ...], weighted: bool) -> None:
    model = make(name, modalities, weighted)
    output = model(batch_of([5, 1, 7], modalities, weighted))
    assert output.prediction.shape == (3,)
    assert all(len(extra) == 3 for extra in output.extras.values())
    assert all(term.shape == () for term in output.losses.values())
    assert {"fused"} <= set(output.representations) <= {"fused", *modalities}
    for vectors in output.representations.values():
        assert vectors.dim() == 2
        assert len(vectors) == 3
        assert not vectors.requires_grad
    own = model.outputs()
    used = getattr(model, "modalities", modalities)  # MMML takes two of three
    for m in used if weighted else ():
        assert own[f"layers_{m}"].shape == (3,)
        assert own[f"layers_{m}"].sum() == pytest.approx(1)


@every_model
@pytest.mark.parametrize("weighted", [False, True])
def test_padding_and_neighbours_change_nothing(name: str, weighted: bool) -> None:
    model = make(name, weighted=weighted)
    model.eval()
    lengths = [5, 1, 0, 9]
    output = model(batch_of(lengths, weighted=weighted))
    loud = model(batch_of(lengths, weighted=weighted, frames=20, padding=1e4))
    together = output.prediction
    torch.testing.assert_close(together, loud.prediction, rtol=0, atol=1e-6)
    for part, vectors in output.representations.items():
        torch.testing.assert_close(vectors, loud.representations[part], rtol=0, atol=1e-6)
    for k in range(len(lengths)):  # a batch of one, too
        alone = model(clip(batch_of(lengths, weighted=weighted), k)).prediction
        torch.testing.assert_close(together[k : k + 1], alone, rtol=0, atol=1e-6)


def accustom(model: FusionModel, batch: Batch) -> None:
    """Three epochs of one batch for a model that remembers clips, without a step."""
    if not isinstance(model, Remembers):
        return
    with torch.no_grad():
        model.begin(Training(batch.size, batch.index, batch.labels, seed=0))
        for epoch in (1, 2, 3):
            model.after_step(batch, model(batch), epoch)


SHIFT = ("emt_dlfr", "fusion.pools.0.score.bias")
"""Added to all scores of a softmax (Eq. 9): it cancels, and its gradient is zero but for rounding,
which of two modalities leaves nothing. The published number of weights includes it."""


@every_model
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("modalities", SUBSETS)
def test_every_weight_gets_a_gradient(
    name: str, modalities: tuple[Modality, ...], weighted: bool
) -> None:
    model, batch = make(name, modalities, weighted), batch_of([5, 3, 7, 2, 4], modalities, weighted)
    model.train()
    accustom(model, batch)
    output = model(batch)
    loss = (output.prediction - 1).square().mean() + sum(output.losses.values(), torch.zeros(()))
    torch.autograd.backward(loss)
    assert isinstance(model, torch.nn.Module)
    for where, weight in model.named_parameters():
        assert weight.grad is not None, where
        assert weight.grad.isfinite().all(), where
        if (name, where) != SHIFT:
            assert weight.grad.abs().sum() > 0, where


@every_model
def test_learns_sixteen_clips_by_heart(name: str) -> None:
    model = make(name)
    lengths = [1 + k % 6 for k in range(16)]
    batch = replace(batch_of(lengths), labels=torch.randn(16, generator=torch.Generator()))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    model.eval()  # without dropout, so that nothing stands in the way
    for _ in range(300):
        optimizer.zero_grad()
        torch.autograd.backward((model(batch).prediction - batch.labels).abs().mean())
        optimizer.step()
    assert (model(batch).prediction - batch.labels).abs().mean() < 0.1


@every_model
def test_scoring_is_deterministic_and_training_is_not(name: str) -> None:
    model, batch = make(name), batch_of([5, 2])
    model.eval()
    assert torch.equal(model(batch).prediction, model(batch).prediction)
    model.train()
    with torch.random.fork_rng():
        assert not torch.equal(model(batch).prediction, model(batch).prediction)


@every_model
def test_first_weights_come_from_the_generator_alone(name: str) -> None:
    before = torch.random.get_rng_state()
    one, same, other = make(name, seed=1), make(name, seed=1), make(name, seed=2)
    assert torch.equal(before, torch.random.get_rng_state())
    first, second, third = one.state_dict(), same.state_dict(), other.state_dict()
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert not all(torch.equal(first[k], third[k]) for k in first)


@every_model
def test_state_goes_through_safetensors(name: str) -> None:
    model, other, batch = make(name, seed=1), make(name, seed=2), batch_of([5, 2])
    other.load_state_dict(load(save(dict(model.state_dict()))))
    model.eval()
    other.eval()
    assert torch.equal(model(batch).prediction, other(batch).prediction)


def test_all_faults_of_a_table_at_once() -> None:
    table = {"dropuot": 0.1, "hidden": 0, "heads": "four", "colour": 1}
    with pytest.raises(ConfigError) as found:
        model_options("uegd", table)
    faults = str(found.value).splitlines()
    assert len(faults) == 4
    assert faults[0] == 'train.uegd.dropuot: unknown option. Did you mean "dropout"?'
    assert faults[1].startswith("train.uegd.hidden: ")
    assert faults[2].startswith("train.uegd.heads: ")
    assert "Known: hidden, embedding, heads, dropout, classes." in faults[3]
    assert option_faults({"train": {"uegd": table}}) == faults


@pytest.mark.parametrize("raw", [{}, {"train": 3}, {"train": {"uegd": 3}}, {"train": {"uegd": {}}}])
def test_what_is_no_table_is_left_to_the_types(raw: dict[str, object]) -> None:
    assert option_faults(raw) == []


def test_options_hold_what_the_table_says() -> None:
    assert model_options("uegd", {"dropout": 0}).dropout == 0.0
    assert model_options("uegd", {}).hidden == 256


def test_a_model_table_may_hold_recipe_keys_and_a_preset() -> None:
    table = {"hidden": 64, "learning_rate": 5e-4, "patience": 0, "preset": "mosi"}
    assert model_options("uegd", table) == UEGD_PRESETS["mosi"].__class__(64, 64)
    recipe = model_recipe("uegd", table)
    assert (recipe.learning_rate, recipe.patience, recipe.epochs) == (5e-4, None, 50)
    wrong = {"learning_rate": 0, "epocs": 3, "preset": "mosi"}
    with pytest.raises(ConfigError) as found:
        model_recipe("uegd", wrong)
    assert len(str(found.value).splitlines()) == 2
    assert 'Did you mean "epochs"' in str(found.value)
    with pytest.raises(ConfigError, match=r'train\.uegd\.preset.*Did you mean "mosi"'):
        model_options("uegd", {"preset": "mos"})
    faults = option_faults({"train": {"models": ["uegd"], "preset": "mosii"}})
    assert faults == ['train.preset: none of the models has "mosii". Did you mean "mosi"?']


def test_settings_come_from_table_then_section_then_recipe() -> None:
    section = TrainConfig(learning_rate=1e-3, clip_norm=0, uegd={"epochs": 7}, epochs=9)  # type: ignore[call-arg]
    settings = settings_of(section, "uegd")
    assert (settings.epochs, settings.learning_rate, settings.batch_size) == (7, 1e-3, 32)
    assert settings.clip_norm is None
    assert settings.mask_time == 0.2
    paper = settings_of(TrainConfig(preset="mosi"), "uegd", clips=1284)
    assert (paper.epochs, paper.batch_size, paper.learning_rate) == (50, 16, 1e-4)
    few, many = (settings_of(TrainConfig(), "uegd", clips=clips).epochs for clips in (160, 9989))
    assert few > many  # about as many steps, whatever the corpus's size


@every_model
def test_classes_get_logits(name: str) -> None:
    options = model_options(name, SMALL.get(name, {}))
    generator = torch.Generator().manual_seed(0)
    model = build(name, options, shapes(MODALITIES), generator, classes=3)
    batch = replace(batch_of([5, 1, 7, 2]), labels=torch.tensor([0, 1, 2, 0]))
    assert model(batch).prediction.shape == (4, 3)
