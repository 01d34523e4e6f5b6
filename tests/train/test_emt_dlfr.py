"""EMT-DLFR against its paper: sizes, and each equation against a slow, literal version in numpy."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save
from torch import Tensor, nn

from sedimental.cache.spec import MODALITIES, Modality
from sedimental.train.layers.packed import Packed
from sedimental.train.models.emt_dlfr.encoders import Siamese, View, negative_cosine
from sedimental.train.models.emt_dlfr.fusion import Pooling
from sedimental.train.models.emt_dlfr.model import EMTDLFR, PRESETS, RECIPES, Options
from sedimental.train.models.shared.interface import Batch, InputShape, Output
from sedimental.train.models.shared.missing_frames import hidden_frames, incomplete

Array = NDArray[np.float64]
WIDTHS: dict[Modality, int] = {"text": 6, "audio": 5, "vision": 4}
TINY = Options(
    width=4,
    depth=2,
    heads=2,
    expansion=2,
    audio_hidden=3,
    audio_out=2,
    vision_hidden=4,
    vision_out=4,
    head_width=5,
    predictor_context=3,
    predictor_text=3,
    predictor_audio=3,
    predictor_vision=3,
)
CLIPS: list[dict[Modality, int]] = [
    {"text": 5, "audio": 7, "vision": 3},
    {"text": 2, "audio": 1, "vision": 6},
    {"text": 6, "audio": 0, "vision": 4},
    {"text": 1, "audio": 4, "vision": 0},
    {"text": 0, "audio": 3, "vision": 2},
]
"""Frames; a text of two has no token between [CLS] and [SEP]."""


def made(
    options: Options,
    modalities: Sequence[Modality] = MODALITIES,
    layers: int | None = None,
    seed: int = 0,
) -> EMTDLFR:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = EMTDLFR(options, {m: InputShape(WIDTHS[m], layers) for m in modalities}).double()
    return model.eval()


def batch_of(
    clips: Sequence[Mapping[Modality, int]] = CLIPS,
    modalities: Sequence[Modality] = MODALITIES,
    longer: int = 0,
    padding: float = 1e4,
    gaps: bool = False,
    layers: int | None = None,
) -> Batch:
    """Clip k has the same real frames whatever lies around them; `gaps`: between them, too."""
    features, masks = {}, {}
    for m in modalities:
        frames = max(1, *(c[m] for c in clips)) * (2 if gaps else 1) + longer
        x = torch.full((len(clips), layers or 1, frames, WIDTHS[m]), padding, dtype=torch.float64)
        mask = torch.zeros(len(clips), frames, dtype=torch.bool)
        for k, clip in enumerate(clips):
            random = np.random.default_rng([k, MODALITIES.index(m)])
            real = random.standard_normal((layers or 1, clip[m], WIDTHS[m]))
            at = torch.arange(clip[m]) * (2 if gaps else 1)
            x[k][:, at], mask[k, at] = torch.from_numpy(real), True
        features[m], masks[m] = x if layers else x[:, 0], mask
    labels = torch.linspace(-2, 2, len(clips), dtype=torch.float64)
    return Batch(features, masks, labels, torch.arange(len(clips)))


def clip_of(batch: Batch, k: int) -> Batch:
    def cut(x: Tensor) -> Tensor:
        return x[k : k + 1]

    return Batch(
        {m: cut(x) for m, x in batch.features.items()},
        {m: cut(x) for m, x in batch.masks.items()},
        cut(batch.labels),
        cut(batch.index),
    )


def real_frames(batch: Batch, k: int) -> dict[Modality, Array]:
    return {m: x[k][batch.masks[m][k]].numpy() for m, x in batch.features.items()}


# --- sizes ---------------------------------------------------------------------------------------

PAPER: dict[str, tuple[tuple[int, int, int], int, int, int]] = {
    "mosi": ((768, 5, 20), 2_322_779, 985_906, 478_337),
    "mosei": ((768, 74, 35), 2_115_583, 767_874, 478_337),
    "sims": ((768, 33, 709), 1_525_592, 453_730, 30_497),
}


def size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


@pytest.mark.parametrize("corpus", PAPER)
def test_sizes_are_the_papers(corpus: str) -> None:
    """All that is trained with DLFR, what scores, the fusion alone; widths of the MMSA files."""
    widths, everything, scoring, fusion = PAPER[corpus]
    shapes = {m: InputShape(w) for m, w in zip(MODALITIES, widths, strict=True)}
    full = EMTDLFR(replace(PRESETS[corpus], dlfr=True), shapes)
    assert size(full) == everything
    assert size(full.fusion) == fusion
    assert size(EMTDLFR(PRESETS[corpus], shapes)) == scoring
    assert corpus in RECIPES


TABLE_9 = {
    (False, False, False): 116.4,
    (True, False, False): 113.4,
    (False, True, False): 112.4,
    (False, False, True): 112.1,
    (True, True, False): 111.4,
    (True, False, True): 111.1,
    (False, True, True): 110.8,
    (True, True, True): 110.5,
}
BERT_BASE = 109_482_240


@pytest.mark.parametrize("shared", TABLE_9)
def test_sizes_of_all_ways_to_share_are_those_of_table_9(shared: tuple[bool, bool, bool]) -> None:
    mpu, modalities, layers = shared
    options = Options(share_mpu=mpu, share_modalities=modalities, share_layers=layers)
    shapes = {m: InputShape(w) for m, w in zip(MODALITIES, PAPER["mosi"][0], strict=True)}
    millions = (BERT_BASE + size(EMTDLFR(options, shapes))) / 1e6
    assert millions == pytest.approx(TABLE_9[shared], abs=0.051)


# --- the literal model, one clip at a time -------------------------------------------------------


def linear(layer: Any, x: Array) -> Array:
    if isinstance(layer, nn.Identity):
        return x
    bias = 0 if layer.bias is None else layer.bias.detach().numpy()
    found: Array = x @ layer.weight.detach().numpy().T + bias
    return found


def layer_norm(norm: Any, x: Array) -> Array:
    rows = [(r - r.mean()) / np.sqrt(r.var() + norm.eps) for r in x]
    normed = np.array(rows).reshape(x.shape)
    found: Array = normed * norm.weight.detach().numpy() + norm.bias.detach().numpy()
    return found


def gelu(x: Array) -> Array:
    return torch.nn.functional.gelu(torch.from_numpy(x)).numpy()


def sigmoid(x: Array) -> Array:
    found: Array = 1 / (1 + np.exp(-x))
    return found


def literal_attention(layer: Any, target: Array, source: Array) -> Array:
    """Eqs. 2 and 3, head by head and query by query."""
    width = target.shape[1]
    d = width // layer.heads
    query = linear(layer.query, target)
    key, value = np.split(linear(layer.key_value, source), 2, axis=1)
    mixed = np.zeros_like(query)
    for head in range(layer.heads):
        own = slice(head * d, (head + 1) * d)
        for i in range(len(target)):
            if len(source):
                energy = np.array([query[i, own] @ k / np.sqrt(d) for k in key[:, own]])
                share = np.exp(energy) / np.exp(energy).sum()
                mixed[i, own] = sum(s * v for s, v in zip(share, value[:, own], strict=True))
    return linear(layer.out, mixed)


def literal_promotion(unit: Any, target: Array, source: Array) -> Array:
    """Eq. 5."""
    one = target + literal_attention(
        unit.cross, layer_norm(unit.target_norm, target), layer_norm(unit.source_norm, source)
    )
    normed = layer_norm(unit.self_norm, one)
    two = one + literal_attention(unit.itself, normed, normed)
    value, gate = np.split(linear(unit.feed.up, layer_norm(unit.forward_norm, two)), 2, axis=1)
    return two + linear(unit.feed.down, value * gelu(gate))


def literal_mpu(there: Any, back: Any, h_m: Array, h_n: Array, serial: bool) -> tuple[Array, Array]:
    """Eq. 4: H_{n→m} and H_{m→n}; serially, the second is promoted by the first (5.2.1)."""
    promoted = literal_promotion(there, h_m, h_n)
    return promoted, literal_promotion(back, h_n, promoted if serial else h_m)


def literal_pooling(pool: Any, versions: Sequence[Array]) -> Array:
    """Eq. 9 for one thing, of which there are `versions` (width,); and its two alternatives."""
    if len(versions) == 1:
        return versions[0]
    if pool.kind == "attention":
        scores = np.array([linear(pool.score, np.tanh(linear(pool.inner, g)))[0] for g in versions])
        share = np.exp(scores) / np.exp(scores).sum()
        return np.asarray(sum(s * g for s, g in zip(share, versions, strict=True)))
    if pool.kind == "mlp":
        return linear(pool.map, np.concatenate(versions))
    return np.asarray(sum(versions) / len(versions))


def per_frame(pool: Any, versions: Sequence[Array]) -> Array:
    rows = [literal_pooling(pool, [v[t] for v in versions]) for t in range(len(versions[0]))]
    return np.array(rows).reshape(versions[0].shape)


def mean_or_zero(x: Array) -> Array:
    return np.asarray(x.mean(axis=0)) if len(x) else np.zeros(x.shape[1])


def literal_fusion(
    model: EMTDLFR, frames: list[Array], context: Array
) -> tuple[Array, list[Array]]:
    """g and the last H_m, by Eqs. 6 to 8."""
    o, f, count = model.options, model.fusion, len(frames)
    serial = o.update == "serial"
    pools_a_layer = count if o.fusion == "ooll" and not o.share_modalities else 1

    def unit(layer: int, place: int, back: int) -> Any:
        places = 1 if o.share_modalities else (len(f.pairs) if o.fusion == "ooll" else count)  # type: ignore[arg-type]
        ways = 1 if o.share_mpu else 2
        layer = 0 if o.share_layers else layer
        place, back = 0 if o.share_modalities else place, 0 if o.share_mpu else back
        return f.units[layer * places * ways + place * ways + back]

    def pool(layer: int, place: int = 0) -> Any:
        return f.pools[(0 if o.share_layers else layer) * pools_a_layer + place]

    if o.fusion == "oagl":
        for layer in range(o.depth):
            versions = []
            for m in range(count):
                frames[m], version = literal_mpu(
                    unit(layer, m, 0), unit(layer, m, 1), frames[m], context, serial
                )
                versions.append(version.ravel())
            context = literal_pooling(pool(layer), versions).reshape(context.shape)
        return context.ravel(), frames
    if o.fusion == "oall":
        sizes = [len(h) for h in frames]
        common = np.concatenate(frames)
        for layer in range(o.depth):
            versions = []
            for m in range(count):
                frames[m], version = literal_mpu(
                    unit(layer, m, 0), unit(layer, m, 1), frames[m], common, serial
                )
                versions.append(version)
            common = per_frame(pool(layer), versions)
        parts = np.split(common, np.cumsum(sizes)[:-1])
        return np.concatenate([mean_or_zero(part) for part in parts]), frames
    for layer in range(o.depth):
        found: list[list[Array]] = [[] for _ in frames]
        for place, (m, n) in enumerate(f.pairs):  # type: ignore[arg-type]
            one, other = literal_mpu(
                unit(layer, place, 0), unit(layer, place, 1), frames[m], frames[n], serial
            )
            found[m].append(one)
            found[n].append(other)
        places = range(count) if pools_a_layer > 1 else [0] * count
        frames = [per_frame(pool(layer, p), found[m]) for m, p in enumerate(places)]
    return np.concatenate([mean_or_zero(h) for h in frames]), frames


def literal_lstm(lstm: Any, x: Array) -> Array:
    """(frames, width) -> (frames, hidden)."""
    w, u = lstm.weight_ih_l0.detach().numpy(), lstm.weight_hh_l0.detach().numpy()
    b = (lstm.bias_ih_l0 + lstm.bias_hh_l0).detach().numpy()
    h = c = np.zeros(lstm.hidden_size)
    out = []
    for frame in x:
        i, f, g, o = np.split(w @ frame + u @ h + b, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        out.append(h)
    return np.array(out).reshape(len(x), lstm.hidden_size)


def literal_encoder(model: EMTDLFR, m: Modality, x: Array) -> tuple[Array, Array]:
    """Eq. 1: h_m and H_m."""
    encoder: Any = model.encoders[m]
    if m == "text":
        return (x[0] if len(x) else np.zeros(x.shape[1])), x[1:-1]
    hidden = linear(encoder.map, literal_lstm(encoder.lstm, x))
    return (hidden[-1] if len(x) else np.zeros(encoder.out)), hidden


def literal_positions(frames: int, width: int) -> Array:
    table = np.zeros((frames, width))
    for t in range(frames):
        for i in range(width):
            angle = t / 10_000 ** ((i - i % 2) / width)
            table[t, i] = np.cos(angle) if i % 2 else np.sin(angle)
    return table


def literal(
    model: EMTDLFR, clip: Mapping[Modality, Array]
) -> tuple[float, dict[str, Array], list[Array]]:
    """One clip through the whole model: ŷ; h_m and g by name; the last H_m."""
    width = model.options.width
    frames, context, found = [], [], dict[str, Array]()
    for m in model.modalities:
        found[m], local = literal_encoder(model, m, clip[m])
        frames.append(linear(model.projections[m], local) + literal_positions(len(local), width))
        context.append(linear(model.projections[m], found[m]))
    g, last = literal_fusion(model, frames, np.array(context))
    x = np.concatenate([*found.values(), g])
    for position in (1, 3):
        x = np.maximum(0, linear(model.head[position], x))
    return float(linear(model.head[5], x)[0]), found | {"context": g}, last


STRATEGIES = list(
    itertools.product(["oagl", "ooll", "oall"], ["parallel", "serial"], ["attention", "average"])
)


def options_of(**changes: Any) -> Options:
    return replace(TINY, **changes)


@pytest.mark.parametrize(("fusion", "update", "pooling"), STRATEGIES)
def test_equations_1_to_9(fusion: str, update: str, pooling: str) -> None:
    model = made(options_of(fusion=fusion, update=update, pooling=pooling))
    check_against_literal(model, batch_of())


@pytest.mark.parametrize("fusion", ["oagl", "ooll", "oall"])
@pytest.mark.parametrize("shared", list(itertools.product([True, False], repeat=3)))
def test_equations_6_to_8_however_weights_are_shared(
    fusion: str, shared: tuple[bool, bool, bool]
) -> None:
    mpu, modalities, layers = shared
    options = options_of(
        fusion=fusion,
        pooling="mlp",
        share_mpu=mpu,
        share_modalities=modalities,
        share_layers=layers,
    )
    check_against_literal(made(options), batch_of(CLIPS[1:4]))


@pytest.mark.parametrize("modalities", [("text",), ("audio", "vision"), ("text", "vision")])
@pytest.mark.parametrize("fusion", ["oagl", "ooll", "oall"])
def test_equations_hold_for_fewer_modalities(fusion: str, modalities: Sequence[Modality]) -> None:
    if fusion == "ooll" and len(modalities) == 1:
        with pytest.raises(ValueError, match=r'emt_dlfr: fusion = "ooll" .* add audio or vision'):
            made(options_of(fusion=fusion), modalities)
        return
    model = made(options_of(fusion=fusion), modalities)
    check_against_literal(model, batch_of(CLIPS[:3], modalities))


def check_against_literal(model: EMTDLFR, batch: Batch) -> None:
    output = model(batch)
    for k in range(batch.size):
        prediction, _, _ = literal(model, real_frames(batch, k))
        assert output.prediction[k].item() == pytest.approx(prediction, abs=1e-10)


def test_pooling_weights_are_kept() -> None:
    output = made(TINY)(batch_of())
    assert output.extras["pooling"].shape == (5, 3)
    torch.testing.assert_close(output.extras["pooling"].sum(dim=1), torch.ones(5).double())
    assert made(options_of(pooling="mlp"))(batch_of()).extras == {}


def test_pooling_of_one_version_has_no_weights() -> None:
    assert size(Pooling("attention", 1, 4)) == size(Pooling("mlp", 1, 4)) == 0


# --- what a clip's neighbours may do: nothing ----------------------------------------------------


@pytest.mark.parametrize("rate", [0.0, 0.5])
@pytest.mark.parametrize("layers", [None, 3])
@pytest.mark.parametrize(("fusion", "update"), [s[:2] for s in STRATEGIES if s[2] == "average"])
def test_padding_and_neighbours_change_nothing(
    fusion: str, update: str, layers: int | None, rate: float
) -> None:
    model = made(options_of(fusion=fusion, update=update, missing_rate=rate), layers=layers)
    together = model(batch_of(layers=layers)).prediction
    assert together.isfinite().all()
    loud = model(batch_of(longer=9, padding=-1e6, layers=layers)).prediction
    torch.testing.assert_close(loud, together, rtol=0, atol=1e-10)
    for k in range(len(CLIPS)):
        alone = model(clip_of(batch_of(layers=layers), k)).prediction
        torch.testing.assert_close(alone, together[k : k + 1], rtol=0, atol=1e-10)


def test_frames_that_are_not_real_are_as_good_as_absent() -> None:
    model = made(TINY)
    expected = model(batch_of()).prediction
    torch.testing.assert_close(model(batch_of(gaps=True)).prediction, expected)


def test_a_batch_without_any_frame_of_a_modality() -> None:
    clips: list[dict[Modality, int]] = [{"text": 3, "audio": 0, "vision": 2}] * 2
    for fusion in ("oagl", "ooll", "oall"):
        model = made(options_of(fusion=fusion, missing_rate=0.5)).train()
        output = model(batch_of(clips))
        loss = output.prediction.sum() + sum(output.losses.values(), torch.zeros(()))
        torch.autograd.backward(loss)
        for weight in model.parameters():
            assert weight.grad is None or weight.grad.isfinite().all()


def test_scoring_is_deterministic_and_training_is_not() -> None:
    for rate in (0.0, 0.5):
        model, batch = made(options_of(missing_rate=rate)), batch_of()
        assert torch.equal(model(batch).prediction, model(batch).prediction)
        assert model(batch).losses == {}
        model.train()
        with torch.random.fork_rng():
            assert not torch.equal(model(batch).prediction, model(batch).prediction)


# --- the incomplete setting ----------------------------------------------------------------------


def still(options: Options) -> Options:
    """Without dropout, so that training is a function."""
    return replace(options, attention_dropout=0.0, feedforward_dropout=0.0, head_dropout=0.0)


def trained(options: Options, batch: Batch) -> tuple[EMTDLFR, Output]:
    model = made(still(options)).train()
    return model, model(batch)


@pytest.mark.parametrize("special", ["keep", "mean"])
def test_scores_of_an_incomplete_model_are_those_of_incomplete_clips(special: Any) -> None:
    options = options_of(missing_rate=0.6, special_tokens=special)
    hiding, plain = made(options), made(replace(options, missing_rate=0.0, dlfr=True))
    plain.load_state_dict(hiding.state_dict())
    seen = incomplete(batch_of(), 0.6, special=special)
    expected = plain(seen).prediction
    torch.testing.assert_close(hiding(batch_of()).prediction, expected)
    assert not torch.allclose(plain(batch_of()).prediction, expected)


def test_masks_are_frozen_over_epochs_and_do_not_know_the_training_seed() -> None:
    options, batch = still(options_of(missing_rate=0.5)), batch_of()
    model = made(options, seed=1).train()
    seen: list[dict[str, Tensor]] = []

    def remember(_: Any, rows: tuple[Any, ...]) -> None:
        first = rows[0].rows
        seen[-1]["vision"] = first[: len(first) // 2] == 0

    model.encoders["vision"].register_forward_pre_hook(remember)
    for _ in range(2):
        seen.append({})
        model(batch)
    other = made(options, seed=2).train()
    other.encoders["vision"].register_forward_pre_hook(remember)
    seen.append({})
    other(batch)
    assert seen[0]["vision"].any()
    assert torch.equal(seen[0]["vision"], seen[1]["vision"])
    assert torch.equal(seen[0]["vision"], seen[2]["vision"])


def literal_smooth_l1(x: float) -> float:
    """Eq. 12, with the absolute value that its condition lacks."""
    return 0.5 * x**2 if abs(x) < 1 else abs(x) - 0.5


def test_equations_11_and_12() -> None:
    options = options_of(missing_rate=0.5, reconstruction=0.7)
    model, output = trained(options, batch_of())
    batch, seen = batch_of(), incomplete(batch_of(), 0.5)
    model.eval()
    total = 0.0
    for m in MODALITIES:
        gone = hidden_frames(batch.masks[m], batch.index, m, 0.5)
        assert gone.any()
        summed, count = 0.0, 0
        for k in range(batch.size):
            _, _, last = literal(model, real_frames(seen, k))
            real = real_frames(batch, k)[m]
            missing = gone[k][batch.masks[m][k]].numpy()
            if m == "text":
                assert not missing[:1].any()
                assert not missing[-1:].any()
                real, missing = real[1:-1], missing[1:-1]
            guess = linear(model.decoders[m], last[MODALITIES.index(m)])
            for t in np.flatnonzero(missing):
                summed += sum(literal_smooth_l1(x) for x in real[t] - guess[t])
                count += real.shape[1]
        total += summed / count
    assert output.losses["reconstruction"].item() == pytest.approx(0.7 * total, abs=1e-10)


def literal_batch_norm(norm: Any, x: Array) -> Array:
    found: Array = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + norm.eps)
    if norm.affine:
        found = found * norm.weight.detach().numpy() + norm.bias.detach().numpy()
    return found


def literal_siamese(part: Any, one: Array, other: Array) -> Array:
    """Eqs. 13 and 14, clip by clip; p and q of a whole batch, for they normalise over it."""

    def p(x: Array) -> Array:
        return literal_batch_norm(part.project[1], linear(part.project[0], x))

    def q(x: Array) -> Array:
        inner = np.maximum(0, literal_batch_norm(part.predict[1], linear(part.predict[0], x)))
        return linear(part.predict[3], inner)

    def d(x: Array, y: Array) -> Array:
        return np.array(
            [-(a @ b) / np.sqrt(a @ a) / np.sqrt(b @ b) for a, b in zip(x, y, strict=True)]
        )

    return 0.5 * (d(q(p(one)), p(other)) + d(q(p(other)), p(one)))


def test_equations_13_to_16() -> None:
    options = options_of(missing_rate=0.5, attraction=0.3)
    model, output = trained(options, batch_of())
    model.eval()
    batch, seen = batch_of(), incomplete(batch_of(), 0.5)
    views: list[list[tuple[float, dict[str, Array], list[Array]]]] = [
        [literal(model, real_frames(view, k)) for k in range(batch.size)] for view in (seen, batch)
    ]
    total = 0.0
    for name in (*MODALITIES, "context"):
        one, other = (np.array([found[name] for _, found, _ in view]) for view in views)
        distance = literal_siamese(model.siamese[name], one, other)
        there = [name == "context" or bool(batch.masks[name][k].any()) for k in range(batch.size)]  # type: ignore[index]
        total += float(distance[there].mean())
    error = np.mean([abs(y[0] - t.item()) for y, t in zip(views[1], batch.labels, strict=True)])
    assert output.losses["attraction"].item() == pytest.approx(0.3 * total, abs=1e-9)
    assert output.losses["complete"].item() == pytest.approx(0.3 * float(error), abs=1e-9)
    for k in range(batch.size):  # the task loss of Eq. 16 is the incomplete view's
        assert output.prediction[k].item() == pytest.approx(views[0][k][0], abs=1e-9)


def test_targets_of_attraction_get_no_gradient() -> None:
    """Eq. 13: each view learns from its own prediction, none from being predicted."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        part = Siamese(4, 3).double()
        one, other = torch.randn(2, 6, 4, dtype=torch.float64).requires_grad_().unbind()
    one, other = one.detach().requires_grad_(), other.detach().requires_grad_()
    (whole,) = torch.autograd.grad(part(one, other).sum(), one)
    guess = part.predict(part.project(one))
    half = 0.5 * negative_cosine(guess, part.project(other).detach())
    (own,) = torch.autograd.grad(half.sum(), one)
    torch.testing.assert_close(whole, own)


def test_a_batch_of_one_trains() -> None:
    model = made(options_of(missing_rate=0.5)).train()
    before = {k: v.clone() for k, v in model.state_dict().items() if "running" in k}
    output = model(clip_of(batch_of(), 0))
    assert all(term.isfinite() for term in output.losses.values())
    assert all(torch.equal(model.state_dict()[k], v) for k, v in before.items())
    model(batch_of())
    assert not all(torch.equal(model.state_dict()[k], v) for k, v in before.items())


@pytest.mark.parametrize(
    ("changes", "terms"),
    [
        ({}, set()),
        ({"dlfr": True}, {"reconstruction", "attraction", "complete"}),
        ({"missing_rate": 0.5}, {"reconstruction", "attraction", "complete"}),
        ({"missing_rate": 0.5, "dlfr": False}, set()),
        ({"missing_rate": 0.5, "attraction": 0.0}, {"reconstruction"}),
        ({"missing_rate": 0.5, "reconstruction": 0.0}, {"attraction", "complete"}),
        ({"missing_rate": 0.5, "simsiam": False}, {"reconstruction", "attraction", "complete"}),
    ],
)
def test_what_is_left_out_is_not_there(changes: Mapping[str, Any], terms: set[str]) -> None:
    """Fig. 9's variants: neither a loss term nor a weight remains of a part that is off."""
    model, output = trained(options_of(**changes), batch_of())
    assert set(output.losses) == terms
    assert bool(len(model.decoders)) == ("reconstruction" in terms)
    assert bool(len(model.siamese)) == ("attraction" in terms and changes.get("simsiam", True))
    if changes.get("dlfr"):  # rate 0: nothing is missing
        assert output.losses["reconstruction"] == 0
    if not changes.get("simsiam", True):  # equal vectors of text: the closest there is
        assert output.losses["attraction"] < 0


def test_outputs_say_how_frames_went_missing() -> None:
    assert made(TINY).outputs() == {}
    assert set(made(options_of(missing_rate=0.3)).outputs()) == {
        "missing_rate",
        "text_states_zeroed",
    }
    model = made(options_of(missing_rate=0.3), ("audio", "vision"), layers=3)
    assert set(model.outputs()) == {"missing_rate", "layers_audio", "layers_vision"}


# --- learning ------------------------------------------------------------------------------------


def dead_by_design(name: str) -> bool:
    """Biases that the published sizes count and that cancel: before batch normalisation, and in
    the scores of Eq. 9, where a softmax follows."""
    return name.endswith(("project.0.bias", "score.bias"))


GRADIENTS: list[tuple[Mapping[str, Any], Sequence[Modality], int | None]] = [
    ({}, MODALITIES, None),
    ({}, ("text",), 3),
    ({}, ("vision",), None),
    ({"missing_rate": 0.5}, MODALITIES, 3),
    ({"missing_rate": 0.5}, ("audio", "text"), None),
    ({"missing_rate": 0.5, "fusion": "ooll", "pooling": "mlp"}, MODALITIES, None),
    ({"missing_rate": 0.5, "fusion": "oall", "update": "serial"}, MODALITIES, None),
    ({"fusion": "ooll", "share_mpu": False, "share_modalities": False}, MODALITIES, None),
    (
        {"missing_rate": 0.5, "share_mpu": False, "share_modalities": False, "share_layers": False},
        MODALITIES,
        None,
    ),
]


@pytest.mark.parametrize(("changes", "modalities", "layers"), GRADIENTS)
def test_every_weight_gets_a_gradient(
    changes: Mapping[str, Any], modalities: Sequence[Modality], layers: int | None
) -> None:
    model = made(options_of(**changes), modalities, layers).train()
    clips: list[dict[Modality, int]] = [dict.fromkeys(MODALITIES, n) for n in (5, 8, 7, 4)]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        output = model(batch_of(clips, modalities, layers=layers))
    loss = (output.prediction - 1).square().mean() + sum(output.losses.values(), torch.zeros(()))
    torch.autograd.backward(loss)
    for name, weight in model.named_parameters():
        if name.endswith("project.0.bias"):  # a norm takes it away
            assert weight.grad is None, name
            continue
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert dead_by_design(name) or weight.grad.abs().sum() > 1e-12, name


def test_every_weight_is_in_one_group_with_its_rate_and_decay() -> None:
    model = made(options_of(missing_rate=0.5))
    groups = model.groups()
    grouped = [id(p) for group in groups for p in group.parameters]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())
    assert [(g.rate, g.weight_decay) for g in groups] == [(1.0, 1e-2), (0.1, None), (1.0, None)]
    assert [len(g.parameters) for g in groups[:2]] == [6, 4]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fusion", "ooll"),
        ("fusion", "oall"),
        ("update", "serial"),
        ("pooling", "average"),
        ("pooling", "mlp"),
        ("depth", 1),
        ("depth", 3),
        ("heads", 4),
        ("expansion", 3),
        ("missing_rate", 0.5),
    ],
)
def test_each_option_changes_the_scores(name: str, value: Any) -> None:
    assert not torch.allclose(
        made(options_of(**{name: value}))(batch_of()).prediction, made(TINY)(batch_of()).prediction
    )


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_learns_sixteen_clips_by_heart(rate: float) -> None:
    clips: list[dict[Modality, int]] = [dict.fromkeys(MODALITIES, 3 + k % 6) for k in range(16)]
    labels = torch.randn(16, generator=torch.Generator().manual_seed(0)).double()
    batch = replace(batch_of(clips), labels=labels)
    model = made(still(options_of(missing_rate=rate, width=8, head_width=32))).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        output = model(batch)
        loss = (output.prediction - labels).abs().mean()
        torch.autograd.backward(loss + sum(output.losses.values(), torch.zeros(())))
        optimizer.step()
    model.eval()
    assert (model(batch).prediction - labels).abs().mean() < 0.15


def test_state_goes_through_safetensors_however_weights_are_shared() -> None:
    for shared in (True, False):
        options = options_of(missing_rate=0.5, share_mpu=shared, share_layers=shared)
        model, other = made(options, seed=1), made(options, seed=2)
        other.load_state_dict(load(save(dict(model.state_dict()))))
        assert torch.equal(model(batch_of()).prediction, other(batch_of()).prediction)


def test_classes_are_told_apart_too() -> None:
    model = made(options_of(classes=3, missing_rate=0.5)).train()
    output = model(replace(batch_of(), labels=torch.tensor([0, 1, 2, 1, 0])))
    assert output.prediction.shape == (5, 3)
    assert output.losses["complete"] > 0


def test_width_is_a_multiple_of_heads() -> None:
    with pytest.raises(ValueError, match=r"width: 6 is not a multiple of heads \(4\)"):
        Options(width=6)


def test_views_of_one_pass_are_those_of_two() -> None:
    """Both views go through together; as nothing there looks across clips, that is all the same."""
    model = made(still(options_of(missing_rate=0.5))).train()
    found: list[View] = []
    see = model.see

    def watched(*given: Any) -> View:
        found.append(see(*given))
        return found[-1]

    model.see = watched  # type: ignore[assignment, method-assign]
    output = model(batch_of())
    complete = made(still(options_of(dlfr=True)))
    complete.load_state_dict(model.state_dict())
    torch.testing.assert_close(output.prediction, found[0].prediction[:5])
    torch.testing.assert_close(complete(batch_of()).prediction, found[0].prediction[5:])
    torch.testing.assert_close(model.eval()(batch_of()).prediction, found[0].prediction[:5])


def test_embedding_dropout_leaves_the_context_whole() -> None:
    """P10: only local features are dropped before the transformer."""
    torch.manual_seed(0)
    model = made(replace(still(options_of()), embedding_dropout=0.5)).train()
    given: list[Any] = []
    model.fusion.register_forward_pre_hook(lambda _, inputs: given.append(inputs))
    batch = batch_of()
    model(batch)
    H, G = given[0][:2]
    assert all((x.rows == 0).float().mean() > 0.3 for x in H)
    for place, m in enumerate(MODALITIES):
        X = Packed.of(batch.features[m], batch.masks[m])
        wanted = model.projections[m](model.encoders[m](X)[0])
        torch.testing.assert_close(G[:, place], wanted)
