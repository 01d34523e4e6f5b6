"""TFR-Net, part by part against slow literal versions, and what it knows of missing frames."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sedimental.cache.spec import MODALITIES, Modality
from sedimental.config import load_config
from sedimental.evaluate.metrics import score
from sedimental.train.layers.transformer import (
    CrossmodalEncoder,
    CrossmodalLayer,
    TransformerLayer,
)
from sedimental.train.models import encoder_recipe, model_options, model_recipe
from sedimental.train.models.shared.interface import Batch, InputShape
from sedimental.train.models.shared.missing_frames import hidden_frames, incomplete
from sedimental.train.models.tfr_net import Options, TFRNet
from sedimental.train.models.tfr_parts import (
    ConvolutionalGate,
    Reconstruction,
)
from sedimental.train.run import train

WIDTHS: Mapping[Modality, int] = {"text": 7, "audio": 5, "vision": 4}
STILL: dict[str, Any] = dict.fromkeys(("attention_dropout", "embedding_dropout", "dropout"), 0.0)
SMALL: dict[str, Any] = STILL | {"width": 6, "heads": 2, "levels": 2}


def made(
    modalities: tuple[Modality, ...] = MODALITIES, layers: int | None = None, **changes: Any
) -> TFRNet:
    shapes = {m: InputShape(WIDTHS[m], layers) for m in modalities}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return TFRNet(Options(**SMALL | changes), shapes).double()


def batch_of(modalities: tuple[Modality, ...] = MODALITIES, spare: int = 0) -> Batch:
    """Five clips: one with gaps, one without audio, one without anything."""
    generator = torch.Generator().manual_seed(2)
    lengths: dict[Modality, list[int]] = {
        "text": [6, 4, 9, 3, 0],
        "audio": [8, 0, 5, 1, 0],
        "vision": [7, 3, 4, 2, 0],
    }
    features, masks = {}, {}
    for m in modalities:
        mask = torch.arange(9) < torch.tensor(lengths[m]).unsqueeze(1)
        if m == "vision":
            mask[0, 2] = mask[0, 5] = False  # no face was found
        x = torch.randn(5, 9, WIDTHS[m], generator=generator, dtype=torch.float64)
        features[m] = torch.cat([x.where(mask.unsqueeze(2), 0), x[:, :spare] + 1e3], dim=1)
        masks[m] = functional.pad(mask, (0, spare))
    labels = torch.tensor([1.0, -2, 0.5, 3, 0]).double()
    return Batch(features, masks, labels, torch.tensor([4, 0, 7, 2, 9]))


def attended(
    x: Tensor, y: Tensor, weights: tuple[Tensor, Tensor, Tensor, Tensor], heads: int
) -> Tensor:
    """(t, d), (s, d) -> (t, d): each head's softmax(q kᵀ / sqrt(d / heads)) v, side by side."""
    query, query_bias, key_value, key_value_bias = weights
    d = x.shape[1]
    q = x @ query.T + query_bias
    k, v = (y @ key_value.T + key_value_bias).split(d, dim=1)
    size, heads_found = d // heads, []
    for h in range(heads):
        cut = slice(h * size, (h + 1) * size)
        shares = torch.softmax(q[:, cut] @ k[:, cut].T / math.sqrt(size), dim=1)
        heads_found.append(shares @ v[:, cut])
    return torch.cat(heads_found, dim=1)


def literal_layer(layer: CrossmodalLayer, x: Tensor, y: Tensor) -> Tensor:
    first, second = layer.norms
    d, packed = x.shape[1], layer.projections
    weights = (packed.weight[:d], packed.bias[:d], packed.weight[d:], packed.bias[d:])
    known = layer.source_norm(y)  # type: ignore[misc]
    found = attended(first(x), known, weights, layer.heads) if len(y) else torch.zeros_like(x)
    x = x + found @ layer.attended.weight.T + layer.attended.bias
    up, down = layer.feedforward[0], layer.feedforward[3]
    assert isinstance(up, nn.Linear)
    assert isinstance(down, nn.Linear)
    inner = (second(x) @ up.weight.T + up.bias).relu()
    wide: torch.Tensor = x + inner @ down.weight.T + down.bias
    return wide


def literal_stream(stream: CrossmodalEncoder, x: Tensor, y: Tensor, within: bool) -> Tensor:
    for layer in stream.layers:
        assert isinstance(layer, CrossmodalLayer)
        x = literal_layer(layer, x, x if within else y)
    normed: Tensor = stream.norm(x)
    return normed


def literal_convolution(weight: Tensor, x: Tensor) -> Tensor:
    """Kernel 3 over one clip's frames (t, width), zeros beyond its ends."""
    taps = weight.view(3, -1, x.shape[1]).permute(1, 2, 0)
    return functional.conv1d(x.T[None], taps, padding=1)[0].T


def literal_position(t: int, d: int) -> Tensor:
    rates = [10_000 ** -(i / max(1, d // 2 - 1)) for i in range(d // 2)]
    angles = torch.tensor([(t + 1) * rate for rate in rates], dtype=torch.float64)
    return torch.cat([angles.sin(), angles.cos()])


def literal_gate(gate: ConvolutionalGate, x: Tensor) -> Tensor:
    """One clip's frames (t, c * d) -> (d,)."""
    if not len(x):
        return x.new_zeros(gate.join.out_features)
    context = torch.tanh(nn.GRU.forward(gate.recurrence, x.unsqueeze(1))[0].squeeze(1))
    let = torch.sigmoid(literal_convolution(gate.gate.weight, context))
    joined = torch.tanh(gate.join(torch.cat([context * let, x], dim=1)))
    return joined.max(dim=0).values


def literal_reconstruction(part: Reconstruction, x: Tensor) -> Tensor:
    """One clip's frames (t, c * d) -> (t, width of the input)."""
    for layer in part.layers:
        assert isinstance(layer, TransformerLayer)
        first, second = layer.norms
        d, packed = x.shape[1], layer.projections
        weights = (packed.weight[:d], packed.bias[:d], packed.weight[d:], packed.bias[d:])
        normed = first(x)
        x = x + layer.attended(attended(normed, normed, weights, layer.heads))
        x = x + layer.feedforward(second(x))
    restored: Tensor = part.map(x)
    return restored


def literal(
    model: TFRNet, clip: Mapping[Modality, Tensor]
) -> tuple[Tensor, dict[Modality, Tensor]]:
    """One clip's real frames by modality -> its score, and H' of each modality."""
    d = model.options.width
    local = {}
    for m, x in clip.items():
        conv: Any = model.convolutions[m]
        h = literal_convolution(conv.weight, x) if len(x) else x.new_zeros(0, d)
        rows = [math.sqrt(d) * row + literal_position(t, d) for t, row in enumerate(h)]
        local[m] = torch.stack(rows) if rows else h
    found, own = {}, []
    for target in clip:
        parts = []
        for source in clip:
            stream = model.streams[f"{source}_to_{target}"]
            assert isinstance(stream, CrossmodalEncoder)
            parts.append(
                literal_stream(stream, local[target], local[source], within=source == target)
            )
        found[target] = torch.cat(parts, dim=1)
        gate = model.gates[target]
        assert isinstance(gate, ConvolutionalGate)
        own.append(literal_gate(gate, found[target]))
    return model.head(torch.cat(own)), found


def seen(batch: Batch, rate: float) -> Batch:
    return incomplete(batch, rate) if rate else batch


def clips_of(batch: Batch) -> list[dict[Modality, Tensor]]:
    return [
        {m: x[k][batch.masks[m][k]] for m, x in batch.features.items()} for k in range(batch.size)
    ]


@pytest.mark.parametrize("rate", [0.0, 0.4])
@pytest.mark.parametrize("modalities", [MODALITIES, ("text", "vision"), ("audio",)])
def test_scores_are_those_of_the_literal_network(
    modalities: tuple[Modality, ...], rate: float
) -> None:
    model, batch = made(modalities, missing_rate=rate).eval(), batch_of(modalities)
    expected = torch.stack([literal(model, clip)[0][0] for clip in clips_of(seen(batch, rate))])
    torch.testing.assert_close(model(batch).prediction, expected)
    torch.testing.assert_close(model(batch_of(modalities, spare=4)).prediction, expected)
    assert expected.std() > 1e-3


@pytest.mark.parametrize("spare", [0, 4])
def test_reconstruction_counts_missing_real_frames_alone(spare: int) -> None:
    rate, weights = 0.4, {"text": 2.0, "audio": 0.5, "vision": 3.0}
    changes = {f"reconstruct_{m}": w for m, w in weights.items()}
    model, batch = made(missing_rate=rate, **changes).train(), batch_of(spare=spare)  # type: ignore[arg-type]
    output = model(batch)
    whole, shown = clips_of(batch), clips_of(seen(batch, rate))
    for m in MODALITIES:
        gone = hidden_frames(batch.masks[m], batch.index, m, rate)
        assert gone.any()
        part = model.reconstructions[m]
        assert isinstance(part, Reconstruction)
        errors = []
        for k in range(batch.size):
            _, found = literal(model, shown[k])
            restored = literal_reconstruction(part, found[m])
            places = batch.masks[m][k].nonzero().flatten().tolist()
            for t, (guess, truth) in enumerate(zip(restored, whole[k][m], strict=True)):
                if gone[k, places[t]]:
                    for difference in (guess - truth).abs().tolist():
                        errors.append(0.5 * difference**2 if difference < 1 else difference - 0.5)
        expected = weights[m] * np.mean(errors)
        assert output.losses[f"reconstruction_{m}"].item() == pytest.approx(expected)


def test_what_is_missing_is_not_seen_but_is_what_is_asked_for() -> None:
    model, batch = made(missing_rate=0.5).train(), batch_of()
    gone = {m: hidden_frames(batch.masks[m], batch.index, m, 0.5) for m in MODALITIES}

    def changed(where: Callable[[Modality], Tensor]) -> Batch:
        features = {m: x + 5.0 * where(m).unsqueeze(2) for m, x in batch.features.items()}
        return replace(batch, features=features)

    before, missing, padding = (
        model(b) for b in (batch, changed(lambda m: gone[m]), changed(lambda m: ~batch.masks[m]))
    )
    assert torch.equal(before.prediction, missing.prediction)
    assert torch.equal(before.prediction, padding.prediction)
    assert set(before.losses) == {f"reconstruction_{m}" for m in MODALITIES}
    for name, loss in before.losses.items():
        assert missing.losses[name] > loss
        assert torch.equal(padding.losses[name], loss)


def test_complete_clips_have_nothing_to_reconstruct() -> None:
    model = made().train()
    assert not model.reconstructions
    assert model(batch_of()).losses == {}
    assert not made(missing_rate=0.3, reconstruct_audio=0.0).train().reconstructions.keys() & {
        "audio"
    }
    assert made(missing_rate=0.3).eval()(batch_of()).losses == {}  # not where it is scored


def test_a_batch_from_which_nothing_is_missing_has_no_error() -> None:
    model = made(("audio",), missing_rate=1e-9).train()
    output = model(batch_of(("audio",)))
    assert output.losses["reconstruction_audio"].item() == 0
    nobody = replace(batch_of(("audio",)), masks={"audio": torch.zeros(5, 9, dtype=torch.bool)})
    assert torch.isfinite(model(nobody).prediction).all()
    assert model(nobody).prediction.std() == 0


def test_scores_of_an_incomplete_model_are_those_of_incomplete_clips() -> None:
    model, batch = made(missing_rate=0.6).eval(), batch_of()
    own = model(batch).prediction
    model.missing_rate = 0.0
    torch.testing.assert_close(own, model(seen(batch, 0.6)).prediction)
    assert not torch.allclose(own, model(batch).prediction)


@pytest.mark.parametrize("layers", [None, 3])
def test_every_weight_of_the_incomplete_setting_gets_a_gradient(layers: int | None) -> None:
    model, batch = made(layers=layers, missing_rate=0.4).train(), batch_of()
    if layers:
        random = torch.Generator().manual_seed(5)
        features = {
            m: torch.randn(5, layers, *x.shape[1:], generator=random).double()
            for m, x in batch.features.items()
        }
        batch = replace(batch, features=features)
    output = model(batch)
    loss = output.prediction.square().mean() + sum(output.losses.values(), torch.zeros(()))
    torch.autograd.backward(loss)
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name


def test_outputs_say_how_frames_went_missing() -> None:
    assert made().outputs() == {}
    told = made(missing_rate=0.3).outputs()
    assert set(told) == {"missing_rate", "text_states_zeroed"}
    assert told["missing_rate"].item() == pytest.approx(0.3)
    assert set(made(("audio",), missing_rate=0.3).outputs()) == {"missing_rate"}


def test_settings_are_those_that_were_published() -> None:
    sims, mosei = model_options("tfr_net", {}, "sims"), model_recipe("tfr_net", {}, "mosei")
    assert (sims.width, sims.heads, sims.levels) == (30, 6, 2)
    assert (mosei.learning_rate, mosei.batch_size, mosei.patience, mosei.clip_norm) == (
        2e-3, 24, 6, 0.8,
    )  # fmt: skip
    assert encoder_recipe("tfr_net", {}, "mosi").learning_rate == 2e-6
    assert encoder_recipe("tfr_net", {}, "mosei").learning_rate == 1e-5


def test_width_is_a_multiple_of_heads() -> None:
    with pytest.raises(ValueError, match="width 7 is no multiple of heads 2"):
        made(width=7)


TRAIN = """
[train]
models = ["tfr_net"]
seeds = [1]
epochs = 12
patience = 0
batch_size = 8
missing_rate = {rate}
[train.tfr_net]
width = 12
heads = 2
levels = 1
learning_rate = 3e-3
"""


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_learns_more_than_the_mean(make_features: Callable[..., Path], rate: float) -> None:
    config = load_config(make_features(TRAIN.format(rate=rate), clips=80))
    (run,) = train(config)
    truth, found = run.predictions.of("test")
    known = score(found, truth, "mosi")
    mean = score(np.full_like(truth, run.predictions.of("train")[0].mean()), truth, "mosi")
    assert known["Corr"] > 0.5
    assert known["MAE"] < 0.9 * mean["MAE"]
    assert run.history[-1].train_loss < run.history[0].train_loss
    assert ("missing_rate" in run.outputs) == (rate > 0)  # the model hides frames by itself
