"""SUGRM against its paper: sizes, and each equation against a slow, literal version in numpy."""

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
from sedimental.cache.runs import read_run
from sedimental.cache.runs.names import find_folders
from sedimental.cache.spec import MODALITIES, FeatureSpec, Modality
from sedimental.cache.store.writer import ClipFeatures, StoreWriter
from sedimental.config import Config
from sedimental.train.fit import checkpoint
from sedimental.train.layers.packed import Packed
from sedimental.train.layers.transformer import sinusoids
from sedimental.train.layers.window_attention import windows
from sedimental.train.models.shared.hooks import Training
from sedimental.train.models.shared.interface import Batch, InputShape
from sedimental.train.models.sugrm.label_generator import (
    QUANTILES,
    LabelMemory,
    averaged,
    extremes,
    self_mm_labels,
    sugrm_labels,
)
from sedimental.train.models.sugrm.model import PRESETS, RECIPES, SUGRM, Options
from sedimental.train.models.sugrm.sparse_phased_transformer import (
    SparsePhasedTransformer,
)
from sedimental.train.run import train

Array = NDArray[np.float64]
Clips = Sequence[Mapping[Modality, Array]]

WIDTHS: dict[Modality, int] = {"text": 6, "audio": 5, "vision": 3}  # odd widths have a last zero
MOSI = {"text": 768, "audio": 5, "vision": 20}
MOSEI = {"text": 768, "audio": 74, "vision": 35}
TINY = Options(
    width=8, heads=2, rounds=3, stride=3, input_window=5, cross_window=4, self_window=3, reduction=1
)
SHAPES = {m: InputShape(size) for m, size in WIDTHS.items()}
CIRCLE = (("audio", "text"), ("text", "vision"), ("vision", "audio"))


def made(
    options: Options = TINY,
    modalities: Sequence[Modality] = MODALITIES,
    seed: int = 0,
    layers: int | None = None,
) -> SUGRM:
    """In float64, every weight moved away from its special first value (0 or 1)."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = SUGRM(options, {m: InputShape(WIDTHS[m], layers) for m in modalities}).double()
        for weight in model.parameters():
            weight.data += 0.1 * torch.randn_like(weight)
    return model


def some_clips(lengths: Sequence[int], modalities: Sequence[Modality] = MODALITIES) -> Clips:
    """Clip k has lengths[k] frames of text and a few more of the others."""
    random = np.random.default_rng(7)
    more = {"text": 0, "audio": 4, "vision": 2}
    return [
        {m: random.standard_normal((n + more[m] if n else 0, WIDTHS[m])) for m in modalities}
        for n in lengths
    ]


def padded(clips: Clips, extra: int = 0, padding: float = 0.0) -> Batch:
    features, masks = {}, {}
    for m in clips[0]:
        longest = max(1, *(len(c[m]) for c in clips)) + extra
        x = torch.full((len(clips), longest, WIDTHS[m]), padding, dtype=torch.float64)
        mask = torch.zeros(len(clips), longest, dtype=torch.bool)
        for k, c in enumerate(clips):
            x[k, : len(c[m])] = torch.from_numpy(c[m])
            mask[k, : len(c[m])] = True
        features[m], masks[m] = x, mask
    labels = torch.linspace(-3, 2.2, len(clips), dtype=torch.float64)
    return Batch(features, masks, labels, torch.arange(len(clips)))


def size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


SPARE_NORMS = 3 * 64
"""Weights of norms that the released self-attention counts and never uses (P2): ours has none."""


def test_self_attention_has_one_norm() -> None:
    """P2: trained, queries and keys are normed alike."""
    names = [name for name, _ in SUGRM(TINY, SHAPES).sequence.refining.named_parameters()]  # type: ignore[union-attr]
    assert sorted({name.partition(".")[0] for name in names if "norm" in name}) == [
        "norm_inner",
        "norm_query",
    ]


def test_input_attention_starts_as_one_matrix() -> None:
    """P3: query, key and value weights of a modality are one Glorot matrix (w + 2 d, w)."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = SUGRM(Options(), {m: InputShape(MOSI[m]) for m in MODALITIES})
    reading: Any = model.sequence.reading
    for place, m in enumerate(MODALITIES):
        bound = np.sqrt(6 / (2 * 32 + 2 * MOSI[m]))
        for weight in (reading.query.weight[place], reading.frames[m].weight):
            assert weight.abs().max() <= bound
            assert weight.std().item() == pytest.approx(bound / np.sqrt(3), rel=0.06)


def test_sizes_are_the_papers() -> None:
    """Trainable weights without the text encoder; for CMU-MOSI also part by part."""
    mosi = SUGRM(PRESETS["mosi"], {m: InputShape(MOSI[m]) for m in MODALITIES})
    assert size(mosi) + SPARE_NORMS == 486_721
    assert mosi.recalibration is not None
    assert size(mosi.recalibration) == 315_019
    assert size(mosi.sequence) + SPARE_NORMS == 161_074
    assert size(mosi.fusion) + size(mosi.heads) == 10_628
    mosei = SUGRM(PRESETS["mosei"], {m: InputShape(MOSEI[m]) for m in MODALITIES})
    assert size(mosei) + SPARE_NORMS == 562_468
    wide = SUGRM(Options(), {m: InputShape(1024) for m in MODALITIES})
    assert wide.recalibration is not None
    assert size(wide.recalibration) == 4_722_432
    slim = SUGRM(Options(project=64), {m: InputShape(1024) for m in MODALITIES})
    assert size(slim.projections) == 3 * (1024 * 64 + 64)
    assert size(slim) + SPARE_NORMS == 347_508


def test_weighted_inputs_add_a_number_a_layer() -> None:
    assert size(made(layers=4)) == size(made()) + 12


def of(module: nn.Module, name: str) -> Array:
    found: Array = module.state_dict()[name].numpy()
    return found


def linear(layer: nn.Module, x: Array) -> Array:
    return of(layer, "weight") @ x + of(layer, "bias")


def norm(x: Array, weight: Array, bias: Array) -> Array:
    found: Array = (x - x.mean()) / np.sqrt(x.var() + 1e-5) * weight + bias
    return found


def position(place: int, width: int) -> Array:
    """Vector of the place, counted from 0; places count from 1 within."""
    half, vector = width // 2, np.zeros(width)
    for j in range(half):
        angle = (place + 1) / 10_000 ** (j / max(half - 1, 1))
        vector[j], vector[half + j] = np.sin(angle), np.cos(angle)
    return vector


def grouped(layer: nn.Module, group: int, x: Array, part: slice = slice(None)) -> Array:
    found: Array = x @ of(layer, "weight")[group][:, part] + of(layer, "bias")[group, 0, part]
    return found


def grouped_norm(layer: nn.Module, group: int, x: Array) -> Array:
    return norm(x, of(layer, "weight")[group, 0], of(layer, "bias")[group, 0])


def look(query: Array, keys: list[Array], values: list[Array], heads: int) -> Array:
    found = []
    for q, ks, vs in zip(
        np.split(query, heads),
        zip(*(np.split(k, heads) for k in keys), strict=True),
        zip(*(np.split(v, heads) for v in values), strict=True),
        strict=True,
    ):
        energy = np.array([q @ k for k in ks]) / np.sqrt(len(q))
        share = np.exp(energy) / np.exp(energy).sum()
        found.append(sum(s * v for s, v in zip(share, vs, strict=True)))
    return np.concatenate(found)


def finish(layer: Any, group: int, x: Array, found: Array) -> Array:
    x = x + grouped(layer.out, group, found)
    inner = np.maximum(0, grouped(layer.ff_in, group, grouped_norm(layer.norm_inner, group, x)))
    return x + grouped(layer.ff_out, group, inner)


def seen(i: int, stride: int, window: int, shift: int, length: int) -> list[int]:
    return [((i + 1) * stride - window + shift + k) % length for k in range(window)]


def literal_spt(
    spt: SparsePhasedTransformer,
    frames: Mapping[Modality, Array],
    places: Mapping[Modality, Sequence[int]],
    o: Options,
) -> dict[Modality, Array]:
    """IA, CA, SA, `rounds` times; a modality without frames is left out of the answer."""
    scale, w, names = np.sqrt(o.width), o.width, list(frames)
    there = [m for m in names if len(frames[m])]
    embedded = {
        m: [scale * f + position(p, len(f)) for f, p in zip(frames[m], places[m], strict=True)]
        for m in there
    }
    x = {
        m: [
            scale * of(spt, "hidden")[names.index(m)] + position(i, w)
            for i in range(-(-len(frames[m]) // o.stride))
        ]
        for m in there
    }
    ia: Any = spt.reading
    ca: Any = spt.crossing
    sa: Any = spt.refining
    for shift in range(o.rounds):
        after: dict[Modality, list[Array]] = {m: [] for m in there}
        for m in there:  # input attention, without a shift
            g = names.index(m)
            kv = [
                linear(ia.frames[m], norm(f, of(ia.norm_frames[m], "weight"),
                                          of(ia.norm_frames[m], "bias")))
                for f in embedded[m]
            ]  # fmt: skip
            for i, h in enumerate(x[m]):
                q = grouped(ia.query, g, grouped_norm(ia.norm_query, g, h))
                keys = seen(i, o.stride, o.input_window, 0, len(kv))
                found = look(q, [kv[j][:w] for j in keys], [kv[j][w:] for j in keys], o.heads)
                after[m].append(finish(ia, g, h, found))
        x, after = after, {m: [] for m in there}
        pairs = [(a, b) for a, b in CIRCLE if a in names and b in names]
        for m in there:  # cross attention
            for i, h in enumerate(x[m]):
                total, partners = np.zeros(w), 0
                for g, pair in enumerate(pairs):
                    if m not in pair or (other := pair[m == pair[0]]) not in there:
                        continue
                    q_part, k_part = slice(0, w), slice(w, 2 * w)
                    if m == pair[1]:  # the second direction: the two projections change places
                        q_part, k_part = k_part, q_part
                    q = grouped(ca.project, g, grouped_norm(ca.norm_query, g, h), q_part)
                    keys = seen(i, 1, o.cross_window, shift, len(x[other]))
                    normed = [grouped_norm(ca.norm_key, g, x[other][j]) for j in keys]
                    ks = [grouped(ca.project, g, n, k_part) for n in normed]
                    vs = [grouped(ca.project, g, n, slice(2 * w, 3 * w)) for n in normed]
                    total = total + finish(ca, g, h, look(q, ks, vs, o.heads))
                    partners += 1
                after[m].append(total if partners else h)
        x, after = after, {m: [] for m in there}
        for m in there:  # self attention
            g = names.index(m)
            for i, h in enumerate(x[m]):
                q = grouped(sa.project, g, grouped_norm(sa.norm_query, g, h), slice(0, w))
                keys = seen(i, 1, o.self_window, shift, len(x[m]))
                normed = [grouped_norm(sa.norm_query, g, x[m][j]) for j in keys]  # P2: one norm
                ks = [grouped(sa.project, g, n, slice(w, 2 * w)) for n in normed]
                vs = [grouped(sa.project, g, n, slice(2 * w, 3 * w)) for n in normed]
                after[m].append(finish(sa, g, h, look(q, ks, vs, o.heads)))
        x = after
    last = of(spt.norm, "weight"), of(spt.norm, "bias")
    return {m: norm(x[m][-1], *last) for m in there}


def literal_head(head: Any, x: Array) -> tuple[Array, float]:
    hidden = np.maximum(0, linear(head.space[0], x))
    feature = linear(head.space[3], hidden)
    return feature, float(linear(head.score, feature)[0])


def literal_sugrm(
    model: SUGRM, frames: Mapping[Modality, Array], places: Mapping[Modality, Sequence[int]]
) -> tuple[float, dict[Modality, float]]:
    o, names = model.options, list(frames)
    if model.recalibration is not None:
        means = [frames[m].mean(0) if len(frames[m]) else np.zeros(WIDTHS[m]) for m in names]
        z = np.maximum(0, linear(model.recalibration.squeeze, np.concatenate(means)))
        gates = {m: 2 / (1 + np.exp(-linear(model.recalibration.excite[m], z))) for m in names}
        frames = {m: frames[m] * gates[m] for m in names}
    assert isinstance(model.sequence, SparsePhasedTransformer)
    vectors = literal_spt(model.sequence, frames, places, o)
    whole = [vectors.get(m, np.zeros(o.width)) for m in names]
    _, score = literal_head(model.fusion, np.concatenate(whole))
    return score, {
        m: literal_head(model.heads[m], v)[1]
        for m, v in zip(names, whole, strict=True)
        if m in model.tasks
    }


@pytest.mark.parametrize("recalibrate", [True, False])
@pytest.mark.parametrize("modalities", [MODALITIES, ("text", "vision"), ("audio",)])
def test_a_clip_goes_through_recalibration_spt_and_heads(
    modalities: tuple[Modality, ...], recalibrate: bool
) -> None:
    model = made(replace(TINY, recalibrate=recalibrate), modalities).eval()
    clips = [dict(c) for c in some_clips([11, 4, 1, 7, 3], modalities)]
    clips[1][modalities[0]] = clips[1][modalities[0]][:0]  # a clip that lacks a modality
    clips[2] = {m: x[: 1 if m == modalities[-1] else 0] for m, x in clips[2].items()}  # but one
    places = [{m: list(range(len(c[m]))) for m in modalities} for c in clips]
    batch = padded(clips, extra=2, padding=1e4)
    hole = modalities[-1]  # frames that are not real inside a clip
    batch.masks[hole][3, [0, 2]] = False
    places[3][hole] = [p for p in places[3][hole] if p not in (0, 2)]
    clips[3][hole] = clips[3][hole][places[3][hole]]
    output = model(batch)
    for k, clip in enumerate(clips):
        score, scores = literal_sugrm(model, clip, places[k])
        assert output.prediction[k].item() == pytest.approx(score, abs=1e-9)
        for m in modalities:
            assert output.extras[f"score_{m}"][k].item() == pytest.approx(scores[m], abs=1e-9)


def test_windows_follow_the_rule_and_wrap() -> None:
    first = windows(torch.tensor([0]), torch.tensor([50]), 17, 5, 0)[:, 0]
    assert first.tolist() == [*range(38, 50), 0, 1, 2, 3, 4]  # reads the clip's end
    for length in (1, 2, 7, 75):
        for stride, window, shift in ((5, 17, 0), (1, 9, 2), (1, 7, 3)):
            number = torch.arange(20)
            rows = windows(number, torch.full((20,), length), window, stride, shift)
            for i in range(20):
                assert rows[:, i].tolist() == seen(i, stride, window, shift, length)


def test_positions_of_any_width() -> None:
    for width in (1, 2, 3, 5, 8):
        table = sinusoids(torch.arange(1, 5).double(), width).numpy()
        np.testing.assert_allclose(table, [position(p, width) for p in range(4)], atol=1e-12)


def literal_label(
    y: float, fusion: Array, own: Array, centres: Sequence[Array], limit: float
) -> float:
    positive, negative, top, bottom = centres
    largest = float(np.linalg.norm(top - bottom))
    distance = min(float(np.linalg.norm(fusion - own)), largest)
    offset = distance / largest * 2 * limit
    ratio = np.linalg.norm(own - positive) / np.linalg.norm(own - negative)
    fused = np.linalg.norm(fusion - positive) / np.linalg.norm(fusion - negative)
    sign = 1 if ratio < fused else -1 if ratio > fused else 0
    return max(-limit, min(limit, y + sign * offset))


def literal_self_mm(
    y: float, fusion: Array, own: Array, centres: Sequence[Sequence[Array]], limit: float
) -> float:
    delta = []
    for x, (positive, negative) in zip((fusion, own), centres, strict=True):
        near, far = np.linalg.norm(x - positive), np.linalg.norm(x - negative)
        delta.append((far - near) / near)
    alpha = delta[1] / delta[0]
    label = 0.5 * alpha * y + 0.5 * (y + delta[1] - delta[0])
    return float(max(-limit, min(limit, label)))  # type: ignore[arg-type]


def tensors(*arrays: Array) -> list[torch.Tensor]:
    return [torch.from_numpy(array) for array in arrays]


def test_offset_direction_and_bounds_of_a_label() -> None:
    random = np.random.default_rng(0)
    y = random.uniform(-3, 3, 40)
    fusion, own = random.standard_normal((40, 5)), random.standard_normal((2, 40, 5))
    own[0, :4] = fusion[:4]  # no distance, no direction
    own[1] *= 0.2  # some nearer than D_max, some farther
    centres = random.standard_normal((4, 5))
    got = sugrm_labels(*tensors(y, fusion, own, centres), torch.tensor(3.0))  # type: ignore[call-arg]
    wanted = [
        [literal_label(y[k], fusion[k], own[s, k], list(centres), 3.0) for k in range(40)]
        for s in range(2)
    ]
    np.testing.assert_allclose(got.numpy(), wanted, atol=1e-12)
    assert np.abs(got.numpy()).max() == 3
    np.testing.assert_array_equal(got.numpy()[0, :4], y[:4])


def test_extremes_in_one_point_leave_the_label() -> None:
    x = torch.ones(3, 2)
    centres = torch.tensor([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [2.0, 2.0]])
    labels = sugrm_labels(torch.tensor([-1.0, 0.0, 2.0]), x, -x[None], centres, torch.tensor(3.0))
    assert labels.tolist() == [[-1, 0, 2]]


def test_self_mm_label() -> None:
    random = np.random.default_rng(1)
    y = random.uniform(-1, 1, 20)
    fusion, own = random.standard_normal((20, 4)), random.standard_normal((3, 20, 4))
    centres = random.standard_normal((4, 2, 4))
    got = self_mm_labels(*map(torch.from_numpy, (y, fusion, own, centres)), torch.tensor(1.0))  # type: ignore[call-arg]
    for s in range(3):
        pair = [list(centres[0]), list(centres[1 + s])]
        wanted = [literal_self_mm(y[k], fusion[k], own[s, k], pair, 1.0) for k in range(20)]
        np.testing.assert_allclose(got[s].numpy(), wanted, atol=1e-10)


def test_extremes_are_exact_labels_or_the_outer_tenths() -> None:
    limit, top, bottom = extremes(torch.tensor([-1.0, 1.0, 0.4, 1.0, -0.8]))
    assert limit == 1
    assert top.tolist() == [False, True, False, True, False]
    assert bottom.tolist() == [True, False, False, False, False]
    labels = torch.linspace(-2.5, 3, 41)  # nobody says -3
    limit, top, bottom = extremes(labels)
    assert limit == 3
    assert top.nonzero().flatten().tolist() == [36, 37, 38, 39, 40]
    assert bottom.nonzero().flatten().tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("generator", ["sugrm", "self_mm"])
@pytest.mark.parametrize("exact", [True, False])
def test_labels_of_whole_epochs(generator: str, exact: bool) -> None:
    """Update scheme: y_m in epoch 1, then running means; centres are those of the last step."""
    random = np.random.default_rng(2)
    table, clips, tasks = 14, [1, 2, 4, 5, 6, 8, 9, 11, 12, 13], ("text", "vision")
    y = dict(zip(clips, random.integers(-20, 21, 10) / 10, strict=True))
    y[1], y[2], y[9] = (2.0, -2.0, 2.0) if exact else (2.0, -1.9, 0.0)
    memory = LabelMemory(tasks, 3, generator).double()  # type: ignore[arg-type]
    memory.begin(
        Training(
            table, torch.tensor(clips), torch.tensor([y[c] for c in clips], dtype=torch.float64), 0
        )
    )
    assert not memory.labels[:, [0, 3, 7, 10]].isfinite().any()
    limit = 2.0
    ordered = sorted(y.values())
    low, high = np.quantile(ordered, [0.1, 0.9])
    top = [c for c in clips if (y[c] == limit if exact else y[c] >= high)]
    bottom = [c for c in clips if (y[c] == -limit if exact else y[c] <= low)]
    positive, negative = [c for c in clips if y[c] >= 0], [c for c in clips if y[c] < 0]
    labels = {(s, c): float(y[c]) for s in range(2) for c in clips}
    bank = {(f, c): np.zeros(3) for f in range(3) for c in clips}

    def mean(feature: int, group: list[int]) -> Array:
        return np.asarray(np.mean([bank[feature, c] for c in group], axis=0))

    for epoch in range(1, 5):
        for part in np.split(random.permutation(clips), [4, 7]):
            features = random.standard_normal((3, len(part), 3))
            known = random.uniform(size=(2, len(part))) < 0.8
            memory.after_step(
                torch.from_numpy(part), torch.from_numpy(features), torch.from_numpy(known), epoch
            )
            fused = [mean(0, g) for g in (positive, negative, top, bottom)]
            for s in range(2):  # P1: Self-MM splits a task's clips by the task's own labels
                split = (
                    [c for c in clips if labels[s, c] >= 0],
                    [c for c in clips if labels[s, c] < 0],
                )
                pair = [fused[:2], [mean(1 + s, group) for group in split]]
                for k, clip in enumerate(part):
                    if epoch == 1 or not known[s, k]:
                        continue
                    own = features[1 + s, k]
                    new = (
                        literal_label(y[clip], features[0, k], own, fused, limit)
                        if generator == "sugrm"
                        else literal_self_mm(y[clip], features[0, k], own, pair, limit)
                    )
                    old = labels[s, clip]
                    labels[s, clip] = (epoch - 1) / (epoch + 1) * old + 2 / (epoch + 1) * new
            bank |= {(f, c): features[f, k] for f in range(3) for k, c in enumerate(part)}
        wanted = [[labels[s, c] for c in clips] for s in range(2)]
        np.testing.assert_allclose(memory.labels[:, clips].numpy(), wanted, atol=1e-10)
        assert memory.labels[:, clips].abs().max() <= limit
        for s, task in enumerate(tasks):
            rows = memory.trajectory()[task]  # type: ignore[index]
            assert rows.shape == (epoch, len(QUANTILES))
            np.testing.assert_allclose(rows[-1], np.quantile(wanted[s], QUANTILES), atol=1e-10)
            np.testing.assert_allclose(rows[0], np.quantile(ordered, QUANTILES), atol=1e-10)


def test_clips_of_one_sign_keep_their_labels() -> None:
    for generator in ("sugrm", "self_mm"):
        memory = LabelMemory(("audio",), 2, generator)
        index, labels = torch.arange(4), torch.tensor([0.0, 1.0, 2.0, 3.0])
        memory.begin(Training(4, index, labels, 0))
        for epoch in (1, 2, 3):
            features, known = torch.randn(2, 4, 2), torch.ones(1, 4, dtype=torch.bool)
            memory.after_step(index, features, known, epoch)
        assert memory.of(index).tolist() == [labels.tolist()]


def test_the_first_average_is_a_third_of_the_truth() -> None:
    assert averaged(torch.tensor(3.0), torch.tensor(0.0), 2) == 1
    assert averaged(torch.tensor(3.0), torch.tensor(0.0), 3) == 1.5


def trained(model: SUGRM, batch: Batch, epochs: int) -> SUGRM:
    """`model` after as many epochs of one batch each, without a step of its weights."""
    model.begin(Training(batch.size, batch.index, batch.labels, 0))
    for epoch in range(1, epochs + 1):
        model.after_step(batch, model.train()(batch), epoch)
    return model


@pytest.mark.parametrize("name", ["l1", "l2", "huber"])
def test_the_objective_weighs_by_how_far_labels_moved(name: str) -> None:
    batch = padded(some_clips([5, 3, 0, 8, 2, 9]))
    still = replace(
        TINY,
        unimodal_loss=name,  # type: ignore[arg-type]
        output_dropout=0,
        embed_dropout=0,
        relu_dropout=0,
        residual_dropout=0,
    )
    model = trained(made(still), batch, epochs=3)
    output = model(batch)
    for m in MODALITIES:
        scores, labels = output.extras[f"score_{m}"].tolist(), output.extras[f"label_{m}"].tolist()
        total = 0.0
        for k, (score, y_s, y_m) in enumerate(
            zip(scores, labels, batch.labels.tolist(), strict=True)
        ):
            far = abs(score - y_s)
            distance = {
                "l1": far,
                "l2": far**2,
                "huber": 0.5 * far**2 if far < 1 else far - 0.5,
            }[name]
            total += np.tanh(abs(y_s - y_m)) * distance * (k != 2)  # clip 2 has no frames
        assert output.losses[f"unimodal_{m}"].item() == pytest.approx(total / 6)
        assert total > 0
        assert labels[2] == batch.labels[2]


def test_unimodal_heads_wait_until_the_third_epoch() -> None:
    batch = padded(some_clips([5, 3, 8, 2, 9, 4]))
    for epochs, any_loss in ((0, False), (1, False), (2, True)):  # what the next epoch sees
        output = trained(made(), batch, epochs).train()(batch)
        assert list(output.losses) == ["unimodal_text", "unimodal_audio", "unimodal_vision"]
        assert all((term > 0) == any_loss for term in output.losses.values())


def test_labels_may_move_later_than_in_the_paper() -> None:
    batch = padded(some_clips([5, 3, 8, 2, 9, 4]))
    for epochs, moved in ((3, False), (4, True)):
        model = trained(made(replace(TINY, labels_from=4)), batch, epochs)
        assert torch.equal(model.memory.labels, batch.labels.expand(3, -1)) != moved
        assert model.outputs()["label_quantiles_text"].shape == (epochs, 5)


def test_any_subset_of_unimodal_tasks() -> None:
    """Table 3: M alone, M and some, M with all three."""
    batch = padded(some_clips([5, 3, 8, 2]))
    for tasks in ((), ("audio",), ("vision", "text")):
        model = trained(made(replace(TINY, unimodal_tasks=tasks)), batch, 2)
        output = model(batch)
        assert set(output.losses) == {f"unimodal_{m}" for m in tasks}
        assert set(model.heads) == set(tasks)
        assert set(model.outputs()) == {f"label_quantiles_{m}" for m in tasks}
    text_only = made(replace(TINY, unimodal_tasks=("text", "audio")), ("text",))
    assert text_only.tasks == ("text",)


def test_scoring_has_no_losses_and_tells_scores_and_labels() -> None:
    batch = padded(some_clips([5, 3, 8, 2, 6]))
    model = made()
    before = model.eval()(batch)
    assert not before.losses
    assert set(before.extras) == {f"score_{m}" for m in MODALITIES}
    model.begin(Training(9, torch.tensor([0, 1, 2]), batch.labels[:3], 0))
    after = model.eval()(batch)
    assert not after.losses
    assert torch.equal(after.prediction, before.prediction)
    assert after.extras["label_text"][:3].tolist() == batch.labels[:3].tolist()
    assert after.extras["label_text"][3:].isnan().all()
    assert "space" not in after.extras


VARIANTS = {
    "spt": TINY,
    "transformer": replace(TINY, sequence="transformer"),
    "lstm": replace(TINY, sequence="lstm"),
    "plain": replace(TINY, recalibrate=False),
    "project": replace(TINY, project=6),
    "self_mm": replace(TINY, labels="self_mm", attention_dropout=0.1),
}
every_variant = pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS.keys())


def one(batch: Batch, k: int) -> Batch:
    return Batch(
        {m: x[k : k + 1] for m, x in batch.features.items()},
        {m: x[k : k + 1] for m, x in batch.masks.items()},
        batch.labels[k : k + 1],
        batch.index[k : k + 1],
    )


@every_variant
def test_padding_neighbours_and_gaps_change_nothing(options: Options) -> None:
    model = made(options).eval()
    clips = [dict(c) for c in some_clips([9, 1, 0, 4])]
    clips[3]["audio"] = clips[3]["audio"][:0]
    batch = padded(clips)
    together = model(batch).prediction
    assert together.isfinite().all()
    loud = model(padded(clips, extra=11, padding=1e4)).prediction
    torch.testing.assert_close(together, loud, rtol=0, atol=1e-9)
    for k in range(4):
        alone = model(one(batch, k)).prediction
        torch.testing.assert_close(together[k : k + 1], alone, rtol=0, atol=1e-9)
    everything_missing = model(padded(some_clips([0, 0])))
    torch.testing.assert_close(everything_missing.prediction, together[2].expand(2))
    for m in MODALITIES:
        batch.masks[m][0, 1] = False
    quiet = model(batch).prediction
    for m in MODALITIES:
        batch.features[m][0, 1] = 1e4
    torch.testing.assert_close(model(batch).prediction, quiet, rtol=0, atol=1e-9)


@every_variant
@pytest.mark.parametrize("modalities", [MODALITIES, ("text", "audio"), ("vision",)])
def test_every_weight_learns(options: Options, modalities: tuple[Modality, ...]) -> None:
    batch = padded(some_clips([7, 4, 9, 6, 8, 5], modalities))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = trained(made(options, modalities), batch, 2)
        output = model.train()(batch)
    loss = (output.prediction - 1).square().mean() + sum(output.losses.values())
    torch.autograd.backward(loss)
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert weight.grad.abs().sum() > 0, name
    groups = model.groups()
    assert sorted(id(p) for g in groups for p in g.parameters) == sorted(
        id(p) for p in model.parameters()
    )
    assert [g.rate for g in groups] == [1.0, 0.5]
    assert {id(p) for p in groups[1].parameters} == {id(p) for p in model.sequence.parameters()}


@pytest.mark.parametrize("sequence", ["spt", "transformer", "lstm"])
def test_learns_sixteen_clips_by_heart(sequence: str) -> None:
    calm = replace(
        TINY,
        sequence=sequence,  # type: ignore[arg-type]
        rounds=1,
        width=16,
        output_dropout=0,
        embed_dropout=0,
        relu_dropout=0,
        residual_dropout=0,
    )
    batch = padded(some_clips([1 + k % 6 for k in range(16)]))
    noise = torch.randn(16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    batch, model = replace(batch, labels=noise), made(calm).train()
    model.begin(Training(16, batch.index, batch.labels, 0))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    error = torch.tensor(9.0)
    for step in range(400):
        output = model(batch)
        error = functional.l1_loss(output.prediction, batch.labels)
        if error < 0.1:
            break
        optimizer.zero_grad()
        torch.autograd.backward(error + sum(output.losses.values()))
        optimizer.step()
        model.after_step(batch, output, step + 1)
    assert error < 0.1


def test_the_ablations_take_away_what_they_name() -> None:
    """Table 4: other modalities reach a modality's score through MRM, SPT and TE."""
    batch = padded(some_clips([5, 3, 8, 2]))
    louder = replace(batch, features={**batch.features, "vision": 2 * batch.features["vision"]})

    def moved(options: Options) -> bool:
        model = made(options).eval()
        return not torch.allclose(
            model(batch).extras["score_text"], model(louder).extras["score_text"]
        )

    assert moved(TINY)
    assert moved(replace(TINY, recalibrate=False))
    assert moved(replace(TINY, sequence="lstm"))
    assert not moved(replace(TINY, recalibrate=False, sequence="lstm"))
    assert moved(replace(TINY, recalibrate=False, sequence="transformer"))  # MulT's, so crossmodal
    assert size(made()) - size(made(replace(TINY, recalibrate=False))) == 2 * (14 * 14 + 14)
    same = trained(made(), batch, 3), trained(made(replace(TINY, labels="self_mm")), batch, 3)
    assert size(same[0]) == size(same[1])
    assert not torch.allclose(same[0].memory.labels, same[1].memory.labels)


def test_scoring_repeats_and_training_does_not() -> None:
    model, batch = made(), padded(some_clips([5, 3]))
    model.eval()
    assert torch.equal(model(batch).prediction, model(batch).prediction)
    model.train()
    with torch.random.fork_rng():
        assert not torch.equal(model(batch).prediction, model(batch).prediction)


def test_weights_and_labels_go_through_a_file_into_a_fresh_model() -> None:
    batch = padded(some_clips([5, 3, 8, 2]))
    model = trained(made(), batch, 3)
    other = made(seed=1)
    other.load_state_dict(load(save({k: v.contiguous() for k, v in model.state_dict().items()})))
    assert other.state_dict().keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, rtol=0, atol=0, equal_nan=True)
    first, second = model.eval()(batch), other.eval()(batch)
    assert torch.equal(first.prediction, second.prediction)
    assert torch.equal(first.extras["label_text"], second.extras["label_text"])
    assert torch.equal(
        model.outputs()["label_quantiles_text"], other.outputs()["label_quantiles_text"]
    )
    other.after_step(batch, other.train()(batch), 4)  # and goes on from there
    assert other.outputs()["label_quantiles_audio"].shape == (4, 5)


def test_options_that_do_not_fit_together() -> None:
    with pytest.raises(ValueError, match="heads = 5 do not share width = 32"):
        Options(heads=5)
    with pytest.raises(ValueError, match="names a modality twice"):
        Options(unimodal_tasks=("text", "text"))
    assert PRESETS.keys() == RECIPES.keys()


def corpus(root: Path) -> list[Clip]:
    random = np.random.default_rng(0)
    clips = [
        Clip(
            id=f"v$_${k}",
            video_id="v",
            clip_id=str(k),
            split="train" if k < 20 else "valid" if k < 30 else "test",
            label=float(random.integers(-30, 31) / 10),
        )
        for k in range(40)
    ]
    folder = root / "features" / "toy"
    write_manifest(folder / "manifest.jsonl", Manifest("toy", root, tuple(clips)))
    settings: dict[Modality, dict[str, Any]] = {
        "text": {"max_length": 512},
        "audio": {"rate": 5.0, "pool": "stride"},
        "vision": {
            "fps": 3.0, "face_size": 256, "margin": 0, "no_face": "zero", "detect_size": 640
        },
    }  # fmt: skip
    for m in MODALITIES:
        spec = FeatureSpec(
            modality=m, encoder=f"tiny-{m}", source=f"maker/tiny-{m}", revision=None,
            weights="random:0", weights_digest="00", layers=("0", "1"), width=WIDTHS[m],
            preprocessing=settings[m],
        )  # fmt: skip
        features = []
        for clip in clips:
            n = int(random.integers(6, 14))
            values = random.normal(0, 1, (2, n, WIDTHS[m])).astype(np.float32)
            values[1] += clip.label or 0
            times, valid = np.arange(n, dtype=np.float32), np.arange(n) % 4 < 3
            if (m, clip.clip_id) != ("audio", "1"):
                features.append(ClipFeatures(clip.id, "s", values, times, times * 0 + 1, valid, {}))
        missing = {c.id: "decode: no stream" for c in clips if (m, c.clip_id) == ("audio", "1")}
        writer = StoreWriter.create(folder, spec, "zarr")
        writer.add(features)
        writer.finish({c.id: "s" for c in clips}, missing)
    return clips


class Stop:
    """Progress that interrupts after some epochs."""

    def __init__(self, after: int) -> None:
        self.left = after

    def start(self, task: str, total: int, unit: str = "clip") -> None: ...

    def note(self, message: str) -> None: ...

    def advance(self, task: str, by: int = 1) -> None:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def config_of(root: Path, runs: str) -> Config:
    inputs = {m: {"encoder": f"tiny-{m}", "layers": 1} for m in MODALITIES}
    inputs["audio"]["layers"] = "weighted"
    table = {
        "width": 8, "heads": 2, "rounds": 2, "learning_rate": 5e-3, "epochs": 6, "batch_size": 8,
        "accumulate": 2, "sequence_rate": 1.0,
    }  # fmt: skip
    return Config.model_validate(
        {
            "corpus": {"kind": "csv", "path": "toy.csv"},
            "cache": {"root": root / "features"},
            "runs": {"root": root / runs},
            "features": [{"modality": m, "encoder": f"tiny-{m}"} for m in MODALITIES],
            "train": {"models": ["sugrm"], "inputs": inputs, "seeds": [1], "sugrm": table},
        }
    )


def test_a_run_keeps_labels_and_resumes_to_the_same_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    clips = corpus(tmp_path)
    (whole,) = train(config_of(tmp_path, "whole"))
    assert [e.epoch for e in whole.history] == [1, 2, 3, 4, 5, 6]
    assert whole.history[-1].valid_loss < whole.history[0].valid_loss
    split = np.array([c.split for c in clips])
    for m in MODALITIES:
        labels = whole.outputs[f"label_{m}"]
        assert np.isfinite(labels[split == "train"]).all()
        assert np.isnan(labels[split != "train"]).all()
        assert whole.outputs[f"score_{m}"].shape == (40,)
        assert whole.outputs[f"label_quantiles_{m}"].shape == (whole.best_epoch, 5)
    truth = np.array([c.label for c in clips])
    assert whole.outputs["label_audio"][1] == pytest.approx(truth[1])  # it has no audio
    assert not np.allclose(whole.outputs["label_audio"][2:20], truth[2:20])
    assert whole.outputs["layers_audio"].sum() == pytest.approx(1)
    with pytest.raises(KeyboardInterrupt):
        train(config_of(tmp_path, "parts"), Stop(after=4))
    (resumed,) = train(config_of(tmp_path, "parts"))
    assert np.array_equal(resumed.predictions.values, whole.predictions.values)
    for name, values in whole.outputs.items():
        np.testing.assert_array_equal(resumed.outputs[name], values)
    again = read_run(*find_folders("sugrm-TAV/seed-1", tmp_path / "whole" / "toy"))
    np.testing.assert_array_equal(again.outputs["label_text"], whole.outputs["label_text"])


def test_te_sees_every_modality() -> None:
    """P8: Table 4's Transformer is MulT's: a score follows the frames of every modality."""
    model = made(replace(TINY, sequence="transformer")).eval()
    batch = padded(some_clips([5, 3, 8]))
    vectors = model.sequence({m: Packed.of(x, batch.masks[m]) for m, x in batch.features.items()})
    for m in MODALITIES:
        other = {n: x + (n == m) * x.flip(1) for n, x in batch.features.items()}
        changed = model.sequence({n: Packed.of(x, batch.masks[n]) for n, x in other.items()})
        assert ((changed - vectors).abs().amax(dim=(1, 2)) > 1e-6).all()
