"""MAG-BERT: the gate against a slow literal version, alone and inside a live text encoder."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from notes import Notes
from torch import Tensor, nn

import sedimental
from sedimental.cache.spec import Modality
from sedimental.config import Config, ConfigError, load_config
from sedimental.errors import RunError
from sedimental.extract.encoders.loading import EncoderError
from sedimental.extract.finetune.find import live_input
from sedimental.progress import Silent
from sedimental.train.data.dataset import Selection
from sedimental.train.live_model import LiveModel
from sedimental.train.models import option_faults, within_text
from sedimental.train.models.mag_bert import MAGBert, Options
from sedimental.train.models.mag_gate import AdaptationGate, laid_over
from sedimental.train.models.shared.hooks import WithinText
from sedimental.train.models.shared.interface import Batch, InputShape
from sedimental.train.robustness import robustness
from sedimental.train.run import train as plain_train
from sedimental.train.session import TrainSession, built

MakeConfig = Callable[..., Config]

WIDTHS: Mapping[Modality, int] = {"audio": 3, "vision": 4}
MAG = 'models = ["mag_bert"]\n'
STILL = "[train.mag_bert]\ngate_dropout = 0.0\ndropout = 0.0\n"


def literal_laid_over(frames: Tensor, real: list[bool], tokens: int) -> Tensor:
    """One clip: (frames, width), its mask, its number of tokens -> (tokens, width)."""
    shown = [frame for frame, there in zip(frames, real, strict=True) if there]
    words, found = tokens - 2, []
    for token in range(tokens):
        k = token - 1
        if not 0 <= k < words or not shown:
            found.append(torch.zeros(frames.shape[1], dtype=frames.dtype))
            continue
        first = math.floor(k * len(shown) / words)
        end = math.ceil((k + 1) * len(shown) / words)
        found.append(sum(shown[first:end], torch.zeros_like(shown[0])) / (end - first))
    return torch.stack(found) if found else frames.new_zeros(0, frames.shape[1])


clips = st.lists(
    st.tuples(st.lists(st.booleans(), min_size=7, max_size=7), st.integers(0, 9)),
    min_size=1,
    max_size=4,
)


@settings(max_examples=60)
@given(clips)
def test_frames_lie_over_the_words_they_belong_to(given: list[tuple[list[bool], int]]) -> None:
    real = torch.tensor([mask for mask, _ in given])
    tokens = torch.arange(10) < torch.tensor([count for _, count in given]).unsqueeze(1)
    frames = torch.randn(len(given), 7, 3, generator=torch.Generator().manual_seed(0)).double()
    loud = frames.masked_fill(~real.unsqueeze(2), 1e9)
    laid = laid_over(loud, real, tokens)
    for k, (mask, count) in enumerate(given):
        torch.testing.assert_close(laid[k, :count], literal_laid_over(frames[k], mask, count))
        assert not laid[k, count:].any()


def test_as_many_words_as_frames_get_one_each() -> None:
    frames = torch.arange(1.0, 5).view(1, 4, 1)
    real, tokens = torch.ones(1, 4, dtype=torch.bool), torch.ones(1, 6, dtype=torch.bool)
    assert laid_over(frames, real, tokens).flatten().tolist() == [0, 1, 2, 3, 4, 0]
    two = torch.ones(1, 4, dtype=torch.bool)
    assert laid_over(frames, real, two).flatten().tolist() == [0, 1.5, 3.5, 0]


def gate_of(beta: float = 1.0, scale: float = 1.0) -> AdaptationGate:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        gate = AdaptationGate(5, WIDTHS, beta, dropout=0.0).double()
        with torch.no_grad():
            for weight in gate.parameters():
                weight.copy_(scale * torch.randn_like(weight))
    return gate


def words_and_frames(rows: int = 6) -> tuple[Tensor, dict[Modality, Tensor]]:
    random = torch.Generator().manual_seed(2)
    words = torch.randn(rows, 5, generator=random).double()
    return words, {m: torch.randn(rows, n, generator=random).double() for m, n in WIDTHS.items()}


def literal_gate(gate: AdaptationGate, z: Tensor, frames: Mapping[Modality, Tensor]) -> Tensor:
    """One word (d,) and what is shown of it, (width,) by modality -> (d,)."""
    shift = [float(b) for b in gate.bias]
    for m, x in frames.items():
        of_gate, of_shift = gate.gates[m], gate.shifts[m]
        assert isinstance(of_gate, nn.Linear)
        assert isinstance(of_shift, nn.Linear)
        both = torch.cat([z, x])
        for unit in range(len(z)):
            opened = max(0.0, float(of_gate.weight[unit] @ both + of_gate.bias[unit]))
            shift[unit] += opened * float(of_shift.weight[unit] @ x)
    length, whole = math.hypot(*shift), math.hypot(*z.tolist())
    share = min(1.0, gate.beta * whole / length) if length else 1.0
    moved = [value + share * step for value, step in zip(z.tolist(), shift, strict=True)]
    mean = sum(moved) / len(moved)
    variance = sum((value - mean) ** 2 for value in moved) / len(moved)
    plain = [(value - mean) / math.sqrt(variance + gate.norm.eps) for value in moved]
    scaled: Tensor = torch.tensor(plain, dtype=torch.float64) * gate.norm.weight + gate.norm.bias
    return scaled


@pytest.mark.parametrize(("beta", "scale"), [(1.0, 0.1), (1.0, 1.0), (0.3, 1.0), (0.0, 1.0)])
@torch.no_grad()
def test_the_gate_is_the_literal_one(beta: float, scale: float) -> None:
    gate, (words, frames) = gate_of(beta, scale), words_and_frames()
    expected = [
        literal_gate(gate, z, {m: x[k] for m, x in frames.items()}) for k, z in enumerate(words)
    ]
    torch.testing.assert_close(gate(words, frames), torch.stack(expected))


@settings(max_examples=60)
@given(st.floats(0, 3), st.floats(1e-8, 1e4), st.floats(1e-4, 1e4))
def test_no_word_is_moved_further_than_a_share_of_its_length(
    beta: float, scale: float, size: float
) -> None:
    gate, (words, frames) = gate_of(beta, scale), words_and_frames()
    moved = gate.displacement(words * size, frames).norm(dim=1)
    most = beta * words.norm(dim=1) * size
    assert (moved <= most * (1 + 1e-9)).all()
    if beta and scale >= 1:  # far too long for the words there are: exactly as far as they may
        far = gate.displacement(1e-3 * words, {m: 100 * x for m, x in frames.items()})
        torch.testing.assert_close(far.norm(dim=1), beta * 1e-3 * words.norm(dim=1))


def test_a_displacement_of_nothing_has_gradients() -> None:
    gate, (words, frames) = gate_of(), words_and_frames()
    with torch.no_grad():
        gate.bias.zero_()
        for shift in gate.shifts.values():
            shift.weight.zero_()  # type: ignore[operator]
    words.requires_grad_()
    assert not gate.displacement(words, frames).any()
    torch.autograd.backward(gate(words, frames).square().sum())
    for weight in (words, *gate.parameters()):
        assert weight.grad is not None
        assert weight.grad.isfinite().all()


def test_it_says_where_it_works() -> None:
    shapes: dict[Modality, InputShape] = {"text": InputShape(6, stacked=2), "audio": InputShape(3)}
    model = MAGBert(Options(block=2), shapes)
    assert isinstance(model, WithinText)
    assert within_text("mag_bert")
    assert not within_text("uegd")
    assert model.text_block == 2
    assert model.gate is not None
    assert model.gate.norm.normalized_shape == (3,)  # of one of two layers side by side
    with pytest.raises(ValueError, match="works inside a text encoder"):
        MAGBert(Options(), {"audio": InputShape(3)})


def opened(config: Config) -> tuple[LiveModel, Selection]:
    shop = TrainSession(config, Silent(), live_input)
    [plan] = shop.plans
    data = shop.open([plan]).select(plan.modalities)
    model: Any = built(plan, data)
    assert isinstance(model, LiveModel)
    return model.eval(), data


def fused(model: LiveModel) -> MAGBert:
    fusion = model.fusion
    assert isinstance(fusion, MAGBert)
    return fusion


def encoder_alone(model: LiveModel, batch: Batch) -> Tensor:
    """The last layer of text as the encoder has it with nobody inside."""
    encoder: Any = model.encoders["text"]
    found: Tensor = encoder(batch.features["text"], batch.live["text"].tolist())[:, 0]
    return found


PLAIN = 'input_scaling = "none"\n'


@pytest.mark.parametrize("text", ["bert", "roberta"])
@pytest.mark.parametrize("block", [1, 2, 3])
@torch.no_grad()
def test_inside_the_encoder_it_is_the_literal_network(
    made: MakeConfig, text: str, block: int
) -> None:
    """Clip by clip without padding, block by block, the gate word by word."""
    tables = STILL + f"block = {block}\nbeta = 0.5\n"
    config = made(text=text, live="T", train=MAG + PLAIN, audio_line="layers = -1", tables=tables)
    model, data = opened(config)
    batch = data.batch(data.rows["train"])
    found = model.read(batch).features["text"]
    encoder: Any = model.encoders["text"]
    gate = fused(model).gate
    assert gate is not None
    for k, size in enumerate(batch.live["text"].tolist()):
        hidden = encoder.model.embeddings(input_ids=batch.features["text"][k : k + 1, :size])
        for number, layer in enumerate(encoder.model.encoder.layer, start=1):
            output = (layer.block if number == block else layer)(hidden)
            hidden = output[0] if isinstance(output, tuple) else output
            if number == block:
                real = batch.masks["audio"][k].tolist()
                laid = literal_laid_over(batch.features["audio"][k], real, size)
                moved = [
                    literal_gate(gate, z, {"audio": x}).float()
                    for z, x in zip(hidden[0], laid, strict=True)
                ]
                hidden = torch.stack(moved)[None]
        torch.testing.assert_close(found[k, :size], hidden[0], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found, encoder_alone(model, batch), atol=1e-2)


@torch.no_grad()
def test_without_a_displacement_it_is_the_plain_encoder(made: MakeConfig) -> None:
    """Where the block's own norm is plain, a second one behind it changes nothing."""
    config = made(live="T", train=MAG + PLAIN, audio_line="layers = -1", tables=STILL)
    model, data = opened(config)
    gate, encoder = fused(model).gate, model.encoders["text"]
    assert gate is not None
    gate.bias.zero_()
    for shift in gate.shifts.values():
        shift.weight.zero_()  # type: ignore[operator]
    norm = encoder.get_submodule("model.encoder.layer.0.block.output.LayerNorm")
    norm.weight.fill_(1)  # type: ignore[operator]
    norm.bias.zero_()  # type: ignore[operator]
    batch = data.batch(data.rows["train"])
    found, real = model.read(batch).features["text"], batch.masks["text"]
    torch.testing.assert_close(found[real], encoder_alone(model, batch)[real], rtol=1e-4, atol=1e-4)
    gate.bias.copy_(torch.linspace(-1, 1, len(gate.bias)))
    moved = model.read(batch).features["text"]
    assert not torch.allclose(moved[real], found[real], atol=1e-2)


@torch.no_grad()
def test_neighbours_and_padding_change_nothing(made: MakeConfig) -> None:
    config = made(live="T", train=MAG, audio_line="layers = -1", tables=STILL)
    model, data = opened(config)
    together = model(data.batch(torch.tensor([0, 5, -1, 9]))).prediction
    for place, row in enumerate([0, 5, -1, 9]):
        alone = model(data.batch(torch.tensor([row]))).prediction
        torch.testing.assert_close(together[place : place + 1], alone, rtol=0, atol=1e-5)
    assert together[2] == fused(model).head.bias  # a clip that is not there
    assert together.std() > 1e-4


def gradients(config: Config) -> dict[str, Tensor]:
    model, data = opened(config)
    model.train()
    torch.manual_seed(0)
    rows = data.rows["train"]
    output = model(data.batch(rows))
    (output.prediction - data.labels[rows]).abs().mean().backward()
    return {
        name: weight.grad
        for name, weight in model.named_parameters()
        if weight.requires_grad and weight.grad is not None
    }


def test_gradients_reach_gate_and_encoders_in_any_number_of_passes(made: MakeConfig) -> None:
    """In one pass; in several, each computed again; with every block computed again."""
    audio = 'layers = "weighted", dropout = 0.0'
    found = []
    apart, again = ", budget = 9", ", checkpointing = true"
    for more in ("", apart, again, apart + again):
        text = f"layers = -1, dropout = 0.0{more}"
        found.append(gradients(made(train=MAG, text_line=text, audio_line=audio, tables=STILL)))
    for part in ("gate.gates.audio", "gate.norm", "mixes.audio", "head"):
        assert any(name.startswith(f"fusion.{part}") for name in found[0])
    model, _ = opened(made(train=MAG, text_line="layers = -1", audio_line=audio, tables=STILL))
    learned = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert found[0].keys() == learned  # audio's encoder among them: by way of the gate alone
    still = {name for name, grad in found[0].items() if not grad.abs().sum() > 0}
    assert not {name for name in still if not name.endswith("key.bias") and "k_proj" not in name}
    for other in found[1:]:
        for name, grad in found[0].items():
            torch.testing.assert_close(other[name], grad, rtol=1e-3, atol=1e-5, msg=name)


def test_without_voice_and_face_it_is_the_encoder_alone(made: MakeConfig) -> None:
    config = made(audio="", live="T", train=MAG + PLAIN, tables=STILL)
    model, data = opened(config)
    assert fused(model).gate is None
    batch = data.batch(data.rows["train"])
    with torch.no_grad():
        found = model.read(batch).features["text"][batch.masks["text"]]
        expected = encoder_alone(model, batch)[batch.masks["text"]]
    assert torch.equal(found, expected)


def test_trained_blocks_above_read_words_all_the_same(made: MakeConfig) -> None:
    """With ``top`` others begin at cached states; what works below must not."""
    keys = {"live": "T", "text_line": "layers = -1, top = 1", "audio_line": "layers = -1"}
    other, _ = opened(made(**keys))
    model, _ = opened(made(train=MAG, tables=STILL, **keys))
    assert other._readings["text"].source.start == 2
    assert model._readings["text"].source.start is None
    names = gradients(made(train=MAG, tables=STILL, **keys))
    assert any("layer.2." in name for name in names)
    assert not any("layer.0." in name or "layer.1." in name for name in names)
    assert any("fusion.gate" in name for name in names)


def test_learns_more_than_the_mean_and_is_found_again(made: MakeConfig) -> None:
    config = made(
        live="T",
        train=MAG,
        text_line="layers = -1, learning_rate = 3e-3, dropout = 0.0",
        audio_line="layers = -1",
        tables=STILL + "epochs = 30\npatience = 0\nlearning_rate = 3e-3\n",
    )
    [run] = plain_train(config, live=live_input)
    assert run.finetuned
    assert run.row == "mag_bert finetuned TA"
    losses = [line.train_loss for line in run.history]
    truth, _ = run.predictions.of("train")
    mean = np.abs(truth - truth.mean()).mean()
    assert min(losses) < 0.5 * mean
    [file] = robustness(config, [0.5], live=live_input)
    assert file.exists()
    assert plain_train(config, live=live_input)[0].key == run.key


def faults(tmp_path: Path, train: str, text: str, more: str = "") -> list[str]:
    file = tmp_path / "pipeline.toml"
    tables = "".join(
        f'[[features]]\nmodality = "{m}"\nencoder = "tiny-{e}"\n'
        for m, e in (("text", "bert"), ("audio", "wavlm"))
    )
    inputs = f'text = {{ encoder = "tiny-bert"{text} }}\naudio = {{ encoder = "tiny-wavlm" }}\n'
    file.write_text(f"{tables}[train]\n{train}\n[train.inputs]\n{inputs}{more}", encoding="utf-8")
    try:
        load_config(file, [option_faults])
    except ConfigError as found:
        return [line.removeprefix(f"{file}: ") for line in str(found).splitlines()]
    return []


INSIDE = "mag_bert works inside a text encoder"


@pytest.mark.parametrize(
    ("train", "text", "more", "expected"),
    [
        ('mode = "finetune"\nmodels = ["mag_bert"]', ", live = true", "", []),
        (
            'models = ["uegd", "mag_bert"]\nepochs = 0',
            "",
            "",
            [f'train.models: {INSIDE}: set train.mode = "finetune", and live = true in', "epochs"],
        ),
        ('mode = "frozen"\nmodels = ["mag_bert"]', ", live = true", "", [INSIDE, "text.live"]),
        ('mode = "finetune"\nmodels = ["mag_bert"]', "", "", [INSIDE, "needs an input"]),
        (
            'mode = "finetune"\nmodels = ["mag_bert"]\nmodalities = ["TA", "A"]',
            ", live = true",
            "",
            [f'train.modalities: {INSIDE}, and "A" has no text. Give it subsets of its own'],
        ),
        (
            'mode = "finetune"\nmodels = ["uegd", "mag_bert"]\nmodalities = ["TA", "A"]',
            ", live = true",
            '[train.mag_bert]\nmodalities = ["TA"]\n',
            [],
        ),
        (
            'models = ["uegd"]',
            "",
            '[sweep]\nmodel = ["uegd", "mag_bert"]\n',
            [f"sweep.model: {INSIDE}, and a sweep reads cached layers. Take it out."],
        ),
        ('models = ["uegd"]', "", "[train.mag_bert]\nbeta = 2.0\n", []),
    ],
)
def test_there_is_none_on_cached_text(
    tmp_path: Path, train: str, text: str, more: str, expected: list[str]
) -> None:
    found = faults(tmp_path, train, text, more)
    assert len(found) == len(expected), found
    for part in expected:
        assert any(part in line for line in found), (part, found)


def test_what_nobody_checked_before_is_said_before_anything_trains(made: MakeConfig) -> None:
    with pytest.raises(RunError, match=rf"train\.models: {INSIDE}: set train\.mode"):
        sedimental.train(made(live="", train='models = ["uegd", "mag_bert"]\n'))
    with pytest.raises(RunError, match=rf'train\.modalities: {INSIDE}, and "A" has no text'):
        sedimental.train(made(train=MAG + 'modalities = ["A"]\n', text_line="layers = -1"))
    with pytest.raises(EncoderError, match=r"block 4: of encoder bert the blocks 1 to 3 are"):
        sedimental.train(
            made(train=MAG, text_line="layers = -1", tables="[train.mag_bert]\nblock = 4\n")
        )


def test_no_frozen_cost_is_told_of_what_cannot_be_frozen(made: MakeConfig) -> None:
    progress = Notes()
    sedimental.train(made(live="T", train=MAG, audio_line="layers = -1"), progress)
    told = next(line for line in progress.notes if ": a seed with" in line)
    assert told.startswith("mag_bert finetuned TA: a seed with text fine-tuned: ")
    assert "frozen" not in told
