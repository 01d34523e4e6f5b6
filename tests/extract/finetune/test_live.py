"""Encoders with gradients: cut, frozen in part and computed again, they learn as the whole does."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sedimental.cache.spec import Modality
from sedimental.config import (
    AudioFeatures,
    InputConfig,
    TextFeatures,
)
from sedimental.extract.encoders.audio.waveform import frames_of as formula
from sedimental.extract.encoders.loading import EncoderError, resolve
from sedimental.extract.finetune.encoder import LiveEncoder, LiveSound, LiveText
from sedimental.train.models import model_options
from sedimental.train.models.mmml import MMML
from sedimental.train.models.shared.interface import InputShape

TEXT = ("bert", "roberta")
AUDIO = ("wavlm", "wavlm-base", "hubert", "hubert-base", "data2vec")
KINDS = (*TEXT, *AUDIO)
LAYERS = 3


def encoder_of(
    folders: Mapping[str, Path],
    name: str,
    names: tuple[str, ...],
    start: int | None = None,
    **line: Any,
) -> LiveEncoder:
    table: Any = {"encoder": str(folders[name])}
    kind = "text" if name in TEXT else "audio"
    checkpoint = resolve(
        TextFeatures(modality="text", **table)
        if kind == "text"
        else AudioFeatures(modality="audio", **table)
    )
    settings = InputConfig(encoder="x", live=True, **line)
    how = (checkpoint, names, settings, start, torch.Generator().manual_seed(0))
    if kind == "text":
        return LiveText(*how, pad=1 if name == "roberta" else 0, unknown=3)
    return LiveSound(*how, normalize="base" not in name, hop=1, pool="stride")


def items_of(name: str) -> tuple[Tensor, list[int]]:
    """Three clips of different length, of equal length where nothing else can share a pass."""
    random = torch.Generator().manual_seed(5)
    if name in TEXT:
        return torch.randint(5, 900, (3, 9), generator=random), [9, 4, 7]
    sizes = [4000, 4000, 4000] if "base" in name else [4000, 1900, 3100]
    return torch.randn(3, 4000, generator=random), sizes


def squared(hidden: Tensor, frames: Sequence[int]) -> Tensor:
    """Some loss over real frames."""
    weights = torch.linspace(0.5, 1.5, hidden.shape[-1])
    real = [h[:, :n] for h, n in zip(hidden, frames, strict=True)]
    return torch.stack([(r.square() * weights).mean() for r in real]).sum()


def frames_of(encoder: LiveEncoder, sizes: Sequence[int]) -> list[int]:
    if isinstance(encoder, LiveText):
        return list(sizes)
    return [formula(encoder.model.config, size) for size in sizes]


def gradients(encoder: LiveEncoder) -> list[Tensor]:
    """Of every trained weight, in order."""
    found = []
    for name, weight in encoder.named_parameters():
        if weight.requires_grad:
            assert weight.grad is not None, name
            found.append(weight.grad)
    return found


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("top", [1, 2, 3])
def test_top_blocks_from_the_cache_learn_as_in_the_full_pass(
    folders: Mapping[str, Path], name: str, top: int
) -> None:
    """With dropout on: what is frozen drops nothing, so both draw the same."""
    items, sizes = items_of(name)
    final = ("final",) if name in ("wavlm", "hubert") else ()
    names = ("3", *final)
    whole = encoder_of(folders, name, names, top=top).train()
    frames = frames_of(whole, sizes)
    below = encoder_of(folders, name, (str(LAYERS - top), "3")).eval()
    with torch.no_grad():
        states = below(items, sizes)[:, 0]
    torch.manual_seed(1)
    squared(whole(items, sizes), frames).backward()
    cut = encoder_of(folders, name, names, start=LAYERS - top, top=top).train()
    torch.manual_seed(1)
    squared(cut(states, frames), frames).backward()
    expected, found = gradients(whole), gradients(cut)
    assert len(expected) == len(found) > 0
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-5 * float(one.abs().max()) + 1e-7)
    assert sum(p.numel() for p in cut.parameters()) < sum(p.numel() for p in whole.parameters())


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("line", [{}, {"top": 2}, {"checkpointing": True}], ids=str)
def test_everything_trained_gets_a_gradient_and_the_convolutions_none(
    folders: Mapping[str, Path], name: str, line: dict[str, Any]
) -> None:
    items, sizes = items_of(name)
    encoder = encoder_of(folders, name, ("2", "1"), **line).train()
    squared(encoder(items, sizes), frames_of(encoder, sizes)).backward()
    names = {n for n, weight in encoder.named_parameters() if weight.grad is not None}
    assert names == {n for n, weight in encoder.named_parameters() if weight.requires_grad}
    barred = ("feature_extractor", "spec_embed", "encoder.layers.2.", "encoder.layer.2.")
    assert not any(part in n for n in names for part in barred)
    matrices, rest = encoder.groups()
    assert {id(w) for w in [*matrices, *rest]} == {
        id(w) for w in encoder.parameters() if w.requires_grad
    }
    assert all(w.ndim == 1 for w in rest)


@pytest.mark.parametrize("name", KINDS)
def test_computing_blocks_again_changes_no_gradient(folders: Mapping[str, Path], name: str) -> None:
    items, sizes = items_of(name)
    found = []
    for checkpointing in (False, True):
        encoder = encoder_of(folders, name, ("3",), checkpointing=checkpointing).train()
        torch.manual_seed(2)
        squared(encoder(items, sizes), frames_of(encoder, sizes)).backward()
        found.append(gradients(encoder))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one)


@pytest.mark.parametrize("name", KINDS)
def test_adapters_alone_learn(folders: Mapping[str, Path], name: str) -> None:
    pytest.importorskip("peft")
    items, sizes = items_of(name)
    encoder = encoder_of(folders, name, ("3",), lora=2).train()
    squared(encoder(items, sizes), frames_of(encoder, sizes)).backward()
    learned = [n for n, p in encoder.named_parameters() if p.requires_grad]
    assert learned
    assert all("lora_" in n for n in learned)
    assert all(encoder.get_parameter(n).grad is not None for n in learned)


def test_mmml_has_its_published_size() -> None:
    """RoBERTa-base, Data2Vec-audio-base and five cross-modal layers; not a weight is made."""
    line, draws = InputConfig(encoder="x", live=True), torch.Generator()
    words = resolve(TextFeatures(modality="text", encoder="roberta-base", weights="random:0"))
    sound = resolve(
        AudioFeatures(modality="audio", encoder="data2vec-audio-base", weights="random:0")
    )
    with torch.device("meta"):
        text = LiveText(words, ("12",), line, None, draws, pad=1, unknown=3)
        audio = LiveSound(sound, ("12",), line, None, draws, normalize=True, hop=1, pool="stride")
        shapes: Mapping[Modality, InputShape] = {"text": InputShape(768), "audio": InputShape(768)}
        fusion = MMML(model_options("mmml", {}, "mosi"), shapes)

    def size(module: torch.nn.Module, learns: bool = False) -> int:
        return sum(p.numel() for p in module.parameters() if p.requires_grad or not learns)

    pooler = 590_592
    assert size(fusion) == 96_095_491 + pooler
    assert size(text) == size(text, learns=True) == 124_645_632 - pooler
    assert size(audio) == 93_164_288
    convolutions, mask = size(audio.model.feature_extractor), 768
    assert size(audio, learns=True) == size(audio) - convolutions - mask


def test_too_many_blocks_and_a_library_that_is_not_there(
    folders: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EncoderError, match="has only 3 blocks"):
        encoder_of(folders, "bert", ("3",), top=4)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(EncoderError, match=r"pip install 'sedimental\[lora\]'"):
        encoder_of(folders, "bert", ("3",), lora=4)
