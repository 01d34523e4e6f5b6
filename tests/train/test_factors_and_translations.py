"""MFM and MCTN against slow literal versions: what is restored and translated, step by step."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sedimental.cache.spec import MODALITIES, Modality
from sedimental.train.layers.packed import Packed
from sedimental.train.layers.whole_batch import alone
from sedimental.train.models import mctn, mfm
from sedimental.train.models.shared.interface import Batch, InputShape

WIDTHS: Mapping[Modality, int] = {"text": 5, "audio": 4, "vision": 3}
LENGTHS = [4, 1, 3]
"""Of three clips whose modalities are aligned; the last has no vision."""
SIZES = {"text_hidden": 4, "audio_hidden": 3, "vision_hidden": 2, "memory": 5, "inner": 6}
SHAPES = {m: InputShape(WIDTHS[m]) for m in MODALITIES}


def clip(k: int) -> dict[Modality, Tensor]:
    random = torch.Generator().manual_seed(k)
    return {m: torch.randn(LENGTHS[k], WIDTHS[m], generator=random).double() for m in MODALITIES}


def there(m: Modality, k: int) -> bool:
    return (m, k) != ("vision", 2)


def batch_of() -> Batch:
    features, masks = {}, {}
    for m in MODALITIES:
        features[m] = torch.full((3, 6, WIDTHS[m]), 1e3, dtype=torch.float64)
        lengths = torch.tensor([n if there(m, k) else 0 for k, n in enumerate(LENGTHS)])
        masks[m] = torch.arange(6) < lengths.unsqueeze(1)
        for k in range(3):
            features[m][k, : LENGTHS[k]] = clip(k)[m]
    return Batch(features, masks, torch.zeros(3), torch.arange(3))


def made(kind: type[nn.Module], options: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return kind(options, SHAPES).double()


def states(lstm: Any, frames: Tensor) -> Tensor:
    """The LSTM of the textbooks, one frame after the other."""
    h = c = frames.new_zeros(lstm.hidden_size)
    found = []
    for frame in frames:
        gates = lstm.weight_ih_l0 @ frame + lstm.bias_ih_l0
        i, f, g, o = (gates + lstm.weight_hh_l0 @ h + lstm.bias_hh_l0).chunk(4)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        found.append(h)
    return torch.stack(found)


def squared(guess: Tensor, truth: Tensor) -> float:
    """Mean over steps and entries."""
    both = zip(guess.flatten().tolist(), truth.flatten().tolist(), strict=True)
    return float(np.mean([(a - b) ** 2 for a, b in both]))


# --- MFM ----------------------------------------------------------------------------------------


@torch.no_grad()
def test_factors_tell_the_label_and_restore_each_modality() -> None:
    options = mfm.Options(**SIZES, latent=4, factor=5, decoder=3, dropout=0.0)
    model = made(mfm.MFM, options)
    output, batch = model(batch_of()), batch_of()
    own, u = model.fusion(model.on_common_steps(batch))
    z_y = model.latent(torch.cat([*own.values(), u], dim=1))
    latents, errors = [[*z.tolist()] for z in z_y], dict.fromkeys(MODALITIES, 0.0)
    for k in range(3):
        f_y = model.common(z_y[k])
        inner = (model.post[0].weight @ f_y + model.post[0].bias).clamp(min=0)
        wanted = (model.head.weight @ inner + model.head.bias)[0]
        torch.testing.assert_close(output.prediction[k], wanted)
        for m in MODALITIES:
            x = clip(k)[m] if there(m, k) else torch.zeros(LENGTHS[k], WIDTHS[m]).double()
            z = model.latents[m](states(model.encoders[m], x)[-1])
            latents[k] += z.tolist()
            both = torch.cat([model.private[m](z), f_y]).repeat(LENGTHS[k], 1)
            restored = model.restored[m].out(states(model.restored[m].lstm, both))
            errors[m] += squared(restored, x) * there(m, k) / 3
    for m in MODALITIES:
        assert float(output.losses[f"reconstruction_{m}"]) == pytest.approx(0.1 * errors[m])
    z = torch.tensor(latents)
    assert float(output.losses["prior"]) == pytest.approx(0.1 * kernels(z), rel=1e-4)
    assert not model.eval()(batch).losses


def kernels(z: Tensor) -> float:
    """Kernel by kernel, its means over the prior as integrals, entry by entry on a fine grid."""
    d = z.shape[1]
    grid = torch.linspace(-9, 9, 4001, dtype=torch.float64)
    density = torch.exp(-(grid**2) / 2) / math.sqrt(2 * math.pi) * (grid[1] - grid[0])

    def with_prior(row: Tensor) -> float:
        return math.prod(float((density * torch.exp(-((grid - x) ** 2) / d)).sum()) for x in row)

    pairs = [math.exp(-float((a - b).square().sum()) / d) for a in z for b in z]
    gaps = torch.exp(-(grid**2) / 4) / math.sqrt(4 * math.pi) * (grid[1] - grid[0])
    prior = float((gaps * torch.exp(-(grid**2) / d)).sum()) ** d
    crossed = sum(with_prior(row.double()) for row in z) / len(z)
    return sum(pairs) / len(pairs) - 2 * crossed + prior


def test_latents_like_the_prior_are_at_no_distance_of_it() -> None:
    random = torch.Generator().manual_seed(0)
    like = torch.randn(2000, 6, generator=random)
    assert abs(float(mfm.discrepancy(like, alone))) < 2e-3
    assert float(mfm.discrepancy(like + 2, alone)) > 0.1
    assert float(mfm.discrepancy(0.1 * like, alone)) > 0.05


# --- MCTN ---------------------------------------------------------------------------------------


def decoded(decoder: Any, E: Tensor) -> Tensor:
    s, found = states(decoder.lstm, E), []
    for state in s:
        scores = torch.stack([(decoder.asks.weight @ state) @ e for e in E]) / math.sqrt(E.shape[1])
        weights = scores.exp() / scores.exp().sum()
        context = (weights.unsqueeze(1) * E).sum(dim=0)
        found.append(decoder.out.weight @ torch.cat([state, context]) + decoder.out.bias)
    return torch.stack(found)


@torch.no_grad()
def test_translations_there_and_back_step_by_step() -> None:
    model, batch = made(mctn.MCTN, mctn.Options(width=4, dropout=0.0)), batch_of()
    output = model(batch)
    wanted = {"translation_audio": 0.0, "translation_vision": 0.0, "cycle": 0.0}
    for k in range(3):
        X = clip(k)
        first = states(model.encoders[0], X["text"])
        second = states(model.encoders[1], first)
        score = model.head.weight @ states(model.reader, second)[-1] + model.head.bias
        torch.testing.assert_close(output.prediction[k], score[0])
        audio, vision = decoded(model.decoders[0], first), decoded(model.decoders[1], second)
        back = decoded(model.back_decoder, states(model.back_encoder, audio))
        wanted["translation_audio"] += 0.1 * squared(audio, X["audio"]) / 3
        wanted["translation_vision"] += 0.1 * squared(vision, X["vision"]) * there("vision", k) / 3
        wanted["cycle"] += 0.1 * squared(back, X["text"]) / 3
    assert {k: float(v) for k, v in output.losses.items()} == pytest.approx(wanted)


@torch.no_grad()
def test_it_reads_the_source_alone_once_it_is_trained() -> None:
    model, batch = made(mctn.MCTN, mctn.Options(width=4)).eval(), batch_of()
    other = {m: x if m == "text" else x * 0 for m, x in batch.features.items()}
    none = {m: mask & (m == "text") for m, mask in batch.masks.items()}
    blind = model(replace(batch, features=other, masks=none))
    assert torch.equal(model(batch).prediction, blind.prediction)
    assert isinstance(model.encoders[0](Packed.of(batch.features["text"], none["text"])), Packed)
