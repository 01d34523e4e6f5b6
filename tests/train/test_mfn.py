"""MFN and Graph-MFN against slow literal versions, a clip and a step at a time; frames of several
modalities on common steps."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sedimental.cache.spec import MODALITIES, Modality
from sedimental.train.layers.aligned import aligned, common_steps
from sedimental.train.layers.packed import Packed
from sedimental.train.models import graph_mfn, mfn
from sedimental.train.models.shared.interface import Batch, InputShape

WIDTHS: Mapping[Modality, int] = {"text": 5, "audio": 4, "vision": 3}
LENGTHS: Mapping[Modality, Sequence[int]] = {
    "text": (3, 1, 0, 0),
    "audio": (7, 2, 4, 0),
    "vision": (1, 5, 3, 0),
}
SIZES = {"text_hidden": 4, "audio_hidden": 3, "vision_hidden": 2, "memory": 5, "inner": 6}
SUBSETS: list[tuple[Modality, ...]] = [MODALITIES, ("text", "vision"), ("audio",)]
every_subset = pytest.mark.parametrize("modalities", SUBSETS, ids="".join)


def clip(k: int) -> dict[Modality, Tensor]:
    random = torch.Generator().manual_seed(k)
    return {m: torch.randn(LENGTHS[m][k], WIDTHS[m], generator=random).double() for m in WIDTHS}


def batch_of(modalities: Sequence[Modality]) -> Batch:
    features, masks = {}, {}
    for m in modalities:
        features[m] = torch.full((4, 9, WIDTHS[m]), 1e3, dtype=torch.float64)
        masks[m] = torch.arange(9) < torch.tensor(LENGTHS[m]).unsqueeze(1)
        for k in range(4):
            features[m][k, : LENGTHS[m][k]] = clip(k)[m]
    return Batch(features, masks, torch.zeros(4), torch.arange(4))


def literal_steps(frames: Sequence[Tensor]) -> list[Tensor]:
    """Every step of one clip: the mean of the frames that share it."""
    n = next((len(x) for x in frames if len(x)), 0)
    found = []
    for x in frames:
        laid = torch.zeros(n, x.shape[1], dtype=x.dtype)
        for k in range(n if len(x) else 0):
            own = x[math.floor(k * len(x) / n) : math.ceil((k + 1) * len(x) / n)]
            laid[k] = own.sum(dim=0) / len(own)
        found.append(laid)
    return found


def test_modalities_lie_on_common_steps() -> None:
    batch = batch_of(MODALITIES)
    packed = [Packed.of(batch.features[m], batch.masks[m]) for m in MODALITIES]
    steps = common_steps(packed)
    assert steps.tolist() == [3, 1, 4, 0]
    laid = aligned(packed, steps)
    for k in range(4):
        wanted = literal_steps([clip(k)[m] for m in MODALITIES])
        for one, x in zip(laid, wanted, strict=True):
            torch.testing.assert_close(one.rows[one.clip == k], x)
    same = aligned([packed[1], packed[1]], packed[1].lengths)
    assert all(torch.equal(one.rows, packed[1].rows) for one in same)


def dense(net: Any, x: Tensor) -> Tensor:
    first, _, _, last = net
    inner = torch.stack([(w * x).sum() for w in first.weight]) + first.bias
    found: Tensor = torch.stack([(w * inner.clamp(min=0)).sum() for w in last.weight]) + last.bias
    return found


def graph(attention: Any, c: Mapping[Modality, Tensor]) -> Tensor:
    """The fusion graph, edge by edge."""
    v: dict[Any, Tensor] = {}
    for m, x in c.items():
        layer = attention.single[m]
        v[frozenset([m])] = (layer.weight @ x + layer.bias).clamp(min=0)
    w = [1 / (1 + math.exp(-s)) for s in dense(attention.efficacies, torch.cat([*v.values()]))]
    edge = 0
    for j in graph_mfn.vertices(tuple(c)):
        inputs = []
        for i in [s for s in graph_mfn.vertices(tuple(c)) if len(j) > 1 and set(s) < set(j)]:
            inputs.append(w[edge] * v[frozenset(i)])
            edge += 1
        if inputs:
            v[frozenset(j)] = dense(attention.several["_".join(j)], torch.cat(inputs))
    assert len(w) == {1: 1, 2: 2 + 3, 3: 6 + 6 + 7}[len(c)]
    last = [w[edge + k] * v[frozenset(i)] for k, i in enumerate(graph_mfn.vertices(tuple(c)))]
    return dense(attention.output, torch.cat(last))


def literal(model: Any, frames: Mapping[Modality, Tensor]) -> Tensor:
    """One clip, step by step, LSTM gate by gate."""
    net, sizes = model.fusion, {m: lstm.hidden_size for m, lstm in model.fusion.lstms.items()}
    h = {m: torch.zeros(n, dtype=torch.float64) for m, n in sizes.items()}
    c, u = dict(h), torch.zeros(SIZES["memory"], dtype=torch.float64)
    laid = dict(zip(frames, literal_steps(list(frames.values())), strict=True))
    for t in range(len(next(iter(laid.values())))):
        both = {}
        for m, lstm in net.lstms.items():
            of_input, of_state = lstm.weight_ih_l0, lstm.weight_hh_l0
            gates = of_input @ laid[m][t] + lstm.bias_ih_l0 + of_state @ h[m] + lstm.bias_hh_l0
            i, f, g, o = gates.chunk(4)
            new = torch.sigmoid(f) * c[m] + torch.sigmoid(i) * torch.tanh(g)
            both[m], c[m] = torch.cat([c[m], new]), new
            h[m] = torch.sigmoid(o) * torch.tanh(new)
        if isinstance(net.attention, graph_mfn.DynamicFusionGraph):
            seen = graph(net.attention, both)
        else:
            cells = torch.cat(list(both.values()))
            scores = dense(net.attention.scores, cells).exp()
            seen = len(cells) * cells * scores / scores.sum()
        kept, taken = dense(net.retain, seen).sigmoid(), dense(net.update, seen).sigmoid()
        u = kept * u + taken * dense(net.proposal, seen).tanh()
    first, head = model.post[0], model.head
    inner = (first.weight @ torch.cat([*h.values(), u]) + first.bias).clamp(min=0)
    score: Tensor = (head.weight @ inner + head.bias)[0]
    return score


@every_subset
@pytest.mark.parametrize("name", ["mfn", "graph_mfn"])
@torch.no_grad()
def test_it_is_the_literal_network(name: str, modalities: tuple[Modality, ...]) -> None:
    shapes = {m: InputShape(WIDTHS[m]) for m in modalities}
    model: nn.Module
    with torch.random.fork_rng():
        torch.manual_seed(1)
        if name == "mfn":
            model = mfn.MFN(mfn.Options(**SIZES), shapes).double().eval()
        else:
            model = graph_mfn.GraphMFN(graph_mfn.Options(**SIZES, vertex=4), shapes)
            model = model.double().eval()
    output = model(batch_of(modalities))
    for k in range(4):
        wanted = literal(model, {m: clip(k)[m] for m in modalities})
        torch.testing.assert_close(output.prediction[k], wanted)
    assert output.prediction.std() > 1e-3


@torch.no_grad()
def test_steps_are_words_where_inputs_are_aligned_with_them() -> None:
    """A word that one modality lacks is a step all the same, of zeros there."""
    shapes = {m: InputShape(WIDTHS[m], aligned=True) for m in MODALITIES}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = mfn.MFN(mfn.Options(**SIZES), shapes).double().eval()
    random = torch.Generator().manual_seed(5)
    features = {m: torch.randn(1, 4, WIDTHS[m], generator=random).double() for m in MODALITIES}
    masks = {m: torch.ones(1, 4, dtype=torch.bool) for m in MODALITIES}
    masks["audio"][0, 1] = False
    batch = Batch(features, masks, torch.zeros(1), torch.arange(1))
    shown: dict[Modality, Tensor] = {m: features[m][0].clone() for m in MODALITIES}
    shown["audio"][1] = 0
    torch.testing.assert_close(model(batch).prediction[0], literal(model, shown))
