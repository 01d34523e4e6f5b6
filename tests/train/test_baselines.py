"""The classical baselines (but `mult`, which has a file): each idea against a slow literal version,
a clip at a time, and all of them learn."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sedimental.cache.spec import MODALITIES, Modality
from sedimental.config import load_config
from sedimental.train.models import ef_lstm, lf_dnn, lmf, tfn
from sedimental.train.models.shared.baseline import MeanSubnet, RecurrentSubnet
from sedimental.train.models.shared.interface import Batch, InputShape
from sedimental.train.run import train

MakeFeatures = Callable[..., Path]
Clip = Mapping[Modality, Tensor]
"""(frames, width) of each modality, real frames alone."""
WIDTHS: Mapping[Modality, int] = {"text": 5, "audio": 4, "vision": 3}
LENGTHS: Mapping[Modality, Sequence[int]] = {
    "text": (3, 1, 0, 7),
    "audio": (6, 2, 4, 0),
    "vision": (1, 5, 2, 3),
}
"""Of four clips; two of them lack a modality."""
SUBSETS: list[tuple[Modality, ...]] = [MODALITIES, ("text", "vision"), ("audio",), ("text",)]
SMALL: dict[str, Any] = {"text_width": 4, "audio_width": 3, "vision_width": 2, "depth": 2}

every_subset = pytest.mark.parametrize("modalities", SUBSETS, ids="".join)


def clips() -> list[Clip]:
    generator = torch.Generator().manual_seed(0)
    return [
        {
            m: torch.randn(LENGTHS[m][k], WIDTHS[m], generator=generator, dtype=torch.float64)
            for m in MODALITIES
        }
        for k in range(4)
    ]


def batch_of(found: Sequence[Clip], modalities: Sequence[Modality]) -> Batch:
    """Padded loudly, and with a gap before each clip's last frame."""
    features, masks = {}, {}
    for m in modalities:
        x = torch.full((len(found), 9, WIDTHS[m]), 1e3, dtype=torch.float64)
        mask = torch.zeros(len(found), 9, dtype=torch.bool)
        for k, clip in enumerate(found):
            n = len(clip[m])
            places = [*range(n - 1), n] if n else []
            x[k, places], mask[k, places] = clip[m], True
        features[m], masks[m] = x, mask
    return Batch(features, masks, torch.zeros(len(found)), torch.arange(len(found)))


def made(kind: type[nn.Module], options: Any, modalities: Sequence[Modality]) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return kind(options, {m: InputShape(WIDTHS[m]) for m in modalities}).double().eval()


def size(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def rectified(net: nn.Module, x: Tensor) -> Tensor:
    """Linear layers with ReLUs between, product by product; dropout sleeps."""
    for layer in net.children():
        if isinstance(layer, nn.Linear):
            x = torch.stack([(row * x).sum() for row in layer.weight]) + layer.bias
            x = x.clamp(min=0)
    return x


def decided(head: nn.Linear, fused: Tensor) -> Tensor:
    return (head.weight[0] * fused).sum() + head.bias[0]


def last_state(lstm: nn.LSTM, frames: Tensor) -> Tensor:
    """The LSTM of the textbooks, gate by gate, one frame after the other."""
    h = c = frames.new_zeros(lstm.hidden_size)
    weights = dict(lstm.named_parameters())
    of_input, of_state = weights["weight_ih_l0"], weights["weight_hh_l0"]
    bias = weights["bias_ih_l0"] + weights["bias_hh_l0"]
    for frame in frames:
        i, f, g, o = (of_input @ frame + of_state @ h + bias).chunk(4)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
    return h


def own_vector(subnet: nn.Module, frames: Tensor) -> Tensor:
    """What TFN and LMF make of one clip's frames of one modality."""
    if isinstance(subnet, RecurrentSubnet):
        there, start = len(frames) > 0, last_state(subnet.lstm, frames)
    else:
        assert isinstance(subnet, MeanSubnet)
        there = len(frames) > 0
        start = frames.sum(dim=0) / max(1, len(frames))
    return rectified(subnet.net, start) * there


# --- early and late fusion ----------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 4, 6, 11])
def test_resampling_is_the_mean_over_equal_parts_of_time(steps: int) -> None:
    batch = batch_of(clips(), MODALITIES)
    for m in MODALITIES:
        found = ef_lstm.resampled(batch.features[m], batch.masks[m], steps)
        for k, clip in enumerate(clips()):
            if not len(clip[m]):
                assert not found[k].any()
                continue
            # as many copies of each frame as there are steps: then every step has whole ones
            fine = clip[m].repeat_interleave(steps, dim=0)
            wanted = fine.view(steps, len(clip[m]), -1).mean(dim=1)
            torch.testing.assert_close(found[k], wanted)


def test_clips_of_that_length_are_left_as_they_are() -> None:
    batch = batch_of(clips(), ("audio",))
    found = ef_lstm.resampled(batch.features["audio"], batch.masks["audio"], 6)
    torch.testing.assert_close(found[0], clips()[0]["audio"])


@every_subset
def test_early_fusion_is_one_lstm_over_modalities_side_by_side(
    modalities: tuple[Modality, ...],
) -> None:
    model = made(ef_lstm.EFLSTM, ef_lstm.Options(steps=4, hidden=6), modalities)
    output = model(batch_of(clips(), modalities))
    assert set(output.representations) == {"fused"}
    for k, clip in enumerate(clips()):
        side_by_side = torch.zeros(4, sum(WIDTHS[m] for m in modalities), dtype=torch.float64)
        column = 0
        for m in modalities:
            if len(clip[m]):
                parts = clip[m].repeat_interleave(4, dim=0).view(4, len(clip[m]), -1)
                side_by_side[:, column : column + WIDTHS[m]] = parts.mean(dim=1)
            column += WIDTHS[m]
        wanted = decided(model.head, rectified(model.post, last_state(model.lstm, side_by_side)))
        torch.testing.assert_close(output.prediction[k], wanted)


@every_subset
def test_late_fusion_is_nets_of_mean_frames(modalities: tuple[Modality, ...]) -> None:
    model = made(lf_dnn.LFDNN, lf_dnn.Options(hidden=6, depth=2, fused=5), modalities)
    output = model(batch_of(clips(), modalities))
    for k, clip in enumerate(clips()):
        own = [own_vector(model.subnets[m], clip[m]) for m in modalities]
        wanted = decided(model.head, rectified(model.post, torch.cat(own)))
        torch.testing.assert_close(output.prediction[k], wanted)
        for m, vector in zip(modalities, own, strict=True):
            torch.testing.assert_close(output.representations[m][k], vector)


# --- tensor fusion ------------------------------------------------------------------------------


def vectors(widths: Sequence[int], batch: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(batch, w, generator=generator, dtype=torch.float64) for w in widths]


@pytest.mark.parametrize("widths", [(4, 3, 2), (4, 2), (3,)])
def test_the_fusion_tensor_has_every_product(widths: tuple[int, ...]) -> None:
    z = vectors(widths)
    found = tfn.fusion_tensor(z)
    assert found.shape == (3, math.prod(w + 1 for w in widths))
    for k in range(3):
        longer = [[*one[k].tolist(), 1.0] for one in z]
        for place, index in enumerate(product(*(range(w + 1) for w in widths))):
            wanted = math.prod(one[i] for one, i in zip(longer, index, strict=True))
            assert found[k, place].item() == pytest.approx(wanted)


def test_the_fusion_tensor_is_as_large_as_published() -> None:
    model = tfn.TFN(tfn.Options(), {m: InputShape(8) for m in MODALITIES})
    assert model.post[0].in_features == 129 * 33 * 33
    pair = tfn.TFN(tfn.Options(), {m: InputShape(8) for m in ("text", "audio")})
    assert pair.post[0].in_features == 129 * 33


def test_a_modality_that_is_not_there_leaves_the_products_of_the_others() -> None:
    text, audio = vectors((4, 3))
    found = tfn.fusion_tensor([text, torch.zeros(3, 2, dtype=torch.float64), audio])
    kept = found.view(3, 5, 3, 4)
    assert not kept[:, :, :2].any()
    torch.testing.assert_close(kept[:, :, 2].flatten(1), tfn.fusion_tensor([text, audio]))


@every_subset
def test_tensor_fusion_clip_by_clip(modalities: tuple[Modality, ...]) -> None:
    model = made(tfn.TFN, tfn.Options(**SMALL, hidden=6), modalities)
    output = model(batch_of(clips(), modalities))
    for k, clip in enumerate(clips()):
        own = [own_vector(model.subnets[m], clip[m]) for m in modalities]
        longer = [[*z, z.new_ones(())] for z in own]
        tensor = torch.stack([torch.stack(entry).prod() for entry in product(*longer)])
        wanted = decided(model.head, rectified(model.post, tensor))
        torch.testing.assert_close(output.prediction[k], wanted)
        for m, vector in zip(modalities, own, strict=True):
            torch.testing.assert_close(output.representations[m][k], vector)


# --- low-rank fusion ----------------------------------------------------------------------------


@pytest.mark.parametrize("widths", [(4, 3, 2), (4, 2), (3,)])
@pytest.mark.parametrize("rank", [1, 3])
def test_low_rank_fusion_is_a_linear_layer_over_the_whole_tensor(
    widths: tuple[int, ...], rank: int
) -> None:
    """Its weights, built entry by entry: a sum over ranks of products over modalities."""
    out, z = 5, vectors(widths)
    fusion = lmf.LowRankFusion(widths, out, rank).double()
    with torch.no_grad():
        for weight in fusion.parameters():
            weight.normal_(generator=torch.Generator().manual_seed(weight.numel()))
    factors = list(fusion.factors)
    weights = torch.zeros(out, math.prod(w + 1 for w in widths), dtype=torch.float64)
    for place, index in enumerate(product(*(range(w + 1) for w in widths))):
        for r in range(rank):
            entry = fusion.rank_weights[r].detach().clone()
            for factor, i in zip(factors, index, strict=True):
                entry = entry * factor[r, i].detach()
            weights[:, place] += entry
    wanted = tfn.fusion_tensor(z) @ weights.t() + fusion.bias
    torch.testing.assert_close(fusion(z), wanted)
    assert size(fusion) == rank * sum(w + 1 for w in widths) * out + rank + out


@every_subset
def test_low_rank_fusion_clip_by_clip(modalities: tuple[Modality, ...]) -> None:
    model = made(lmf.LMF, lmf.Options(**SMALL, rank=3, fused=5), modalities)
    output = model(batch_of(clips(), modalities))
    for k, clip in enumerate(clips()):
        own = [own_vector(model.subnets[m], clip[m]) for m in modalities]
        fused = model.fusion.bias.clone()
        for r in range(3):  # at first every rank has weight one
            entry = torch.ones(5, dtype=torch.float64)
            for z, factor in zip(own, model.fusion.factors, strict=True):
                entry = entry * (torch.cat([z, z.new_ones(1)]) @ factor[r])
            fused = fused + entry
        torch.testing.assert_close(output.representations["fused"][k], fused)
        torch.testing.assert_close(output.prediction[k], decided(model.head, fused))


# --- all of them --------------------------------------------------------------------------------

LEARNING = """
[train]
models = ["ef_lstm", "lf_dnn", "tfn", "lmf", "mult"]
seeds = [1]
epochs = 15
patience = 0
batch_size = 16
learning_rate = 3e-3
[train.ef_lstm]
steps = 10
hidden = 32
[train.tfn]
text_width = 16
audio_width = 8
vision_width = 8
hidden = 32
[train.mult]
width = 16
heads = 4
layers = 1
memory_layers = 1
"""


def test_every_baseline_learns(make_features: MakeFeatures) -> None:
    runs = train(load_config(make_features(LEARNING, clips=200)))
    assert [run.model for run in runs] == ["ef_lstm", "lf_dnn", "tfn", "lmf", "mult"]
    for run in runs:
        truth, answers = run.predictions.of("test")
        learnt, known = run.predictions.of("train")
        assert len(learnt) == len(known)
        floor = np.abs(truth - learnt.mean()).mean()
        assert np.abs(truth - answers).mean() < 0.6 * floor, run.model
        assert run.metrics["test"]["Corr"] > 0.8, run.model
