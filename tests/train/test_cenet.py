"""CENet: the enhancement against a slow literal version, alone and inside a live text encoder."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from sedimental.cache.spec import Modality
from sedimental.config import Config
from sedimental.extract.finetune.find import live_input
from sedimental.progress import Silent
from sedimental.train.layers.packed import Packed
from sedimental.train.live_model import LiveModel
from sedimental.train.models import within_text
from sedimental.train.models.cenet import CENet, Enhancement, Options
from sedimental.train.models.shared.hooks import WithinText
from sedimental.train.models.shared.interface import InputShape
from sedimental.train.run import train as plain_train
from sedimental.train.session import TrainSession, built

MakeConfig = Callable[..., Config]

WIDTHS: Mapping[Modality, int] = {"audio": 3, "vision": 4}
LINES = {"live": "T", "train": 'models = ["cenet"]\ninput_scaling = "none"\n'}
STILL = "[train.cenet]\nenhancement_dropout = 0.0\ndropout = 0.0\ncodes = 5\n"


def affine(layer: Any, x: Tensor) -> Tensor:
    found: Tensor = layer.weight @ x
    return found if layer.bias is None else found + layer.bias


def literal(part: Any, words: Tensor, frames: Mapping[Modality, Tensor]) -> Tensor:
    """One clip: words (T, d), frames (T_m, width) -> (T, d)."""
    found = []
    for z in words:
        H = []
        for m, X in frames.items():
            q = affine(part.queries[m], z)
            S = [affine(part.tables[m], affine(part.choices[m], x).softmax(dim=0)) for x in X]
            scores = [float(q @ affine(part.keys[m], s)) / math.sqrt(len(z)) for s in S]
            total = sum(math.exp(s) for s in scores)
            seen = torch.zeros_like(z)
            for score, s in zip(scores, S, strict=True):
                seen = seen + math.exp(score) / total * affine(part.values[m], s)
            H.append(seen)
        found.append(z + affine(part.out, torch.cat(H)))
    return torch.stack(found)


def loud(part: Any) -> None:
    """Weights that begin at zero are drawn too."""
    generator = torch.Generator().manual_seed(3)
    for weight in part.out.parameters():
        weight.data.copy_(torch.randn(weight.shape, generator=generator))


@torch.no_grad()
def test_the_enhancement_is_the_literal_one() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        part = Enhancement(6, WIDTHS, codes=5, share=0.0).double()
    random = torch.Generator().manual_seed(2)
    words = torch.randn(2, 4, 6, generator=random).double()
    frames = {m: torch.randn(2, 5, n, generator=random).double() for m, n in WIDTHS.items()}
    masks = {"audio": [5, 2], "vision": [3, 0]}
    tokens = torch.ones(2, 4, dtype=torch.bool)
    packed: dict[Modality, Packed] = {
        m: Packed.of(x, torch.arange(5) < torch.tensor(masks[m]).unsqueeze(1))
        for m, x in frames.items()
    }
    same = part(Packed.of(words, tokens), packed).unpacked()
    assert torch.equal(same, words)  # at first it adds nothing
    loud(part)
    found = part(Packed.of(words, tokens), packed).unpacked()
    for k in range(2):
        own = {m: x[k, : masks[m][k]] for m, x in frames.items()}
        torch.testing.assert_close(found[k], literal(part, words[k], own))


def opened(config: Config) -> tuple[LiveModel, Any]:
    shop = TrainSession(config, Silent(), live_input)
    [plan] = shop.plans
    data = shop.open([plan]).select(plan.modalities)
    model: Any = built(plan, data)
    assert isinstance(model, LiveModel)
    loud(model.fusion.gate)
    return model.eval(), data


@torch.no_grad()
def test_inside_the_encoder_it_is_the_literal_network(made: MakeConfig) -> None:
    config = made(**LINES, audio_line="layers = -1", tables=STILL + "block = 2\n")
    model, data = opened(config)
    batch, encoder = data.batch(data.rows["train"]), model.encoders["text"]
    found, gate = model.read(batch).features["text"], model.fusion.gate
    blocks: Any = encoder
    for k, size in enumerate(batch.live["text"].tolist()):
        hidden = blocks.model.embeddings(input_ids=batch.features["text"][k : k + 1, :size])
        for number, layer in enumerate(blocks.model.encoder.layer, start=1):
            output = (layer.block if number == 2 else layer)(hidden)
            hidden = output[0] if isinstance(output, tuple) else output
            if number == 2:
                voice = batch.features["audio"][k][batch.masks["audio"][k]]
                hidden = literal(gate, hidden[0], {"audio": voice})[None]
        torch.testing.assert_close(found[k, :size], hidden[0], rtol=1e-4, atol=1e-4)


def test_every_weight_of_it_learns(made: MakeConfig) -> None:
    config = made(**LINES, audio_line='layers = "weighted"', tables=STILL)
    model, data = opened(config)
    rows = data.rows["train"]
    output = model(data.batch(rows))
    (output.prediction - data.labels[rows]).abs().mean().backward()
    for name, weight in model.fusion.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name


def test_it_says_where_it_works_and_trains(made: MakeConfig) -> None:
    shapes: dict[Modality, InputShape] = {"text": InputShape(6), "audio": InputShape(3)}
    model = CENet(Options(block=2), shapes)
    assert isinstance(model, WithinText)
    assert within_text("cenet")
    assert model.text_block == 2
    with pytest.raises(ValueError, match="cenet: works inside a text encoder"):
        CENet(Options(), {"audio": InputShape(3)})
    tables = STILL + "epochs = 25\npatience = 0\nlearning_rate = 3e-3\n"
    line = "layers = -1, learning_rate = 3e-3, dropout = 0.0"
    [run] = plain_train(
        made(**LINES, text_line=line, audio_line="layers = -1", tables=tables), live=live_input
    )
    losses = [epoch.train_loss for epoch in run.history]
    assert min(losses) < 0.5 * losses[0]
