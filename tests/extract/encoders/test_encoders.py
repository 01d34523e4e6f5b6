"""Encoders as they are asked for: named layers, presets, folders on disk, fingerprints."""

from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from sedimental.config import AudioFeatures, TextFeatures, VisionFeatures
from sedimental.extract.encoders import vision
from sedimental.extract.encoders.audio.readers import (
    Sound,
    SoundEncoder,
    audio_encoder,
    load_processing,
)
from sedimental.extract.encoders.device import ComputeDevice
from sedimental.extract.encoders.hidden import capture_hidden_states, layer_names, stacked
from sedimental.extract.encoders.loading import EncoderError, load_model, resolve
from sedimental.extract.encoders.presets.table import FAMILIES, PRESETS, encoder_faults
from sedimental.extract.encoders.text import TextEncoder, Words
from sedimental.extract.encoders.vision import VisionEncoder
from sedimental.extract.streams.streams import Stream, TextStream, stream_of

CPU = ComputeDevice(torch.device("cpu"), torch.float32)
RNG = np.random.default_rng(0)
TINY = {"text": "tiny-bert", "audio": "tiny-wavlm", "vision": "tiny-clip"}
GROUP_NORM = {"feat_extract_norm": "group", "do_stable_layer_norm": False}


def features_of(modality: str, encoder: str, **values: Any) -> Any:
    kinds = {"text": TextFeatures, "audio": AudioFeatures, "vision": VisionFeatures}
    return kinds[modality](modality=modality, encoder=encoder, **values)


def speech(**settings: Any) -> SoundEncoder:
    table = features_of("audio", "tiny-wavlm", **settings)
    checkpoint, layers = resolve(table), stream_of(table, "float32").spec.layers
    return audio_encoder(checkpoint, load_processing(checkpoint), layers, table, CPU)


def words(**settings: Any) -> TextEncoder:
    stream = TextStream(features_of("text", "tiny-bert", **settings), "float32")
    return TextEncoder(
        stream.checkpoint, stream.tokenizer, stream.spec.layers, stream.max_length, CPU
    )


def faces(name: str) -> VisionEncoder:
    table = features_of("vision", name)
    checkpoint, layers = resolve(table), stream_of(table, "float32").spec.layers
    return VisionEncoder(checkpoint, vision.load_processing(checkpoint), layers, CPU)


def saved(modality: str, folder: Path, **changes: Any) -> Path:
    """A folder as `save_pretrained` makes it, with other numbers than the preset's."""
    preset = PRESETS[TINY[modality]]
    family = FAMILIES[preset.family]
    config = getattr(transformers, str(family.config))(**{**preset.config, **changes})
    torch.manual_seed(5)
    getattr(transformers, family.model)(config).save_pretrained(folder)
    return folder


def inputs(modality: str, model: Any) -> dict[str, Any]:
    if modality == "text":
        ids = torch.tensor([[5, 9, 30, 7, 8, 6]])
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if modality == "audio":
        return {"input_values": torch.from_numpy(RNG.normal(size=(1, 8000)).astype("f4"))}
    side = model.config.image_size
    return {"pixel_values": torch.from_numpy(RNG.normal(size=(1, 3, side, side)).astype("f4"))}


@pytest.mark.parametrize("modality", TINY)
def test_named_layers_are_the_library_s_hidden_states(modality: str) -> None:
    checkpoint = resolve(features_of(modality, TINY[modality]))
    model = load_model(checkpoint)
    names = layer_names(checkpoint.config.num_hidden_layers, checkpoint.family.final is not None)
    given = inputs(modality, model)
    with (
        torch.inference_mode(),
        capture_hidden_states(model, checkpoint.family, names, lambda h: h.clone()) as got,
    ):
        out = model(**given, output_hidden_states=True)
    ours = stacked(got, names)
    for index, theirs in enumerate(out.hidden_states):
        torch.testing.assert_close(ours[index], theirs)
    if modality == "vision":  # CLIP norms the [class] token alone
        torch.testing.assert_close(ours[-1][:, 0], out.pooler_output)
    else:
        torch.testing.assert_close(ours[-1], out.last_hidden_state)


def test_speech_models_that_norm_first_have_no_final_entry(tmp_path: Path) -> None:
    stream = stream_of(features_of("audio", str(saved("audio", tmp_path, **GROUP_NORM))), "float16")
    assert stream.spec.layers == ("0", "1", "2", "3", "4")


@pytest.mark.parametrize("pool", ["stride", "mean"])
def test_sound_pooling_equals_the_slow_way(pool: str) -> None:
    encoder = speech(rate=12.5, pool=pool)
    samples = RNG.normal(size=9000).astype("f4")
    kept = encoder.encode([Sound("x", "", samples)])[0].values
    every = speech(rate=50).encode([Sound("x", "", samples)])[0].values
    assert encoder.hop == 4
    assert every.shape[1] == encoder.frames(9000)
    groups = [every[:, i : i + 4] for i in range(0, every.shape[1], 4)]
    slow = np.stack([g[:, 0] if pool == "stride" else g.mean(1) for g in groups], axis=1)
    np.testing.assert_allclose(kept, slow, atol=2e-5)


def test_pictures_are_prepared_as_the_processor_does() -> None:
    crops = RNG.integers(0, 255, (2, 80, 80, 3), np.uint8)
    processors = {
        "tiny-clip": transformers.CLIPImageProcessor(
            size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}
        ),
        "tiny-dinov2": transformers.BitImageProcessor(
            size={"shortest_edge": 64},
            crop_size={"height": 56, "width": 56},
            image_mean=vision_preset("dinov2-large")["mean"],
            image_std=vision_preset("dinov2-large")["std"],
            do_center_crop=True,
        ),
    }
    for name, processor in processors.items():
        theirs = processor(list(crops), return_tensors="pt")["pixel_values"]
        torch.testing.assert_close(faces(name).pixels(torch.from_numpy(crops)), theirs)


def test_a_saved_processor_says_how_pictures_are_prepared(tmp_path: Path) -> None:
    """Sizes of an encoder that takes any, the filter, mean and deviation come from the folder."""
    preset = PRESETS["tiny-dinov2"]
    model = transformers.Dinov2Model(transformers.Dinov2Config(**preset.config))
    model.save_pretrained(tmp_path)
    transformers.BitImageProcessor(
        size={"shortest_edge": 48},
        crop_size={"height": 42, "width": 42},
        resample=2,
        image_mean=[0.1, 0.2, 0.3],
        image_std=[0.4, 0.5, 0.6],
        do_center_crop=True,
    ).save_pretrained(tmp_path)
    own = vision.load_processing(resolve(features_of("vision", str(tmp_path))))
    assert (own.size, own.resize, own.interpolation) == (42, 48, "bilinear")
    assert (own.mean, own.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert own.unusual == {"resize": 48, "interpolation": "bilinear"}


def vision_preset(name: str) -> Any:
    return PRESETS[name].processing


@pytest.mark.parametrize("modality", TINY)
def test_a_folder_made_by_save_pretrained_is_an_encoder(modality: str, tmp_path: Path) -> None:
    folder = saved(modality, tmp_path / "my model")
    own = TextStream(features_of("text", "tiny-bert"), "float16")
    if modality == "text":
        with pytest.raises(EncoderError, match="has no tokenizer"):
            stream_of(features_of(modality, str(folder)), "float16")
        own.tokenizer.save_pretrained(folder)
    streams: list[Stream] = [
        stream_of(features_of(modality, str(folder)), "float16"),  # by its folder
        stream_of(features_of(modality, TINY[modality], weights=f"{folder}/"), "float16"),
    ]
    for stream in streams:
        assert stream.spec.weights == "folder"
        assert not stream.spec.untrained
    assert streams[0].spec.encoder == "my_model"
    theirs = getattr(transformers, FAMILIES[PRESETS[TINY[modality]].family].model)
    model = load_model(resolve(features_of(modality, str(folder))))
    for name, value in theirs.from_pretrained(folder).state_dict().items():
        if "pooler" not in name:
            torch.testing.assert_close(model.state_dict()[name], value)


def test_other_weights_are_another_fingerprint(tmp_path: Path) -> None:
    seen = {
        stream_of(features_of("audio", "tiny-wavlm", weights=w), "float16").spec.fingerprint
        for w in ("random:0", "random:1", "random:0")
    }
    folder = saved("audio", tmp_path)
    for step in range(2):
        seen.add(stream_of(features_of("audio", str(folder)), "float16").spec.fingerprint)
        data = bytearray((folder / "model.safetensors").read_bytes())
        data[-1] ^= 1
        (folder / "model.safetensors").write_bytes(data)
        assert len(seen) == 3 + step


NETWORKS = [name for name, preset in PRESETS.items() if preset.network]
PARAMETERS = {
    "clip-vit-base-patch32": 87_456_000,
    "clip-vit-large-patch14": 303_179_776,
    "dinov2-large": 304_368_640,
    "wavlm-base-plus": 94_381_936,
    "wavlm-large": 315_453_120,
    "data2vec-audio-base": 93_164_288,
    "data2vec-audio-large": 313_276_416,
    "hubert-large-ll60k": 315_438_720,
    "wav2vec2-large-lv60": 315_438_720,
    "chinese-hubert-large": 315_438_720,
    "chinese-hubert-base": 94_371_712,
    "whisper-large-v3": 636_968_960,
    "bert-base-uncased": 109_482_240,
    "bert-large-uncased": 335_141_888,
    "bert-base-chinese": 102_267_648,
    "roberta-base": 124_645_632,
    "roberta-large": 355_359_744,
    "chinese-roberta-wwm-ext": 102_267_648,
    "chinese-macbert-base": 102_267_648,
}
"""Of the published models, BERT's and RoBERTa's with their poolers, Whisper's encoder alone."""


@pytest.mark.parametrize("name", NETWORKS)
def test_every_preset_is_fully_described(name: str) -> None:
    """Architecture and spec are known without weights; the numbers are the published ones."""
    preset = PRESETS[name]
    features = features_of(preset.modality, name, weights="random:3")
    spec = stream_of(features, "float16").spec
    blocks = [layer for layer in spec.layers if layer.isdigit()]
    size = "tiny" if name.startswith("tiny") else "large" if "large" in name else "base"
    sizes = {"tiny": (4, 64), "base": (12, 768), "large": (24, 1024)}
    wanted = (32, 1280) if name == "whisper-large-v3" else sizes[size]
    assert (len(blocks) - 1, spec.width) == wanted
    assert spec.untrained
    assert features_of(preset.modality, name).weights is None
    assert preset.weights == ("random:0" if size == "tiny" else "hub")


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_preset_has_the_published_number_of_parameters(name: str) -> None:
    family = FAMILIES[PRESETS[name].family]
    config = getattr(transformers, str(family.config))(**PRESETS[name].config)
    with torch.device("meta"):
        model = attrgetter(family.model)(transformers)(config)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]


def test_a_checkpoint_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    """The library would draw them at random, and say so in its log at most."""
    from safetensors.torch import load_file, save_file

    folder = saved("vision", tmp_path)
    state = load_file(folder / "model.safetensors")
    lost = next(key for key in state if "layers.2" in key and key.endswith("fc1.weight"))
    del state[lost]
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(EncoderError, match=r"lacks 1 of the encoder's parameters \(.*fc1"):
        load_model(resolve(features_of("vision", str(folder))))


@pytest.mark.parametrize("modality", TINY)
def test_random_weights_come_from_the_seed_alone(modality: str) -> None:
    def weights(seed: int) -> list[torch.Tensor]:
        model = load_model(resolve(features_of(modality, TINY[modality], weights=f"random:{seed}")))
        return list(model.state_dict().values())

    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = weights(0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert all(torch.equal(a, b) for a, b in zip(first, weights(0), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, weights(1), strict=True))


def test_chosen_layers_are_those_of_the_whole() -> None:
    whole = TextStream(features_of("text", "tiny-bert"), "float32")
    some = TextStream(features_of("text", "tiny-bert", layers=(-1, 0, 2)), "float32")
    assert some.spec.layers == ("0", "2", "4")
    assert some.spec.fingerprint != whole.spec.fingerprint
    said = [Words("x", "", "we liked it")]
    every, chosen = (words(**more).encode(said)[0].values for more in ({}, {"layers": (-1, 0, 2)}))
    np.testing.assert_allclose(chosen, every[[0, 2, 4]])
    with pytest.raises(EncoderError, match="layer 9 is not stored"):
        TextStream(features_of("text", "tiny-bert", layers=(9,)), "float32")


def test_a_wrong_place_or_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(EncoderError, match=r"no config\.json.*save_pretrained"):
        resolve(features_of("text", str(tmp_path / "empty")))
    folder = saved("audio", tmp_path / "audio")
    with pytest.raises(EncoderError, match=r'reads audio, but its .* says modality = "text"'):
        resolve(features_of("text", str(folder)))
    (folder / "model.safetensors").unlink()
    with pytest.raises(EncoderError, match=r"no \*\.safetensors"):
        resolve(features_of("audio", str(folder)))


def test_encoder_names_are_checked_before_anything_runs() -> None:
    def faults(**table: str) -> list[str]:
        return list(encoder_faults({"features": [{"modality": "text", **table}]}))

    assert faults(encoder="tiny-bert") == faults(encoder="someone/bert") == []
    assert 'Did you mean "tiny-bert"?' in faults(encoder="tiny-bret")[0]
    assert "reads audio, not text" in faults(encoder="wavlm-large")[0]
    assert "no trained weights" in faults(encoder="tiny-bert", weights="hub")[0]
    assert "need an architecture" in faults(encoder="someone/bert", weights="random:1")[0]


def test_batches_stay_in_their_budget_and_lose_nothing() -> None:
    lengths = RNG.integers(1, 50, 40).tolist()
    batches = list(ComputeDevice.batches(lengths, 100))
    assert sorted(i for b in batches for i in b) == list(range(40))
    assert all(len(b) * max(lengths[i] for i in b) <= 100 or len(b) == 1 for b in batches)


def test_a_batch_too_large_for_the_device_is_halved() -> None:
    seen: list[int] = []

    def run(batch: list[int]) -> list[int]:
        if len(batch) > 2:
            raise torch.OutOfMemoryError
        seen.append(len(batch))
        return [2 * b for b in batch]

    assert CPU.halving(list(range(7)), run) == [2 * b for b in range(7)]
    assert max(seen) == 2
    with pytest.raises(torch.OutOfMemoryError):
        CPU.halving([1, 2, 3], lambda _: (_ for _ in ()).throw(torch.OutOfMemoryError))


def test_use_does_not_change_a_fingerprint() -> None:
    """Tokenizers remember how they were last called; a spec must not."""
    first = TextStream(features_of("text", "tiny-bert"), "float32")
    encoder = words()
    assert encoder.tokenizer is first.tokenizer
    encoder.encode([Words("x", "", "we liked it"), Words("y", "", "fine")])
    again = TextStream(features_of("text", "tiny-bert"), "float32")
    assert again.spec.fingerprint == first.spec.fingerprint
