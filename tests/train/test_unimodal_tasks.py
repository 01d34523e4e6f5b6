"""MLF-DNN, MTFN and MLMF: their scores clip by clip, and the loss of a corpus that annotates single
modalities, of one that does so in part, and of one that does not."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sedimental.cache.spec import MODALITIES, Modality
from sedimental.train.models import mlf_dnn, mlmf, mtfn
from sedimental.train.models.shared.interface import Batch, InputShape
from sedimental.train.models.shared.unimodal_tasks import UnimodalTasks

WIDTHS: Mapping[Modality, int] = {"text": 5, "audio": 4, "vision": 3}
SMALL: dict[str, Any] = {
    "text_width": 4,
    "audio_width": 3,
    "vision_width": 2,
    "depth": 2,
    "unimodal_hidden": 5,
}
KINDS: list[tuple[type[nn.Module], Any]] = [
    (mlf_dnn.MLFDNN, mlf_dnn.Options(hidden=6, fused=5, dropout=0.0)),
    (mtfn.MTFN, mtfn.Options(**SMALL, hidden=6, dropout=0.0)),
    (mlmf.MLMF, mlmf.Options(**SMALL, rank=3, fused=5, dropout=0.0)),
]
every_kind = pytest.mark.parametrize(("kind", "options"), KINDS, ids=["mlf_dnn", "mtfn", "mlmf"])


def batch_of(modalities: Sequence[Modality] = MODALITIES) -> Batch:
    """Four clips, the second without text."""
    random = torch.Generator().manual_seed(0)
    features, masks = {}, {}
    for m in modalities:
        features[m] = torch.randn(4, 6, WIDTHS[m], generator=random).double()
        lengths = torch.tensor([6, 0 if m == "text" else 3, 2, 4])
        masks[m] = torch.arange(6) < lengths.unsqueeze(1)
    labels = torch.tensor([1.0, -2.0, 0.5, 0.0], dtype=torch.float64)
    return Batch(features, masks, labels, torch.arange(4))


def made(kind: type[nn.Module], options: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return kind(options, {m: InputShape(WIDTHS[m]) for m in MODALITIES}).double()


def scored(tasks: UnimodalTasks, m: Modality, z: Tensor) -> float:
    """D_m of one clip, unit by unit."""
    head: Any = tasks.heads[m]
    first, last = head[0][0], head[1]
    inner = [max(0.0, float(w @ z + b)) for w, b in zip(first.weight, first.bias, strict=True)]
    weights = last.weight[0].tolist()
    return float(last.bias[0]) + math.fsum(w * x for w, x in zip(weights, inner, strict=True))


def literal(model: Any, batch: Batch, labels: Mapping[Modality, Sequence[float]]) -> list[float]:
    """Each modality's loss: the mean over the clips that have it and its label."""
    vectors, found = model(batch).representations, []
    for m in MODALITIES:
        there = [
            bool(mask.any()) and not math.isnan(y)
            for mask, y in zip(batch.masks[m], labels[m], strict=True)
        ]
        errors = [
            abs(scored(model.tasks, m, vectors[m][k]) - labels[m][k]) for k in range(4) if there[k]
        ]
        found.append(0.5 * sum(errors) / max(1, len(errors)))
    return found


@every_kind
@torch.no_grad()
def test_each_modality_learns_from_its_own_annotation(kind: type[nn.Module], options: Any) -> None:
    model, batch = made(kind, options), batch_of()
    nan = math.nan
    own = {"text": [1, 2, -1, 0.2], "audio": [nan, -1, 0, 1], "vision": [0.1, nan, nan, nan]}
    targets: dict[Modality, Tensor] = {
        m: torch.tensor(own[m], dtype=torch.float64) for m in MODALITIES
    }
    losses = model(replace(batch, targets=targets)).losses
    assert list(losses) == [f"unimodal_{m}" for m in MODALITIES]
    wanted = literal(model, batch, own)  # type: ignore[arg-type]
    assert [float(x) for x in losses.values()] == pytest.approx(wanted)


@every_kind
@torch.no_grad()
def test_without_annotations_the_label_of_the_clip_stands_in(
    kind: type[nn.Module], options: Any
) -> None:
    model, batch = made(kind, options), batch_of()
    wanted = literal(model, batch, dict.fromkeys(MODALITIES, batch.labels.tolist()))
    assert [float(x) for x in model(batch).losses.values()] == pytest.approx(wanted)
    assert not model.eval()(batch).losses


@torch.no_grad()
def test_the_fused_score_is_that_of_the_model_below() -> None:
    """Late fusion: a net over all z_m; the tensor: every product of [z_m; 1]; low rank: its sum."""
    for kind, options in KINDS:
        model, batch = made(kind, options).eval(), batch_of()
        output = model(batch)
        z = [output.representations[m] for m in MODALITIES]
        assert not z[0][1].any()  # no text
        for k in range(4):
            longer = [torch.cat([x[k], x.new_ones(1)]) for x in z]
            if kind is mlmf.MLMF:
                fused = model.fusion.bias.clone()
                for r in range(3):
                    products = [x @ f[r] for x, f in zip(longer, model.fusion.factors, strict=True)]
                    fused += products[0] * products[1] * products[2]
            else:
                tensor = torch.einsum("a,b,c->abc", *longer).flatten()
                together = torch.cat([x[k] for x in z]) if kind is mlf_dnn.MLFDNN else tensor
                fused = together
                for layer in model.post:
                    if isinstance(layer, nn.Linear):
                        fused = (layer.weight @ fused + layer.bias).clamp(min=0)
            wanted = model.head.weight[0] @ fused + model.head.bias[0]
            torch.testing.assert_close(output.prediction[k], wanted)


@every_kind
def test_classes_have_a_loss_a_modality_too(kind: type[nn.Module], options: Any) -> None:
    model = made(kind, replace(options, classes=3))
    output = model(replace(batch_of(), labels=torch.tensor([0, 1, 2, 0])))
    assert output.prediction.shape == (4, 3)
    assert all(loss > 0 for loss in output.losses.values())
