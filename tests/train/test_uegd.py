"""UEGD against its paper: sizes, and each equation against a slow, literal version in numpy."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sedimental.cache.spec import MODALITIES, Modality
from sedimental.train.models.shared.interface import Batch, InputShape
from sedimental.train.models.uegd import UEGD, AttentivePooling, Options

Array = NDArray[np.float64]
TINY = Options(hidden=6, embedding=5, heads=3, dropout=0.5)


def size(options: Options, layers: int | None = None) -> int:
    model = UEGD(options, {m: InputShape(1024, layers) for m in MODALITIES})
    return sum(p.numel() for p in model.parameters())


def test_sizes_are_the_papers() -> None:
    """Trainable weights with 1024-wide inputs: CMU-MOSEI, CMU-MOSI, three weighted sums of 24."""
    assert size(Options()) == 1_400_836
    assert size(Options(hidden=128, embedding=64)) == 548_868
    assert size(Options(), layers=24) == 1_400_836 + 72


def linear(layer: torch.nn.Module, x: Array) -> Array:
    weight, bias = (layer.state_dict().get(k) for k in ("weight", "bias"))
    assert weight is not None
    found: Array = x @ weight.numpy().T + (0 if bias is None else bias.numpy())
    return found


def layer_norm(x: Array) -> Array:
    found: Array = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
    return found


def literal_pooling(pooling: AttentivePooling, frames: list[Array]) -> Array:
    """Lin et al. 2017, Eq. 5 and 6: one clip's real frames, head by head."""
    heads = []
    energies = np.array([linear(pooling.scores, np.tanh(linear(pooling.inner, f))) for f in frames])
    for head in range(energies.shape[1]):
        share = np.exp(energies[:, head]) / np.exp(energies[:, head]).sum()
        heads.append(sum(s * f for s, f in zip(share, frames, strict=True)))
    return np.concatenate(heads)


def literal_uegd(
    model: UEGD, clip: dict[Modality, list[Array]], width: int
) -> tuple[float, list[float]]:
    """One clip through Eq. 2 to 5; a modality without frames is the zero vector."""
    z = []
    for m in MODALITIES:
        frames = clip.get(m, [])
        if not frames:
            z.append(np.zeros(width))
            continue
        encoder = model.encoders[m]
        assert isinstance(encoder.frames, torch.nn.Sequential)
        hidden = [np.maximum(0, layer_norm(linear(encoder.frames[0], f))) for f in frames]
        assert isinstance(encoder.pooling, AttentivePooling)
        assert isinstance(encoder.embed, torch.nn.Linear)
        z.append(linear(encoder.embed, literal_pooling(encoder.pooling, hidden)))
    supervector = np.concatenate(z)
    alphas = []
    for row in range(len(MODALITIES)):  # Eq. 4
        w, b = model.gate.weight.detach().numpy()[row], model.gate.bias.detach().numpy()[row]
        alphas.append(float(1 / (1 + np.exp(-(w @ supervector + b)))))
    fused = sum(a * e for a, e in zip(alphas, z, strict=True))  # Eq. 5
    inner = np.maximum(0, layer_norm(linear(model.decoder[0], np.asarray(fused))))
    return float(linear(model.decoder[4], inner)[0]), alphas


def made(modalities: tuple[Modality, ...], seed: int = 0) -> UEGD:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = UEGD(TINY, {m: InputShape(4) for m in modalities}).double()
    return model.eval()


def padded(clips: list[dict[Modality, list[Array]]], modalities: tuple[Modality, ...]) -> Batch:
    features, masks = {}, {}
    for m in modalities:
        longest = max(1, *(len(c.get(m, [])) for c in clips))
        x = torch.full((len(clips), longest, 4), 1e4, dtype=torch.float64)
        mask = torch.zeros(len(clips), longest, dtype=torch.bool)
        for k, c in enumerate(clips):
            for t, frame in enumerate(c.get(m, [])):
                x[k, t], mask[k, t] = torch.from_numpy(frame), True
        features[m], masks[m] = x, mask
    n = len(clips)
    return Batch(features, masks, torch.zeros(n), torch.arange(n))


@pytest.mark.parametrize("modalities", [MODALITIES, ("audio",), ("text", "vision")])
def test_equations_2_to_5(modalities: tuple[Modality, ...]) -> None:
    random = np.random.default_rng(3)
    clips: list[dict[Modality, list[Array]]] = [
        {m: [random.standard_normal(4) for _ in range(random.integers(1, 6))] for m in modalities}
        for _ in range(5)
    ]
    clips[1][modalities[0]] = []  # a clip that lacks a modality
    model = made(modalities)
    output = model(padded(clips, modalities))
    for k, clip in enumerate(clips):
        prediction, alphas = literal_uegd(model, clip, TINY.embedding)
        assert output.prediction[k].item() == pytest.approx(prediction, abs=1e-10)
        wanted = [alphas[MODALITIES.index(m)] for m in modalities]
        assert output.extras["gate"][k].tolist() == pytest.approx(wanted, abs=1e-10)


def test_a_clip_without_frames_is_exactly_zero_and_finite() -> None:
    model = made(MODALITIES)
    frames = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    frames.requires_grad_()
    mask = torch.tensor([[True, True, False], [False, False, False]])
    embedding = model.encoders["text"](frames, mask)
    assert torch.equal(embedding[1], torch.zeros_like(embedding[1]))
    assert embedding[0].abs().min() > 0
    torch.autograd.backward(embedding.sum())
    assert frames.grad is not None
    assert frames.grad.isfinite().all()
    assert torch.equal(frames.grad[~mask], torch.zeros_like(frames.grad[~mask]))


def test_unused_gates_get_no_gradient() -> None:
    """Eq. 5 multiplies them by zero; only weight decay could move them."""
    model = made(("text",))
    clips: list[dict[Modality, list[Array]]] = [{"text": [np.ones(4), np.arange(4.0)]}]
    torch.autograd.backward(model(padded(clips, ("text",))).prediction.sum())
    grad = model.gate.weight.grad
    assert grad is not None
    assert grad[0].abs().sum() > 0
    assert torch.equal(grad[1:], torch.zeros_like(grad[1:]))


def test_weighted_sum_is_the_softmax_mix() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        mixed = UEGD(TINY, {"audio": InputShape(4, layers=3)}).double().eval()
        x = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    logits = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
    state = mixed.state_dict() | {"encoders.audio.mix.logits": logits}
    mixed.load_state_dict(state)
    plain = UEGD(TINY, {"audio": InputShape(4)}).double().eval()
    plain.load_state_dict({k: v for k, v in state.items() if "mix" not in k})
    share = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum()
    one = sum(share[layer] * x[:, layer] for layer in range(3))
    assert isinstance(one, torch.Tensor)
    mask, index = {"audio": torch.ones(2, 5, dtype=torch.bool)}, torch.arange(2)
    left = mixed(Batch({"audio": x}, mask, torch.zeros(2), index))  # type: ignore[arg-type]
    right = plain(Batch({"audio": one}, mask, torch.zeros(2), index))  # type: ignore[arg-type]
    torch.testing.assert_close(left.prediction, right.prediction, rtol=0, atol=1e-12)
    np.testing.assert_allclose(mixed.outputs()["layers_audio"].numpy(), share)
