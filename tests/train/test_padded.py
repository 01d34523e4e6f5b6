"""Each model against its plain padded form (tests/bench/padded): the same numbers and gradients."""

from collections.abc import Mapping

import pytest
import torch
from padded import PADDED
from torch import Tensor, nn

from sedimental.cache.spec import Modality
from sedimental.train.models import build, model_options
from sedimental.train.models.shared.hooks import Remembers, Training
from sedimental.train.models.shared.interface import Batch, FusionModel, InputShape, Output

WIDTHS: Mapping[Modality, int] = {"text": 24, "audio": 5, "vision": 20}
MOST: Mapping[Modality, int] = {"text": 12, "audio": 61, "vision": 43}
CLIPS = 16
TABLES: Mapping[str, dict[str, object]] = {
    "uegd": {"dropout": 0.0},
    "emt_dlfr": dict.fromkeys(
        [
            f"{part}_dropout"
            for part in ("embedding", "attention", "feedforward", "encoder", "head")
        ],
        0.0,
    ),
    "glomo": dict.fromkeys(
        ["dropout", "attention_dropout", "embedding_dropout", "fusion_dropout"], 0.0
    ),
    "sugrm": dict.fromkeys(
        [f"{part}_dropout" for part in ("output", "embed", "relu", "residual")], 0.0
    ),
    "mmml": {"preset": "frozen", "dropout": 0.0},
}


def model_of(name: str) -> FusionModel:
    shapes = {m: InputShape(width) for m, width in WIDTHS.items()}
    options = model_options(name, TABLES[name], None if name == "mmml" else "mosi")
    return build(name, options, shapes, torch.Generator().manual_seed(1))


def batch_of(dtype: torch.dtype, spare: int) -> Batch:
    """Clips of uneven lengths, one the longest, one short, one that nobody sees; `spare` frames
    of padding behind the longest."""
    generator = torch.Generator().manual_seed(2)
    features, masks = {}, {}
    for m, width in WIDTHS.items():
        lengths = torch.randint(3, MOST[m] + 1, (CLIPS,), generator=generator)
        lengths[0], lengths[1] = MOST[m], 3
        if m == "vision":
            lengths[2] = 0
        mask = torch.arange(MOST[m] + spare) < lengths.unsqueeze(1)
        x = torch.randn(*mask.shape, width, generator=generator, dtype=torch.float64)
        features[m], masks[m] = (x * mask.unsqueeze(2)).to(dtype), mask
    labels = torch.linspace(-3, 3, CLIPS, dtype=dtype)
    return Batch(features, masks, labels, torch.arange(CLIPS))


def gradients(model: FusionModel, output: Output, labels: Tensor) -> dict[str, Tensor]:
    assert isinstance(model, nn.Module)
    loss = nn.functional.l1_loss(output.prediction, labels)
    total = loss + sum(output.losses.values(), torch.zeros((), dtype=labels.dtype))
    model.zero_grad()
    total.backward()
    return {n: w.grad.clone() for n, w in model.named_parameters() if w.grad is not None}


@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
@pytest.mark.parametrize("spare", [0, 7])
@pytest.mark.parametrize("name", PADDED)
def test_real_frames_alone_give_the_padded_models_numbers(
    name: str, spare: int, dtype: torch.dtype, near: float
) -> None:
    model, batch = model_of(name), batch_of(dtype, spare)
    assert isinstance(model, nn.Module)
    model.to(dtype)
    plain = PADDED[name](model)
    if isinstance(model, Remembers):
        model.begin(Training(CLIPS, torch.arange(CLIPS), batch.labels, seed=0))
    if name == "glomo":  # noise of the gate's: the same for both
        torch.manual_seed(3)
    model.train()
    ours = model(batch)
    if name == "glomo":
        torch.manual_seed(3)
    theirs = plain.train()(batch)
    torch.testing.assert_close(ours.prediction, theirs.prediction, rtol=near, atol=near)
    for term, loss in theirs.losses.items():
        torch.testing.assert_close(ours.losses[term], loss, rtol=near, atol=near)
    own, other = (gradients(model, output, batch.labels) for output in (ours, theirs))
    assert own.keys() == other.keys()
    for weight, found in own.items():
        scale = max(1.0, float(found.abs().max()))
        torch.testing.assert_close(found / scale, other[weight] / scale, rtol=0, atol=5 * near)
    plain.eval()
    torch.testing.assert_close(
        model(batch).prediction, plain(batch).prediction, rtol=near, atol=near
    )
