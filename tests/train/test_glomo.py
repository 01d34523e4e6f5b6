"""GLoMo against its paper: sizes, and each equation against a slow, literal version in numpy."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save
from torch import nn
from torch.nn import functional

from sedimental.cache.manifest import Clip, Manifest, write_manifest
from sedimental.cache.spec import MODALITIES, FeatureSpec, Modality
from sedimental.cache.store.writer import ClipFeatures, StoreWriter
from sedimental.config import Config, ConfigError
from sedimental.train.layers.attention import attention_buckets
from sedimental.train.layers.convolution import TemporalConvolution
from sedimental.train.layers.experts import Experts
from sedimental.train.layers.packed import Packed, adaptive_max
from sedimental.train.layers.transformer import SequenceEncoder, TransformerLayer
from sedimental.train.models import model_options, model_recipe
from sedimental.train.models.glomo import (
    PRESETS,
    RECIPES,
    GLoMo,
    GuidedFusion,
    Options,
    PlainFusion,
    ScalarAttention,
)
from sedimental.train.models.shared.interface import Batch, InputShape
from sedimental.train.run import train

Array = NDArray[np.float64]
Frames = Mapping[Modality, Array]
"""A clip: (frames, width) of each modality that it has."""
TINY = Options(
    width=8,
    encoder_layers=2,
    heads=2,
    experts=4,
    fusion_feedforward=10,
)
SHAPES: Mapping[Modality, InputShape] = {
    "text": InputShape(10, stacked=2),
    "audio": InputShape(4),
    "vision": InputShape(3),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(
    options: Options = TINY,
    modalities: Sequence[Modality] = MODALITIES,
    shapes: Mapping[Modality, InputShape] = SHAPES,
    loud: bool = True,
) -> GLoMo:
    """In float64 and not training; `loud`: every weight random, gates and biases too."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GLoMo(options, {m: shapes[m] for m in modalities}).double().eval()
    if loud:
        source = generator(1)
        for weight in model.parameters():
            weight.data.normal_(0, 0.4, generator=source)
    return model


def some_clips(
    modalities: Sequence[Modality] = MODALITIES,
    count: int = 6,
    shapes: Mapping[Modality, InputShape] = SHAPES,
) -> list[dict[Modality, Array]]:
    random = np.random.default_rng(5)
    return [
        {m: random.standard_normal((random.integers(1, 8), shapes[m].width)) for m in modalities}
        for _ in range(count)
    ]


def batch_of(
    clips: Sequence[Frames],
    modalities: Sequence[Modality] = MODALITIES,
    shapes: Mapping[Modality, InputShape] = SHAPES,
    more: int = 0,
    padding: float = 1e4,
    dtype: torch.dtype = torch.float64,
) -> Batch:
    """Padded by loud numbers, `more` frames longer than need be."""
    features, masks = {}, {}
    for m in modalities:
        longest = max(1, *(len(c.get(m, ())) for c in clips)) + more
        x = torch.full((len(clips), longest, shapes[m].width), padding, dtype=dtype)
        mask = torch.zeros(len(clips), longest, dtype=torch.bool)
        for k, c in enumerate(clips):
            if m in c:
                x[k, : len(c[m])], mask[k, : len(c[m])] = torch.from_numpy(c[m]), True
        features[m], masks[m] = x, mask
    labels = torch.linspace(-2, 2, len(clips), dtype=dtype)
    return Batch(features, masks, labels, torch.arange(len(clips)))


# --- sizes and settings -------------------------------------------------------------------------

SIZES = {
    "mosi": ((768, 74, 47), 927_239),
    "mosei": ((768, 74, 35), 7_057_799),
    "urfunny": ((768, 60, 36), 2_949_816),
    "mustard": ((768, 60, 36), 5_210_664),
    "cherma": ((1024, 1024, 2048), 25_664_269),
}


@pytest.mark.parametrize("corpus", SIZES)
def test_sizes_are_those_of_the_released_model(corpus: str) -> None:
    """Trainable weights without BERT; with its 108,891,648 CMU-MOSI's are Table 5's number."""
    (text, audio, vision), wanted = SIZES[corpus]
    stacked = 1 if corpus == "cherma" else 2
    shapes: dict[Modality, InputShape] = {
        "text": InputShape(stacked * text, stacked=stacked),
        "audio": InputShape(audio),
        "vision": InputShape(vision),
    }
    model = GLoMo(PRESETS[corpus], shapes)
    assert sum(p.numel() for p in model.parameters()) == wanted
    if corpus == "mosi":
        assert wanted + 108_891_648 == 109_818_887
        parts = {"audio": 123_840 + 28_800, "vision": 119_952 + 28_800}
        parts["text"] = 36_912 + 110_592 + 28_800
        for m, size in parts.items():
            assert sum(p.numel() for p in model.encoders[m].parameters()) == size


def test_one_text_layer_needs_no_other_weights() -> None:
    shapes = {**SHAPES, "text": InputShape(5)}
    one, two = made(shapes=shapes).state_dict(), made().state_dict()
    assert {k: v.shape for k, v in one.items()} == {k: v.shape for k, v in two.items()}


def test_settings_are_published_ones() -> None:
    widths = {"mosi": 48, "mosei": 192, "urfunny": 112, "mustard": 160, "cherma": 256}
    rates = {"mosi": 4e-5, "mosei": 1e-5, "urfunny": 2e-5, "mustard": 2e-5, "cherma": 2e-5}
    assert {k: o.width for k, o in PRESETS.items()} == widths
    assert {k: r.learning_rate for k, r in RECIPES.items()} == rates
    assert {(o.experts, o.chosen, o.bins, o.balance) for o in PRESETS.values()} == {(3, 2, 3, 0.01)}
    assert model_options("glomo", {}, "mosei") == PRESETS["mosei"]
    assert model_recipe("glomo", {"epochs": 3}, "mosei") == replace(RECIPES["mosei"], epochs=3)


@pytest.mark.parametrize(
    ("table", "words"),
    [({"width": 50}, "no multiple of heads"), ({"chosen": 4}, "more than experts")],
)
def test_what_does_not_go_together_is_told(table: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        model_options("glomo", table)


def test_first_weights() -> None:
    """As released: linear layers and experts N(0, 0.02), gates zero, convolutions their own."""
    shapes: dict[Modality, InputShape] = {"text": InputShape(768), "audio": InputShape(74)}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GLoMo(Options(), shapes)
        other = GLoMo(Options(first_weights="pytorch"), shapes)
    state, others = model.state_dict(), other.state_dict()
    for name in ("encoders.text.first.weight", "encoders.audio.local.inner", "fusion.merge.weight"):
        assert state[name].std().item() == pytest.approx(0.02, rel=0.1)
    assert others["fusion.merge.weight"].std().item() > 0.05
    assert state["encoders.audio.convolution.weight"].std().item() == pytest.approx(0.0387, rel=0.1)
    packed = state["encoders.audio.context.layers.0.projections.weight"]
    assert packed.abs().max().item() == pytest.approx(math.sqrt(6 / (48 + 144)), rel=0.01)
    for name, weight in state.items():
        if name.endswith((".gate", ".noise", "bias")):
            assert not weight.any(), name


# --- each equation, literally -------------------------------------------------------------------


def linear(layer: nn.Module, x: Array) -> Array:
    weight, bias = (layer.state_dict().get(k) for k in ("weight", "bias"))
    assert weight is not None
    return np.asarray(x @ weight.numpy().T + (0 if bias is None else bias.numpy()))


def norm(layer: nn.Module, x: Array) -> Array:
    state = layer.state_dict()
    scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return np.asarray(scaled * state["weight"].numpy() + state["bias"].numpy())


def softmax(x: Array) -> Array:
    return np.asarray(np.exp(x) / np.exp(x).sum())


def literal_convolution(layer: TemporalConvolution, x: Array) -> Array:
    before, here, after = np.split(layer.weight.detach().numpy(), 3)
    rows = []
    for t in range(len(x)):
        y = here @ x[t]
        if t > 0:
            y = y + before @ x[t - 1]
        if t + 1 < len(x):
            y = y + after @ x[t + 1]
        rows.append(y)
    return np.array(rows)


def literal_layer(layer: TransformerLayer, x: Array) -> Array:
    """Head by head, query by query."""

    def attention(x: Array) -> Array:
        queries, keys, values = np.split(linear(layer.projections, x), 3, axis=1)
        size = x.shape[1] // layer.heads
        out = np.zeros_like(x)
        for h in range(layer.heads):
            part = slice(h * size, (h + 1) * size)
            for t in range(len(x)):
                share = softmax(keys[:, part] @ queries[t, part] / math.sqrt(size))
                out[t, part] = share @ values[:, part]
        return linear(layer.attended, out)

    def feed(x: Array) -> Array:
        return linear(layer.feedforward[3], np.maximum(0, linear(layer.feedforward[0], x)))

    for block, one in zip((attention, feed), layer.norms, strict=True):
        x = x + block(norm(one, x)) if layer.norm_first else norm(one, x + block(x))
    return x


def literal_sequence(encoder: nn.Module, x: Array) -> Array:
    assert isinstance(encoder, SequenceEncoder)
    width = x.shape[1]
    half = width // 2
    rows = []
    for t, row in enumerate(x):
        angles = [(t + 1) * 10000 ** (-i / (half - 1)) for i in range(half)]
        rows.append(math.sqrt(width) * row + np.concatenate([np.sin(angles), np.cos(angles)]))
    out = np.array(rows)
    for layer in encoder.layers:
        assert isinstance(layer, TransformerLayer)
        out = literal_layer(layer, out)
    return norm(encoder.norm, out)


def literal_bins(x: Array, bins: int) -> list[Array]:
    n = len(x)
    return [x[math.floor(i * n / bins) : math.ceil((i + 1) * n / bins)].max(0) for i in range(bins)]


def literal_expert(experts: Experts, i: int, x: Array) -> Array:
    inner, outer = experts.inner[i].detach().numpy(), experts.outer[i].detach().numpy()
    hidden = np.maximum(0, x @ inner + experts.inner_bias[i, 0].detach().numpy())
    return np.asarray(hidden @ outer + experts.outer_bias[i, 0].detach().numpy())


def literal_gates(logits: Array, k: int) -> Array:
    """Eq. 5: softmax over the k largest; of equals the first."""
    best = sorted(range(len(logits)), key=lambda i: (-logits[i], i))[:k]
    gates = np.zeros_like(logits)
    gates[best] = softmax(logits[best])
    return gates


def literal_experts(experts: Experts, x: Array, log: bool = False) -> Array:
    gates = literal_gates(x @ experts.gate.detach().numpy(), experts.chosen)
    answers = [literal_expert(experts, i, x) for i in range(len(gates))]
    if log:
        mixed = sum(g * np.exp(a) for g, a in zip(gates, answers, strict=True))
        found: Array = np.log(np.asarray(mixed))
        return found
    return np.asarray(sum(g * a for g, a in zip(gates, answers, strict=True)))


def literal_attention(
    attention: ScalarAttention, x: list[Array], there: list[bool]
) -> tuple[Array, Array]:
    if attention.scorer is None:
        return np.ones(1), x[0]
    hidden = np.maximum(0, linear(attention.scorer[0], np.concatenate(x)))
    scores = linear(attention.scorer[3], hidden) / math.sqrt(len(x[0]))
    shares = np.exp(scores) * np.array(there)
    shares = shares / shares.sum()
    return shares, np.asarray(sum(s * v for s, v in zip(shares, x, strict=True)))


def model_bins(model: GLoMo, m: Modality) -> int:
    return int(model.encoders[m].bins)  # type: ignore[arg-type]


def literal_unimodal(
    model: GLoMo, m: Modality, x: Array, log: bool, sequence: bool
) -> tuple[Array, Array]:
    """Global (Eq. 1 or 3) and refined local (Eq. 2 or 4, then 5 and 6) of one clip's frames."""
    encoder = model.encoders[m]
    if m == "text" and not sequence:  # two layers side by side: one after the other in time
        x = np.concatenate([x[:, :5], x[:, 5:]])
    assert isinstance(encoder.convolution, TemporalConvolution)
    assert isinstance(encoder.local, Experts)
    frames = literal_convolution(encoder.convolution, x)
    if m == "text" and not sequence:
        assert isinstance(encoder.first, nn.Linear)
        whole = linear(encoder.first, x[0])  # Eq. 1
    else:
        assert isinstance(encoder.context, nn.Module)
        frames = literal_sequence(encoder.context, frames)
        whole = frames.max(0)  # Eq. 3
    count = model_bins(model, m)
    bins = literal_bins(frames, count)
    local = np.array([bins[i][c] for c in range(len(whole)) for i in range(count)])
    return whole, literal_experts(encoder.local, local, log)


def literal_glomo(model: GLoMo, clip: Frames, log: bool = False, sequence: bool = False) -> Array:
    """One clip from frames to prediction, (classes,)."""
    used = model.modalities
    found = {m: literal_unimodal(model, m, clip[m], log, sequence) for m in used if m in clip}
    fusion = model.fusion
    assert isinstance(fusion, GuidedFusion)
    tokens = np.array([x for m in found for x in found[m]])
    for layer in fusion.encoder:  # Eq. 8
        assert isinstance(layer, TransformerLayer)
        tokens = literal_layer(layer, tokens)
    width = model.head.in_features // 2
    nothing = (np.zeros(width), np.zeros(width))
    z = {m: (tokens[2 * i], tokens[2 * i + 1]) for i, m in enumerate(found)}
    there = [m in found for m in used]
    joined = [  # Eq. 9
        linear(fusion.modality[i], np.concatenate(z.get(m, nothing))) for i, m in enumerate(used)
    ]
    weights, fused = {}, []
    for position, grain in enumerate(("global", "local")):  # Eq. 10
        attention = fusion.attention[grain]
        assert isinstance(attention, ScalarAttention)
        parts = [z.get(m, nothing)[position] for m in used]
        weights[grain], one = literal_attention(attention, parts, there)
        fused.append(one)
    first = linear(fusion.merge, np.concatenate(fused))  # Eq. 11
    second = sum(w * j for w, j in zip(weights["global"], joined, strict=True))  # Eq. 12
    return linear(model.head, np.concatenate([first, second]))  # Eq. 13


@pytest.mark.parametrize(
    "modalities", [MODALITIES, ("audio", "vision"), ("text", "vision"), ("text",), ("vision",)]
)
@pytest.mark.parametrize("log", [False, True])
def test_equations_1_to_6_and_8_to_13(modalities: tuple[Modality, ...], log: bool) -> None:
    options = replace(TINY, mixing="log" if log else "linear")
    clips = some_clips(modalities)
    if len(modalities) > 1:
        del clips[1][modalities[0]]
        del clips[4][modalities[-1]]
    model = made(options, modalities)
    prediction = model(batch_of(clips, modalities)).prediction
    for k, clip in enumerate(clips):
        wanted = literal_glomo(model, clip, log).item()
        assert prediction[k].item() == pytest.approx(wanted, abs=1e-9)


def test_text_as_a_sequence_and_classes() -> None:
    """CHERMA's text goes the way of audio and vision; seven logits a clip.

    P6: two layers of it are one sequence of wider frames, as for audio, not two in time.
    """
    options, clips = replace(TINY, text="sequence", classes=7), some_clips()
    model = made(options)
    prediction = model(batch_of(clips)).prediction
    assert prediction.shape == (len(clips), 7)
    for k, clip in enumerate(clips):
        wanted = literal_glomo(model, clip, sequence=True)
        np.testing.assert_allclose(prediction[k].detach().numpy(), wanted, atol=1e-9)


def test_bins_and_experts_of_each_modality() -> None:
    """P7: Fig. 3 has a number for each modality; k of them speak, or all where there are fewer."""
    table = {
        "width": 8,
        "heads": 2,
        "encoder_layers": 1,
        "bins": {"text": 2, "audio": 1, "vision": 5},
        "experts": {"text": 4, "audio": 1},
    }
    options, clips = model_options("glomo", table), some_clips()
    model = made(options)
    prediction = model(batch_of(clips)).prediction
    for k, clip in enumerate(clips):
        wanted = literal_glomo(model, clip).item()
        assert prediction[k].item() == pytest.approx(wanted, abs=1e-9)
    local = {m: model.encoders[m].local for m in MODALITIES}
    assert {m: len(e.inner) for m, e in local.items()} == {"text": 4, "audio": 1, "vision": 3}  # type: ignore[arg-type]
    assert {m: e.chosen for m, e in local.items()} == {"text": 2, "audio": 1, "vision": 2}  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="experts"):
        model_options("glomo", {"experts": {"text": 0}})
    with pytest.raises(ConfigError, match="bins"):
        model_options("glomo", {"bins": {"sound": 3}})


def test_equation_5_with_noise_and_7() -> None:
    """In training: noisy choice, and both balance terms by their definitions, expert by expert."""
    experts = Experts(6, 5, 4, 2, "linear").double().train()
    for weight in experts.parameters():
        weight.data.normal_(0, 0.5, generator=generator(2))
    x = torch.randn(9, 6, dtype=torch.float64, generator=generator(3))
    real = torch.arange(9) != 4
    with torch.random.fork_rng():
        torch.manual_seed(7)
        mixed, gates, imbalance = experts(x, real)
        torch.manual_seed(7)
        noise = torch.randn(9, 4, dtype=torch.float64).numpy()
    gate, spread = experts.gate.detach().numpy(), experts.noise.detach().numpy()
    importance, load = np.zeros(4), np.zeros(4)
    for k, row in enumerate(x.numpy()):
        clean = row @ gate
        deviation = np.log1p(np.exp(row @ spread)) + 0.01
        noisy = clean + noise[k] * deviation
        wanted = literal_gates(noisy, 2)
        np.testing.assert_allclose(gates[k].detach().numpy(), wanted, atol=1e-12)
        answer = sum(wanted[i] * literal_expert(experts, i, row) for i in range(4))
        np.testing.assert_allclose(mixed[k].detach().numpy(), answer, atol=1e-12)
        if not real[k]:
            continue
        importance += wanted
        for i in range(4):  # chance to be chosen, were its noise alone drawn again
            rival = sorted(np.delete(noisy, i))[-2]
            load[i] += 0.5 * (1 + math.erf((clean[i] - rival) / deviation[i] / math.sqrt(2)))
    squared = [v.var(ddof=1) / (v.mean() ** 2 + 1e-10) for v in (importance, load)]
    assert imbalance.item() == pytest.approx(sum(squared), rel=1e-9)


def test_equation_7_when_scoring_counts_clips() -> None:
    experts = Experts(6, 5, 4, 2, "linear").double().eval()
    experts.gate.data.normal_(generator=generator(2))
    x = torch.randn(9, 6, dtype=torch.float64, generator=generator(3))
    _, gates, imbalance = experts(x, torch.ones(9, dtype=torch.bool))
    shares = gates.detach().numpy()
    assert ((shares > 0).sum(1) == 2).all()
    squared = [
        v.var(ddof=1) / (v.mean() ** 2 + 1e-10) for v in (shares.sum(0), (shares > 0).sum(0))
    ]
    assert imbalance.item() == pytest.approx(sum(squared), rel=1e-9)


def test_equal_logits_choose_the_first_experts() -> None:
    experts = Experts(6, 5, 4, 2, "linear").eval()
    _, gates, _ = experts(torch.randn(3, 6, generator=generator()), torch.ones(3).bool())
    assert torch.equal(gates, torch.tensor([[0.5, 0.5, 0.0, 0.0]]).expand(3, 4))


@pytest.mark.parametrize(("experts", "chosen"), [(1, 1), (2, 2)])
def test_experts_may_all_be_chosen(experts: int, chosen: int) -> None:
    layer = Experts(6, 5, experts, chosen, "linear").train()
    with torch.random.fork_rng():
        mixed, _, imbalance = layer(torch.randn(3, 6), torch.ones(3).bool())
    assert mixed.isfinite().all()
    assert imbalance.isfinite()


def test_the_log_mixture_does_not_overflow() -> None:
    experts = Experts(2, 2, 3, 2, "log").eval()
    experts.outer_bias.data += 500.0
    mixed, _, _ = experts(torch.ones(1, 2), torch.ones(1).bool())
    assert (mixed > 400).all()
    assert mixed.isfinite().all()


def test_loss_of_equation_14() -> None:
    """The named terms are omega times Eq. 7 of each modality."""
    model, batch = made(replace(TINY, balance=0.25)), batch_of(some_clips())
    output = model(batch)
    assert set(output.losses) == {f"balance_{m}" for m in MODALITIES}
    for m in MODALITIES:
        *_, imbalance = model.encoders[m](batch.features[m], batch.masks[m])
        assert output.losses[f"balance_{m}"].item() == pytest.approx(0.25 * imbalance.item())


# --- parts against PyTorch's own ----------------------------------------------------------------


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_packed_convolution_is_conv1d_of_the_layers_in_time(layers: int) -> None:
    x = torch.randn(4, 6, 5 * layers, generator=generator())
    mask = torch.arange(6) < torch.tensor([[6], [1], [0], [3]])
    mask[0, 2] = False  # a frame without a face: the gap closes
    convolution = TemporalConvolution(5, 7)
    packed = Packed.concatenate([Packed.of(layer, mask) for layer in x.chunk(layers, dim=2)])
    found = convolution(packed).padded()
    kernel = torch.stack(convolution.weight.chunk(3), dim=2)
    for k in range(4):
        rows = x[k, mask[k]]
        joined = torch.cat(rows.chunk(layers, dim=1))
        n = len(joined)
        assert packed.lengths[k] == n
        assert not found[k, n:].any()
        if n:
            wanted = functional.conv1d(joined.t()[None], kernel, padding=1)[0].t()
            torch.testing.assert_close(found[k, :n], wanted)


@pytest.mark.parametrize("bins", [1, 2, 3, 5])
def test_bins_are_those_of_adaptive_max_pool1d(bins: int) -> None:
    x = torch.randn(12, 11, 4, generator=generator())
    lengths = torch.arange(12)
    pooled = adaptive_max(x, lengths, bins)
    assert not pooled[0].any()
    for k in range(1, 12):
        wanted = functional.adaptive_max_pool1d(x[k, :k].t()[None], bins)[0].t()
        assert torch.equal(pooled[k], wanted)


@pytest.mark.parametrize("norm_first", [False, True])
def test_transformer_layer_is_pytorchs(norm_first: bool) -> None:
    ours = TransformerLayer(8, 2, 12, 0.1, 0.1, norm_first).eval()
    state = ours.state_dict()
    theirs = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, norm_first=norm_first).eval()
    names = {
        "self_attn.in_proj_": "projections.",
        "self_attn.out_proj.": "attended.",
        "linear1.": "feedforward.0.",
        "linear2.": "feedforward.3.",
        "norm1.": "norms.0.",
        "norm2.": "norms.1.",
    }
    theirs.load_state_dict(
        {a + end: state[b + end] for a, b in names.items() for end in ("weight", "bias")}
    )
    x = torch.randn(5, 6, 8, generator=generator())
    mask = torch.arange(6) < torch.tensor([[6], [1], [4], [5], [2]])
    found = ours(Packed.of(x, mask)).padded()
    wanted = theirs(x, src_key_padding_mask=~mask)
    torch.testing.assert_close(found[mask], wanted[mask])


def test_buckets_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(7, 9, 8, generator=generator())
    mask = torch.arange(9) < torch.tensor([[6], [1], [0], [9], [2], [9], [3]])
    layer = TransformerLayer(8, 2, 12, 0.0, 0.0, True)
    together, apart = Packed.of(x, mask), Packed.of(x, mask)
    assert len(attention_buckets(together, together, 2)) == 1
    whole = layer(together).rows
    monkeypatch.setattr("sedimental.train.layers.attention.MOST", 2 * 9**2)
    several = [here for here, _ in attention_buckets(apart, apart, 2)]
    assert len(several) > 2
    assert sorted(torch.cat([b.members for b in several]).tolist()) == list(range(30))
    torch.testing.assert_close(layer(apart).rows, whole)


# --- Table 4 ------------------------------------------------------------------------------------

ABLATIONS: dict[str, Options] = {
    "MLP_M": replace(TINY, local="mlp"),
    "Global": replace(TINY, grains="global"),
    "Local": replace(TINY, grains="local"),
    "Local MLP": replace(TINY, grains="local", local="mlp"),
    "SUM": replace(TINY, fusion="sum"),
    "CON": replace(TINY, fusion="concatenate"),
    "ATTN_F": replace(TINY, fusion="attention"),
    "MUL": replace(TINY, fusion="multiply"),
    "ATTN_G": replace(TINY, guide="attention"),
    "MLP_G": replace(TINY, guide="mlp"),
    "ReAt_G": replace(TINY, guide="local"),
}
every_ablation = pytest.mark.parametrize("name", ABLATIONS)


def test_a_modality_less_is_a_smaller_fusion() -> None:
    state = made(modalities=("text", "vision")).state_dict()
    assert not any("audio" in name for name in state)
    assert state["fusion.attention.global.scorer.0.weight"].shape == (8, 16)
    batch = batch_of(some_clips())
    assert made()(batch).extras["weights_global"].shape == (6, 3)
    assert made(modalities=("text", "vision"))(batch).extras["weights_global"].shape == (6, 2)


def test_mlp_in_place_of_experts() -> None:
    model, batch = made(ABLATIONS["MLP_M"]), batch_of(some_clips())
    layer = model.encoders["audio"].local
    assert isinstance(layer, nn.Linear)
    assert layer.weight.shape == (8, 24)
    assert model(batch).losses == {}
    assert not any(name.startswith("experts") for name in model(batch).extras)


@pytest.mark.parametrize(("name", "grain"), [("Global", "global"), ("Local", "local")])
def test_one_grain_alone(name: str, grain: str) -> None:
    model, batch = made(ABLATIONS[name]), batch_of(some_clips())
    assert bool(model(batch).losses) == (grain == "local")
    assert {k for k in model(batch).extras if "weights" in k} == {f"weights_{grain}"}
    both = made()
    for m in MODALITIES:  # the representations themselves are those of the whole model
        part = both.encoders[m].state_dict()
        mine = model.encoders[m]
        mine.load_state_dict({k: part[k] for k in mine.state_dict()})
        one, _, _ = mine(batch.features[m], batch.masks[m])
        two, _, _ = both.encoders[m](batch.features[m], batch.masks[m])
        torch.testing.assert_close(one[:, 0], two[:, int(grain == "local")])


@pytest.mark.parametrize("kind", ["sum", "concatenate", "attention", "multiply"])
def test_plain_fusions(kind: Any) -> None:
    fusion = PlainFusion(6, replace(TINY, fusion=kind)).double()
    for weight in fusion.parameters():
        weight.data.normal_(0, 0.5, generator=generator(4))
    found = torch.randn(5, 3, 2, 8, dtype=torch.float64, generator=generator())
    real = torch.ones(5, 3, dtype=torch.bool)
    real[1, 0] = False
    found = found * real[:, :, None, None]
    fused, weights = fusion.eval()(found, real)
    assert not weights
    for k in range(5):
        parts = [found[k, m, g].numpy() for m in range(3) for g in range(2)]
        there = [bool(real[k, m]) for m in range(3) for _ in range(2)]
        if kind == "sum":
            wanted = sum(parts)
        elif kind == "multiply":
            wanted = np.prod([p for p, t in zip(parts, there, strict=True) if t], axis=0)
        elif kind == "concatenate":
            assert isinstance(fusion.merge, nn.Linear)
            wanted = linear(fusion.merge, np.concatenate(parts))
        else:
            assert isinstance(fusion.merge, ScalarAttention)
            _, wanted = literal_attention(fusion.merge, parts, there)
        np.testing.assert_allclose(fused[k].detach().numpy(), wanted, atol=1e-12)


@pytest.mark.parametrize("guide", ["local", "attention", "mlp"])
def test_other_guides_change_equation_12_alone(guide: Any) -> None:
    found = torch.randn(5, 3, 2, 8, dtype=torch.float64, generator=generator())
    real = torch.ones(5, 3, dtype=torch.bool)
    ours, other = made(), made(replace(TINY, guide=guide))
    assert isinstance(ours.fusion, GuidedFusion)
    assert isinstance(other.fusion, GuidedFusion)
    other.fusion.load_state_dict(ours.fusion.state_dict(), strict=False)
    paper, weights = ours.fusion(found, real)
    mine, _ = other.fusion(found, real)
    torch.testing.assert_close(mine[:, :8], paper[:, :8])
    tokens = Packed.stack(found.flatten(1, 2))
    for layer in ours.fusion.encoder:
        tokens = layer(tokens)
    pairs = tokens.rows.view(5, 3, 16)
    joined = torch.stack([ours.fusion.modality[m](pairs[:, m]) for m in range(3)], dim=1)
    torch.testing.assert_close(paper[:, 8:], torch.einsum("bm,bmd->bd", weights["global"], joined))
    if guide == "local":
        wanted = torch.einsum("bm,bmd->bd", weights["local"], joined)
    elif guide == "attention":
        assert isinstance(other.fusion.mixup, ScalarAttention)
        wanted = other.fusion.mixup(joined, real)[1]
    else:
        assert isinstance(other.fusion.mixup, nn.Linear)
        wanted = other.fusion.mixup(joined.flatten(1))
    torch.testing.assert_close(mine[:, 8:], wanted)


# --- what every model promises, for every ablation ----------------------------------------------


@every_ablation
def test_every_weight_gets_a_gradient(name: str) -> None:
    for modalities in (MODALITIES, ("audio", "vision"), ("text",), ("audio",)):
        model = made(ABLATIONS[name], modalities, loud=False).train()
        if ABLATIONS[name].fusion == "multiply":  # a product of six small numbers underflows
            model = made(ABLATIONS[name], modalities).train()
        batch = batch_of(some_clips(modalities, 16), modalities)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            output = model(batch)
            loss = (output.prediction - 1).square().mean() + sum(output.losses.values())
            torch.autograd.backward(loss)
        for position, weight in model.named_parameters():
            assert weight.grad is not None, position
            assert weight.grad.isfinite().all(), position
            assert weight.grad.abs().sum() > 0, position


@pytest.mark.parametrize("name", ["", *ABLATIONS])
def test_padding_and_neighbours_change_nothing(name: str) -> None:
    model, clips = made(ABLATIONS.get(name, TINY)), some_clips()
    del clips[0]["audio"]
    clips.append({})  # nothing at all
    batch = batch_of(clips)
    together = model(batch).prediction
    assert together.isfinite().all()
    longer = model(batch_of(clips, more=9, padding=-1e5)).prediction
    torch.testing.assert_close(longer, together, rtol=0, atol=1e-9)
    for k, clip in enumerate(clips):
        alone = model(batch_of([clip, clip])).prediction
        torch.testing.assert_close(alone, together[[k, k]], rtol=0, atol=1e-9)
        one = Batch(
            {m: x[k : k + 1] for m, x in batch.features.items()},
            {m: x[k : k + 1] for m, x in batch.masks.items()},
            batch.labels[k : k + 1],
            batch.index[k : k + 1],
        )
        torch.testing.assert_close(model(one).prediction, together[k : k + 1], rtol=0, atol=1e-9)


def test_a_batch_without_any_frame_trains_on_nothing() -> None:
    model = made().train()
    with torch.random.fork_rng():
        output = model(batch_of([{}, {}]))
        torch.autograd.backward(output.prediction.sum() + sum(output.losses.values()))
    assert all(term.item() == 0 for term in output.losses.values())
    assert output.prediction.isfinite().all()
    for weight in model.parameters():
        assert weight.grad is None or weight.grad.isfinite().all()


def test_a_gap_closes() -> None:
    """Frames that are not real (no face) are as if they had never been."""
    clips = some_clips()
    batch = batch_of(clips)
    gap = torch.full((6, 2, 3), 1e5, dtype=torch.float64)
    features, masks = dict(batch.features), dict(batch.masks)
    x, mask = features["vision"], masks["vision"]
    features["vision"] = torch.cat([gap[:, :1], x[:, :1], gap, x[:, 1:]], dim=1)
    hidden = torch.zeros(6, 2, dtype=torch.bool)
    masks["vision"] = torch.cat([hidden[:, :1], mask[:, :1], hidden, mask[:, 1:]], dim=1)
    model = made()
    gapped = model(replace(batch, features=features, masks=masks)).prediction
    torch.testing.assert_close(gapped, model(batch).prediction, rtol=0, atol=1e-9)


def test_extras_are_shares() -> None:
    clips = some_clips()
    del clips[2]["vision"]
    extras = made()(batch_of(clips)).extras
    for grain in ("global", "local"):
        weights = extras[f"weights_{grain}"]
        torch.testing.assert_close(weights.sum(1), torch.ones(6, dtype=torch.float64))
        assert weights[2, 2] == 0
    for m in MODALITIES:
        assert extras[f"experts_{m}"].shape == (6, 4)
        assert (extras[f"experts_{m}"] > 0).sum(1).tolist() == [2] * 6


def test_weighted_layers_are_mixed_first() -> None:
    shapes = {m: InputShape(4, layers=3) for m in MODALITIES}
    model = made(shapes=shapes)
    plain = made(shapes={m: InputShape(4) for m in MODALITIES})
    state = model.state_dict()
    plain.load_state_dict({k: v for k, v in state.items() if "mix." not in k})
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64, generator=generator())
    mask = {m: torch.ones(2, 5, dtype=torch.bool) for m in MODALITIES}
    mixed = {
        m: torch.einsum("l,bltw->btw", state[f"encoders.{m}.mix.logits"].softmax(0), x)
        for m in MODALITIES
    }
    index = torch.arange(2)
    left = model(Batch(dict.fromkeys(MODALITIES, x), mask, torch.zeros(2), index))
    right = plain(Batch(mixed, mask, torch.zeros(2), index))
    torch.testing.assert_close(left.prediction, right.prediction)
    assert model.outputs()["layers_text"].sum().item() == pytest.approx(1)


def test_groups_hold_every_weight_once_and_spare_biases() -> None:
    shapes = {m: InputShape(4, layers=3) for m in MODALITIES}
    model = made(shapes=shapes)
    decayed, plain = model.groups()
    ours = [id(p) for p in (*decayed.parameters, *plain.parameters)]
    assert sorted(ours) == sorted(id(p) for p in model.parameters())
    assert decayed.weight_decay is None
    assert plain.weight_decay == 0
    names = {id(p): name for name, p in model.named_parameters()}
    assert all("bias" in names[id(p)] or "logits" in names[id(p)] for p in plain.parameters)
    assert not any("bias" in names[id(p)] for p in decayed.parameters)


def test_learns_sixteen_clips_by_heart() -> None:
    options = replace(TINY, encoder_layers=1, fusion_layers=1, first_weights="pytorch")
    model = made(options, loud=False).float()
    batch = batch_of(some_clips(count=16), dtype=torch.float32)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        loss = (model(batch).prediction - batch.labels).abs().mean()
        torch.autograd.backward(loss)
        optimizer.step()
        if loss < 0.1:
            return
    assert loss < 0.1


def test_scoring_is_deterministic_and_training_follows_its_seed() -> None:
    model, batch = made(), batch_of(some_clips())
    assert torch.equal(model(batch).prediction, model(batch).prediction)
    model.train()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first = model(batch).prediction
        second = model(batch).prediction
        torch.manual_seed(1)
        assert torch.equal(model(batch).prediction, first)
    assert not torch.equal(first, second)


def test_state_goes_through_safetensors() -> None:
    model, other = made(), made(loud=False)
    other.load_state_dict(load(save(dict(model.state_dict()))))
    batch = batch_of(some_clips())
    assert torch.equal(model(batch).prediction, other(batch).prediction)


def test_mixed_precision_stays_near() -> None:
    model = made(loud=False).float()
    batch = batch_of(some_clips(), dtype=torch.float32)
    exact = model(batch).prediction
    model.train()
    with torch.random.fork_rng(), torch.autocast("cpu", torch.bfloat16):
        output = model(batch)
    torch.autograd.backward(output.prediction.float().sum() + sum(output.losses.values()))
    with torch.autocast("cpu", torch.bfloat16):
        near = model.eval()(batch).prediction
    torch.testing.assert_close(near.float(), exact, rtol=0.1, atol=0.02)


# --- a real training ----------------------------------------------------------------------------


def write_corpus(root: Path) -> None:
    """Stores of three layers whose last says the label; two clips lack audio."""
    random = np.random.default_rng(0)
    clips = [
        Clip(
            id=f"v$_${k}",
            video_id="v",
            clip_id=str(k),
            split="train" if k < 40 else "valid" if k < 60 else "test",
            label=float(random.uniform(-3, 3)),
        )
        for k in range(80)
    ]
    folder = root / "features" / "toy"
    write_manifest(folder / "manifest.jsonl", Manifest("toy", root, tuple(clips)))
    settings: Mapping[Modality, dict[str, Any]] = {
        "text": {"max_length": 512},
        "audio": {"rate": 5.0, "pool": "stride"},
        "vision": {
            "fps": 3.0,
            "face_size": 256,
            "margin": 0,
            "no_face": "zero",
            "detect_size": 640,
        },
    }
    for m in MODALITIES:
        spec = FeatureSpec(
            modality=m,
            encoder=f"tiny-{m}",
            source=f"maker/tiny-{m}",
            revision=None,
            weights="random:0",
            weights_digest="00",
            layers=("0", "1", "2"),
            width=6,
            preprocessing=settings[m],
        )
        features = []
        missing = ["v$_$1", "v$_$79"] if m == "audio" else []
        for clip in clips:
            if clip.id in missing:
                continue
            n = int(random.integers(2, 9))
            values = random.normal(0, 1, (3, n, 6)).astype(np.float32)
            values[2] += clip.label or 0
            times = np.arange(n, dtype=np.float32)
            features.append(
                ClipFeatures(clip.id, "s", values, times, times * 0 + 1, np.arange(n) % 3 < 2, {})
            )
        writer = StoreWriter.create(folder, spec, "zarr")
        writer.add(features)
        writer.finish({c.id: "s" for c in clips}, dict.fromkeys(missing, "decode: no such stream"))


def test_a_real_training(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    config = Config.model_validate(
        {
            "corpus": {"kind": "csv", "path": "toy.csv"},
            "cache": {"root": tmp_path / "features"},
            "runs": {"root": tmp_path / "runs"},
            "features": [{"modality": m, "encoder": f"tiny-{m}"} for m in MODALITIES],
            "train": {
                "models": ["glomo"],
                "modalities": ["TAV"],
                "seeds": [1],
                "epochs": 8,
                "batch_size": 8,
                "learning_rate": 3e-3,
                "device": "cpu",
                "inputs": {
                    "text": {"encoder": "tiny-text", "layers": [-1, -2]},
                    "audio": {"encoder": "tiny-audio", "layers": "weighted"},
                    "vision": {"encoder": "tiny-vision", "layers": 2},
                },
                "glomo": {
                    "width": 16,
                    "heads": 4,
                    "encoder_layers": 1,
                    "fusion_feedforward": 32,
                    "first_weights": "pytorch",
                    "attention_dropout": 0.1,
                },
            },
        }
    )
    (both,) = train(config)
    assert both.outputs["weights_global"].shape == (80, 3)
    assert both.outputs["experts_text"].shape == (80, 3)
    assert both.outputs["layers_audio"].shape == (2,)
    truth, answers = both.predictions.of("test")
    assert np.abs(answers - truth).mean() < 0.7 * np.abs(truth - np.median(truth)).mean()
    (again,) = train(config, fresh=True)
    assert np.array_equal(again.predictions.values, both.predictions.values)
