"""Encoders made ready for forward passes alone: the same numbers as the library's own modules."""

import copy
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor
from transformers.models.wavlm.modeling_wavlm import WavLMAttention

from sedimental.config import AudioFeatures, VisionFeatures
from sedimental.extract.encoders import wavlm
from sedimental.extract.encoders.audio.readers import Sound, audio_encoder, load_processing
from sedimental.extract.encoders.device import ComputeDevice
from sedimental.extract.encoders.frozen import frozen
from sedimental.extract.encoders.hidden import (
    blocks_of,
    capture_hidden_states,
    layer_names,
    stacked,
)
from sedimental.extract.encoders.loading import load_model, resolve

CPU = torch.device("cpu")
# the library's own attention hands torch a float position bias beside a boolean padding mask
pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")
EXACT = ComputeDevice(CPU, torch.float32)
CONFIG: Mapping[str, Any] = MappingProxyType(
    {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "conv_dim": (16,) * 7,
        "num_conv_pos_embedding_groups": 4,
        "num_conv_pos_embeddings": 12,
        "num_buckets": 32,
        "max_bucket_distance": 40,
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
        "conv_bias": True,
    }
)


def pair() -> tuple[Any, Any]:
    """A WavLM as the library has it, and the same computed in stretches; no bias is zero."""
    torch.manual_seed(0)
    theirs = transformers.WavLMModel(transformers.WavLMConfig(**CONFIG)).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    ours = copy.deepcopy(theirs)
    wavlm.use_chunked_attention(ours)
    return theirs, ours


def sounds() -> tuple[Tensor, Tensor]:
    """Two waveforms of 92 and 30 frames, and the mask of their samples."""
    waves = torch.randn(2, 30_000, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(waves.shape, dtype=torch.long)
    mask[1, 10_000:] = 0
    return waves * mask, mask


@pytest.mark.parametrize("cells", [1, 8 * 92 * 7, 1 << 22], ids=["a frame", "7 frames", "all"])
def test_attention_in_stretches_is_the_library_s(
    cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wavlm, "CELLS", {"cpu": cells})
    theirs, ours = pair()
    waves, mask = sounds()
    with torch.inference_mode():
        wanted = theirs(waves, attention_mask=mask, output_hidden_states=True).hidden_states
        found = ours(waves, attention_mask=mask, output_hidden_states=True).hidden_states
        alone = ours(waves[:1], output_hidden_states=True).hidden_states
    for ours_, theirs_, single in zip(found, wanted, alone, strict=True):
        scale = theirs_.abs().max()
        for row, frames in ((0, 93), (1, 31)):
            error = (ours_[row, :frames] - theirs_[row, :frames]).abs().max() / scale
            assert error < 1e-5
        assert (single[0] - ours_[0]).abs().max() / scale < 1e-5


def test_positions_matter_and_so_do_their_gates() -> None:
    """What the comparison above is worth: a bias of other distances gives other numbers."""
    _, ours = pair()
    waves, mask = sounds()
    with torch.inference_mode():
        before = ours(waves, attention_mask=mask).last_hidden_state
        ours.encoder.layers[0].attention.rel_attn_embed.weight.copy_(
            ours.encoder.layers[0].attention.rel_attn_embed.weight.flip(0)
        )
        after = ours(waves, attention_mask=mask).last_hidden_state
        ours.encoder.layers[2].attention.gru_rel_pos_const.add_(1.0)
        gated = ours(waves, attention_mask=mask).last_hidden_state
    assert (after - before).abs().max() > 1e-3
    assert (gated - after).abs().max() > 1e-3


def test_attention_in_stretches_has_the_library_s_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wavlm, "CELLS", {"cpu": 8 * 92 * 7})
    waves, mask = sounds()
    gradients = []
    for model in pair():
        out = model(waves, attention_mask=mask).last_hidden_state
        out[0].pow(2).sum().backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    theirs, ours = gradients
    assert theirs.keys() == ours.keys()
    assert any("rel_attn_embed" in name for name in ours)
    # a bias of all keys alike cancels in the softmax: what is left of its gradient is rounding
    least = 1e-6 * max(float(wanted.abs().max()) for wanted in theirs.values())
    for name, wanted in theirs.items():
        torch.testing.assert_close(ours[name], wanted, rtol=1e-3, atol=least, msg=name)


def test_every_block_of_wavlm_is_stretched() -> None:
    checkpoint = resolve(AudioFeatures(modality="audio", encoder="tiny-wavlm"))
    model = frozen(checkpoint, ("0",), EXACT)
    kinds = {type(m) for m in model.modules() if isinstance(m, WavLMAttention)}
    assert kinds == {wavlm.StretchedAttention}


def test_blocks_that_nobody_reads_are_not_there() -> None:
    table = VisionFeatures(modality="vision", encoder="tiny-clip")
    checkpoint = resolve(table)
    names = layer_names(checkpoint.config.num_hidden_layers, has_final=True)
    pixels = torch.randn(2, 3, checkpoint.config.image_size, checkpoint.config.image_size)
    found = {}
    for wanted, left in ((names, 4), (("2", "1"), 2), (("0",), 1), (("1", "final"), 4)):
        model = frozen(checkpoint, wanted, EXACT)
        assert len(blocks_of(model, checkpoint.family)) == left
        with (
            EXACT.running(),
            capture_hidden_states(
                model, checkpoint.family, wanted, lambda hidden: hidden.clone()
            ) as entries,
        ):
            model(pixel_values=pixels)
            found[wanted] = dict(zip(wanted, stacked(entries, wanted), strict=True))
    whole = found.pop(names)
    for some in found.values():
        for name, values in some.items():
            torch.testing.assert_close(values, whole[name], rtol=0, atol=0)


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
@pytest.mark.parametrize("encoder", ["tiny-clip", "tiny-wavlm"])
def test_weights_rounded_once_give_what_rounding_in_every_pass_gives(
    encoder: str, precision: torch.dtype
) -> None:
    table: Any
    if encoder == "tiny-clip":
        table = VisionFeatures(modality="vision", encoder=encoder)
    else:
        table = AudioFeatures(modality="audio", encoder=encoder)
    checkpoint = resolve(table)
    low = ComputeDevice(CPU, precision)
    plain = load_model(checkpoint)
    wavlm.use_chunked_attention(plain)
    names = layer_names(checkpoint.config.num_hidden_layers, has_final=True)
    ready = frozen(checkpoint, names, low)
    if encoder == "tiny-clip":
        side = checkpoint.config.image_size
        given: dict[str, Tensor] = {"pixel_values": torch.randn(2, 3, side, side)}
    else:
        given = {"input_values": torch.randn(2, 8_000)}
    with low.running():
        wanted = plain(**given).last_hidden_state
        found = ready(**given).last_hidden_state
    assert torch.equal(found, wanted)
    products = [m for m in ready.modules() if isinstance(m, torch.nn.Linear)]
    assert {m.weight.dtype for m in products} == {precision}
    norms = [m for m in ready.modules() if isinstance(m, torch.nn.LayerNorm)]
    assert {m.weight.dtype for m in norms} == {torch.float32}


@pytest.fixture
def threads() -> Iterator[Any]:
    """Sets the number of torch's threads, and puts it back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_halved_work_changes_no_bit(threads: Any) -> None:
    """With three threads it does: what is left of a third falls out of torch's vectors."""
    table = AudioFeatures(modality="audio", encoder="tiny-wavlm")
    checkpoint = resolve(table)
    names = layer_names(checkpoint.config.num_hidden_layers, has_final=True)
    speech = np.random.default_rng(0).normal(0.01, 0.1, 100_000).astype(np.float32)
    found = []
    for count in (1, 2, 4):
        threads(count)
        encoder = audio_encoder(checkpoint, load_processing(checkpoint), names, table, EXACT)
        assert torch.get_num_threads() == count
        found.append(encoder.encode([Sound("a", "", speech), Sound("b", "", speech[:40_000])]))
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(one.values, other.values)
