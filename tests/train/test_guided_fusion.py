"""TETFN, ALMT and LNLN against slow literal versions, a clip at a time."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sedimental.cache.spec import MODALITIES, Modality
from sedimental.train.layers.packed import Packed
from sedimental.train.layers.transformer import with_positions
from sedimental.train.models import almt, lnln, tetfn
from sedimental.train.models.shared.hooks import Training
from sedimental.train.models.shared.interface import Batch, InputShape

WIDTHS: Mapping[Modality, int] = {"text": 5, "audio": 4, "vision": 3}
LENGTHS: Mapping[Modality, tuple[int, int, int]] = {
    "text": (3, 1, 4),
    "audio": (6, 2, 0),
    "vision": (1, 5, 2),
}
"""Of three clips; the last has no voice."""
SMALL = {"width": 8, "heads": 2, "tokens": 3, "fusion_layers": 1}


def batch_of(clips: tuple[int, ...] = (0, 1, 2)) -> Batch:
    features, masks = {}, {}
    for place, m in enumerate(MODALITIES):
        random = torch.Generator().manual_seed(place)
        whole = torch.randn(3, 7, WIDTHS[m], generator=random).double()
        features[m] = whole[list(clips)]
        lengths = torch.tensor(LENGTHS[m])[list(clips)]
        masks[m] = torch.arange(7) < lengths.unsqueeze(1)
    labels = torch.tensor([1.5, -2.0, 0.5], dtype=torch.float64)[list(clips)]
    return Batch(features, masks, labels, torch.tensor(clips))


def made(kind: type[nn.Module], options: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        shapes = {m: InputShape(WIDTHS[m]) for m in MODALITIES}
        return kind(options, shapes).double().eval()


def frames(k: int) -> dict[Modality, Packed]:
    """Of one clip."""
    batch = batch_of((k,))
    return {m: Packed.of(batch.features[m], batch.masks[m]) for m in MODALITIES}


def affine(layer: Any, x: Tensor) -> Tensor:
    bias = 0 if layer.bias is None else layer.bias
    return torch.stack([(row * x).sum() for row in layer.weight]) + bias


# --- TETFN --------------------------------------------------------------------------------------

TETFN_OPTIONS = tetfn.Options(width=8, heads=2, layers=2, memory_layers=1, hidden=4, space=6)


@torch.no_grad()
def test_voice_and_face_read_each_other_through_text() -> None:
    model = made(tetfn.TETFN, TETFN_OPTIONS)
    output = model(batch_of())
    for k in range(3):
        X = {m: with_positions(model.convolutions[m](x)) for m, x in frames(k).items()}
        C: dict[Modality, Packed] = {
            m: with_positions(model.through_text[m](X[m], X["text"]))
            for m in MODALITIES
            if m != "text"
        }
        Z: dict[Modality, Tensor] = {
            "text": torch.cat(
                [model.readers[f"text_reads_{n}"](X["text"], X[n]).rows for n in C], dim=1
            ),
            "audio": model.readers["audio_reads_vision"](X["audio"], C["vision"]).rows,
            "vision": model.readers["vision_reads_audio"](X["vision"], C["audio"]).rows,
        }
        last = [model.memories[m](X[m].like(Z[m])).last()[0] for m in MODALITIES]
        feature = affine(model.fusion.feature[1], torch.cat(last)).clamp(min=0)
        torch.testing.assert_close(output.representations["fused"][k], feature)
        torch.testing.assert_close(output.prediction[k], affine(model.fusion.score, feature)[0])
        own = model.heads["text"].feature[1]
        text = affine(own, frames(k)["text"].first()[0]).clamp(min=0)
        torch.testing.assert_close(output.representations["text"][k], text)


@torch.no_grad()
def test_generated_labels_weigh_the_scores_of_single_modalities() -> None:
    model, batch = made(tetfn.TETFN, TETFN_OPTIONS), batch_of()
    model.begin(Training(3, batch.index, batch.labels, seed=0))
    assert all(float(x) == 0 for x in model(batch).losses.values())  # labels are the clips' own
    model.train()
    for epoch in (1, 2):
        model.after_step(batch, model(batch), epoch)
    labels = model.memory.of(batch.index)
    assert (labels[0] != batch.labels).any()
    with torch.random.fork_rng():
        torch.manual_seed(2)
        output = model(batch)
    for place, m in enumerate(MODALITIES):
        wanted = 0.0
        for k in range(3):
            y, own = float(batch.labels[k]), float(labels[place, k])
            gap = abs(float(output.extras[f"score_{m}"][k]) - own)
            wanted += (LENGTHS[m][k] > 0) * math.tanh(abs(own - y)) * gap / 3
        assert float(output.losses[f"unimodal_{m}"]) == pytest.approx(wanted)
    model.forget()
    assert not model(batch).losses


# --- ALMT ---------------------------------------------------------------------------------------


def tokens(part: Any, X: Mapping[Modality, Tensor]) -> Tensor:
    """Learned tokens in front of all frames of one clip -> (n, d)."""
    rows = [
        part.tokens,
        *(torch.stack([affine(part.frames[m], x) for x in X[m]]) for m in part.frames if len(X[m])),
    ]
    together = torch.cat(rows)
    there = any(len(X[m]) for m in part.frames)
    H: Tensor = part.encoder(Packed.stack(together[None])).rows[: part.count] * there
    return H


def guided(fusion: Any, guide: Tensor, H: Mapping[Modality, Tensor]) -> Tensor:
    """Levels, query by query and head by head, then the crossmodal transformer."""
    hyper = fusion.hyper
    for j, level in enumerate(fusion.levels):
        if j:
            guide = fusion.deeper[j - 1](Packed.stack(guide[None])).rows
        added = torch.zeros_like(hyper)
        for m in level.keys:
            K = torch.stack([affine(level.keys[m], x) for x in H[m]])
            V = torch.stack([affine(level.values[m], x) for x in H[m]])
            half = K.shape[1] // 2
            for place, x in enumerate(guide):
                q = affine(level.query, x)
                for own in (slice(0, half), slice(half, None)):
                    scores = (K[:, own] @ q[own] / math.sqrt(half)).exp()
                    added[place, own] += (scores / scores.sum()) @ V[:, own]
        hyper = hyper + added
    asking, read = (with_positions(Packed.stack(x[None])) for x in (guide, hyper))
    mean: Tensor = fusion.fusion(asking, read).rows.mean(dim=0)
    return mean


def rows(k: int) -> dict[Modality, Tensor]:
    return {m: x.rows for m, x in frames(k).items()}


@torch.no_grad()
def test_text_guides_the_hyper_modality_level_by_level() -> None:
    model = made(almt.ALMT, almt.Options(**SMALL))
    output = model(batch_of())
    for k in range(3):
        H = {m: tokens(model.tokens[m], rows(k)) for m in MODALITIES}
        fused = guided(model.fusion, H["text"], H)
        torch.testing.assert_close(output.representations["audio"][k], H["audio"].mean(dim=0))
        torch.testing.assert_close(output.prediction[k], affine(model.head, fused)[0])
    assert not output.representations["audio"][2].any()


# --- LNLN ---------------------------------------------------------------------------------------


@torch.no_grad()
def test_text_is_corrected_as_far_as_it_is_incomplete() -> None:
    model = made(lnln.LNLN, lnln.Options(**SMALL))
    output, part = model(batch_of()), model.correction
    for k in range(3):
        H = {m: tokens(model.tokens[m], rows(k)) for m in MODALITIES}
        checked = part.check(Packed.stack(torch.cat([part.checker, H["text"]])[None])).rows[0]
        w = 1 / (1 + math.exp(-float(affine(part.complete, checked)[0])))
        assert float(output.extras["completeness"][k]) == pytest.approx(w)
        proxy = tokens(part.proxy, H)
        fused = guided(model.fusion, (1 - w) * proxy + w * H["text"], H)
        torch.testing.assert_close(output.prediction[k], affine(model.head, fused)[0])
    assert not output.losses


@torch.no_grad()
def test_losses_of_completeness_adversary_and_restoration() -> None:
    options = lnln.Options(**SMALL, dropout=0.0, attention_dropout=0.0)
    model, batch = made(lnln.LNLN, options).train(), batch_of()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        losses = model(batch).losses
        torch.manual_seed(3)
        rate = 0.9 * torch.rand(3)
        X = {m: Packed.of(batch.features[m], batch.masks[m]) for m in MODALITIES}
        draws = {m: torch.rand(len(X[m].rows)) for m in MODALITIES}
    errors, part = dict.fromkeys(["w", *MODALITIES], 0.0), model.correction
    said: dict[str, list[float]] = {"text": [], "proxy": []}
    for k in range(3):
        whole, seen, left = {}, {}, {}
        for m, x in X.items():
            own = draws[m][x.clip == k] >= rate[k]
            whole[m] = x.rows[x.clip == k]
            seen[m] = (
                torch.stack([f * s for f, s in zip(whole[m], own, strict=True)])
                if len(own)
                else whole[m]
            )
            left[m] = sum(own.tolist()) / max(1, len(own))
        H = {m: tokens(model.tokens[m], seen) for m in MODALITIES}
        checked = part.check(Packed.stack(torch.cat([part.checker, H["text"]])[None])).rows[0]
        w = torch.sigmoid(affine(part.complete, checked)[0])
        errors["w"] += float(w - left["text"]) ** 2 / 3
        for name, own_tokens in (("text", H["text"]), ("proxy", tokens(part.proxy, H))):
            inner = affine(part.discriminator[0], own_tokens.mean(dim=0)).clamp(min=0)
            said[name].append(float(torch.sigmoid(affine(part.discriminator[2], inner)[0])))
        for m in MODALITIES:
            restored = model.restored[m](Packed.stack(H[m][None])).rows
            gap = (restored - tokens(model.tokens[m], whole)).square().mean()
            errors[m] += float(gap) * (LENGTHS[m][k] > 0) / 3
    assert float(losses["completeness"]) == pytest.approx(0.5 * errors["w"], rel=1e-5)
    logs = [math.log(p) for p in said["text"]] + [math.log(1 - p) for p in said["proxy"]]
    assert float(losses["adversarial"]) == pytest.approx(-0.1 * sum(logs) / 6, rel=1e-5)
    for m in MODALITIES:
        assert float(losses[f"restoration_{m}"]) == pytest.approx(0.1 * errors[m], rel=1e-5)


def test_the_proxy_learns_to_be_taken_for_text() -> None:
    part = made(lnln.LNLN, lnln.Options(**SMALL)).correction
    proxy = torch.randn(4, 3, 8, dtype=torch.float64, requires_grad=True)
    text = torch.randn(4, 3, 8, dtype=torch.float64)
    part.adversarial(text, proxy).backward()
    assert proxy.grad is not None
    with torch.no_grad():  # a step down its gradient makes the discriminator worse
        before, after = part.adversarial(text, proxy), part.adversarial(text, proxy - proxy.grad)
    assert after > before
