"""MulT against its paper: sizes, and one clip at a time, unpadded, by PyTorch's own layers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sedimental.cache.spec import MODALITIES, Modality
from sedimental.config import ConfigError
from sedimental.train.layers.convolution import TemporalConvolution
from sedimental.train.layers.packed import Packed
from sedimental.train.layers.transformer import (
    AttentiveLayer,
    CrossmodalEncoder,
    CrossmodalLayer,
    SequenceEncoder,
)
from sedimental.train.models import model_options, model_recipe
from sedimental.train.models.mult import MulT, Options
from sedimental.train.models.shared.interface import Batch, InputShape

Clip = Mapping[Modality, Tensor]
"""(frames, width) of each modality, real frames alone."""
TINY = Options(width=6, heads=2, layers=2, memory_layers=2)
WIDTHS: Mapping[Modality, int] = {"text": 5, "audio": 4, "vision": 3}
LENGTHS: Mapping[Modality, Sequence[int]] = {
    "text": (3, 1, 0, 7, 2, 0),
    "audio": (6, 2, 4, 1, 0, 0),
    "vision": (1, 5, 2, 3, 0, 0),
}
"""Of six clips: one lacks text, one all but text, one everything."""


def made(modalities: Sequence[Modality], options: Options = TINY) -> MulT:
    """In float64, not training, with no weight plain."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MulT(options, {m: InputShape(WIDTHS[m]) for m in modalities}).double().eval()
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.1 * torch.randn_like(weight))
    return model


def clips() -> list[Clip]:
    generator = torch.Generator().manual_seed(0)
    return [
        {
            m: torch.randn(LENGTHS[m][k], WIDTHS[m], generator=generator, dtype=torch.float64)
            for m in MODALITIES
        }
        for k in range(6)
    ]


def batch_of(found: Sequence[Clip], modalities: Sequence[Modality]) -> Batch:
    features, masks = {}, {}
    for m in modalities:
        x = torch.full((len(found), 8, WIDTHS[m]), 1e3, dtype=torch.float64)
        for k, clip in enumerate(found):
            x[k, : len(clip[m])] = clip[m]
        lengths = torch.tensor([len(clip[m]) for clip in found])
        features[m], masks[m] = x, torch.arange(8) < lengths.unsqueeze(1)
    return Batch(features, masks, torch.zeros(len(found)), torch.arange(len(found)))


# --- one clip, literally ------------------------------------------------------------------------


def attended(layer: AttentiveLayer, target: Tensor, source: Tensor) -> Tensor:
    """Scaled dot-product attention by heads, (T, d) reading (S, d); without S, only the bias."""
    out = layer.attended
    if not len(source):
        return out.bias.expand(len(target), -1)
    query, key, value = layer.projections.weight.chunk(3)
    b_query, b_key, b_value = layer.projections.bias.chunk(3)
    q = functional.linear(target, query, b_query)
    k, v = functional.linear(source, key, b_key), functional.linear(source, value, b_value)
    heads = []
    for one in range(layer.heads):
        width = q.shape[1] // layer.heads
        own = slice(one * width, (one + 1) * width)
        scores = q[:, own] @ k[:, own].t() / math.sqrt(width)
        heads.append(torch.softmax(scores, dim=1) @ v[:, own])
    return functional.linear(torch.cat(heads, dim=1), out.weight, out.bias)


def fed(layer: AttentiveLayer, x: Tensor) -> Tensor:
    rise, fall = layer.feedforward[0], layer.feedforward[3]
    inner = functional.relu(functional.linear(normed(layer.norms[1], x), rise.weight, rise.bias))  # type: ignore[arg-type]
    return x + functional.linear(inner, fall.weight, fall.bias)  # type: ignore[arg-type]


def normed(norm: nn.Module, x: Tensor) -> Tensor:
    assert isinstance(norm, nn.LayerNorm)
    return functional.layer_norm(x, x.shape[-1:], norm.weight, norm.bias)


def placed(x: Tensor) -> Tensor:
    """Times sqrt(d), plus the positions 1, 2, …: sines, then cosines."""
    frames, d = x.shape
    found = torch.zeros_like(x)
    for t in range(frames):
        for i in range(d // 2):
            angle = (t + 1) / 10_000 ** (i / max(1, d // 2 - 1))
            found[t, i], found[t, d // 2 + i] = math.sin(angle), math.cos(angle)
    return math.sqrt(d) * x + found


def literal(model: MulT, clip: Clip) -> tuple[Tensor, dict[Modality, Tensor]]:
    """(), and s_m of each modality."""
    convolved, last = {}, {}
    for m in model.modalities:
        convolution = model.convolutions[m]
        assert isinstance(convolution, TemporalConvolution)
        kernel = torch.stack(convolution.weight.chunk(3), dim=2)
        x = clip[m].t().unsqueeze(0)
        convolved[m] = (
            functional.conv1d(x, kernel, padding=1)[0].t()
            if len(clip[m])
            else x.new_zeros(0, len(kernel))
        )
    for m in model.modalities:
        side_by_side = []
        for n in model.modalities:
            if n == m:
                continue
            encoder = model.readers[f"{m}_reads_{n}"]
            assert isinstance(encoder, CrossmodalEncoder)
            x, source = placed(convolved[m]), placed(convolved[n])
            for layer in encoder.layers:
                assert isinstance(layer, CrossmodalLayer)
                keys = normed(layer.source_norm, source)  # type: ignore[arg-type]
                x = fed(layer, x + attended(layer, normed(layer.norms[0], x), keys))
            side_by_side.append(normed(encoder.norm, x))
        x = torch.cat(side_by_side, dim=1) if side_by_side else convolved[m]
        memory = model.memories[m]
        assert isinstance(memory, SequenceEncoder)
        x = placed(x)
        for layer in memory.layers:
            assert isinstance(layer, AttentiveLayer)
            own = normed(layer.norms[0], x)
            x = fed(layer, x + attended(layer, own, own))
        x = normed(memory.norm, x)
        last[m] = x[-1] if len(x) else x.new_zeros(x.shape[1])
    s = torch.cat(list(last.values()))
    first, second = model.residual[0], model.residual[3]
    s = s + second(functional.relu(first(s)))
    return model.head(s).squeeze(0), last


@pytest.mark.parametrize(
    "modalities", [MODALITIES, ("text", "audio"), ("audio", "vision"), ("vision",)], ids="".join
)
def test_a_batch_is_its_clips_one_by_one(modalities: tuple[Modality, ...]) -> None:
    model = made(modalities)
    output = model(batch_of(clips(), modalities))
    assert output.prediction.std() > 0.1
    for k, clip in enumerate(clips()):
        wanted, last = literal(model, clip)
        torch.testing.assert_close(output.prediction[k], wanted)
        for m, vector in last.items():
            torch.testing.assert_close(output.representations[m][k], vector)
            assert bool(vector.any()) == bool(len(clip[m]))


def test_crossmodal_attention_is_pytorchs() -> None:
    layer = CrossmodalLayer(8, 2, 12, 0.0, 0.0).eval()
    theirs = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    theirs.load_state_dict(
        {
            "in_proj_weight": layer.projections.weight,
            "in_proj_bias": layer.projections.bias,
            "out_proj.weight": layer.attended.weight,
            "out_proj.bias": layer.attended.bias,
        }
    )
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(4, 5, 8, generator=generator), torch.randn(4, 9, 8, generator=generator)
    mask = torch.arange(5) < torch.tensor([[5], [1], [3], [4]])
    other = torch.arange(9) < torch.tensor([[2], [9], [1], [6]])
    here, there = Packed.of(x, mask), Packed.of(y, other)
    found = layer(here, there).padded()
    keys = layer.source_norm(y)  # type: ignore[misc]
    read, _ = theirs(layer.norms[0](x), keys, keys, key_padding_mask=~other, need_weights=False)
    wanted = x + read
    wanted = wanted + layer.feedforward(layer.norms[1](wanted))
    torch.testing.assert_close(found[mask], wanted[mask])


def test_no_frame_is_read_by_another_clip() -> None:
    """Gradients of one clip's score reach that clip alone, and all of its real frames."""
    batch = batch_of(clips(), MODALITIES)
    features = {m: x.requires_grad_() for m, x in batch.features.items()}
    torch.autograd.backward(made(MODALITIES)(replace(batch, features=features)).prediction[0])
    for m, x in features.items():
        assert x.grad is not None
        reached = x.grad.abs().sum(dim=2) > 0
        wanted = batch.masks[m] & (torch.arange(6) == 0).unsqueeze(1)
        assert torch.equal(reached, wanted)


# --- sizes and settings -------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_modality_reads_every_other_one(count: int) -> None:
    model = made(MODALITIES[:count])
    assert len(model.readers) == count * (count - 1)
    assert len(model.memories) == count
    own = TINY.width * max(1, count - 1)
    output = model(batch_of(clips(), MODALITIES[:count]))
    assert output.representations["text"].shape == (6, own)
    assert output.representations["fused"].shape == (6, count * own)


def test_settings_are_the_papers() -> None:
    mosi, mosei = (model_options("mult", {}, corpus) for corpus in ("mosi", "mosei"))
    assert (mosi.width, mosi.heads, mosi.layers) == (40, 10, 4)
    assert (mosei.width, mosei.heads, mosei.layers) == (40, 8, 4)
    assert (mosi.text_dropout, mosi.dropout, mosi.output_dropout) == (0.2, 0.2, 0.1)
    assert (mosei.text_dropout, mosei.dropout, mosei.output_dropout) == (0.3, 0.1, 0.1)
    recipes = [model_recipe("mult", {}, corpus) for corpus in ("mosi", "mosei")]
    assert [(r.batch_size, r.learning_rate, r.clip_norm, r.epochs) for r in recipes] == [
        (128, 1e-3, 0.8, 100),
        (16, 1e-3, 1.0, 20),
    ]
    assert model_options("mult", {}, "sims").layers == 2


def test_width_and_heads_must_go_together() -> None:
    with pytest.raises(ConfigError, match=r"train\.mult: width 40 is not a multiple of heads = 7"):
        model_options("mult", {"heads": 7})
