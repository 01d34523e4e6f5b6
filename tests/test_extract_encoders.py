"""Encoders of every family, tiny and random: named layers, exact in batches, loaded from disk."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from sedimental.config import AudioFeatures, TextFeatures, VisionFeatures
from sedimental.extract.encoders.audio import AudioEncoder, Sound
from sedimental.extract.encoders.device import Arithmetic
from sedimental.extract.encoders.hidden import layer_names, stacked, tapped
from sedimental.extract.encoders.loading import EncoderError, load_model, resolve
from sedimental.extract.encoders.presets import FAMILIES, PRESETS, encoder_faults
from sedimental.extract.encoders.text import TextEncoder, Words
from sedimental.extract.encoders.vision import VisionEncoder
from sedimental.extract.streams import AudioStream, Stream, TextStream, VisionStream, stream_of

CPU = Arithmetic(torch.device("cpu"), torch.float32)
RNG = np.random.default_rng(0)
TINY = {"text": "tiny-bert", "audio": "tiny-wavlm", "vision": "tiny-clip"}
GROUP_NORM = {"feat_extract_norm": "group", "do_stable_layer_norm": False}


def features_of(modality: str, encoder: str, **values: Any) -> Any:
    kinds = {"text": TextFeatures, "audio": AudioFeatures, "vision": VisionFeatures}
    return kinds[modality](modality=modality, encoder=encoder, **values)


def saved(modality: str, folder: Path, **changes: Any) -> Path:
    """A folder as `save_pretrained` makes it, with other numbers than the preset's."""
    preset = PRESETS[TINY[modality]]
    family = FAMILIES[preset.family]
    config = getattr(transformers, family.config)(**{**preset.config, **changes})
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
        tapped(model, checkpoint.family, names, lambda h: h.clone()) as got,
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
@pytest.mark.parametrize("changes", [{}, GROUP_NORM], ids=["layer-norm", "group-norm"])
def test_a_sound_s_features_do_not_depend_on_its_batch(
    tmp_path: Path, pool: str, changes: dict[str, Any]
) -> None:
    table = features_of("audio", str(saved("audio", tmp_path, **changes)), rate=10, pool=pool)
    stream = AudioStream(table, "float32")
    stream.load(CPU)
    sounds = [
        Sound(str(n), "", RNG.normal(size=n).astype("f4"))
        for n in (4000, 16_000, 4000, 7301, 400, 12_345)
    ]
    together = stream.encoder.encode(sounds)
    for sound, found in zip(sounds, together, strict=True):
        alone = stream.encoder.encode([sound])[0]
        assert found.id == sound.id
        assert found.values.shape == alone.values.shape
        scale = np.abs(alone.values).max()
        np.testing.assert_allclose(found.values / scale, alone.values / scale, atol=1e-5)


@pytest.mark.parametrize("pool", ["stride", "mean"])
def test_sound_pooling_equals_the_slow_way(pool: str) -> None:
    stream = AudioStream(features_of("audio", "tiny-wavlm", rate=12.5, pool=pool), "float32")
    stream.load(CPU)
    encoder: AudioEncoder = stream.encoder
    samples = RNG.normal(size=9000).astype("f4")
    kept = encoder.encode([Sound("x", "", samples)])[0].values
    native = AudioStream(features_of("audio", "tiny-wavlm", rate=50), "float32")
    native.load(CPU)
    every = native.encoder.encode([Sound("x", "", samples)])[0].values
    assert encoder.hop == 4
    assert every.shape[1] == encoder.frames(9000)
    groups = [every[:, i : i + 4] for i in range(0, every.shape[1], 4)]
    slow = np.stack([g[:, 0] if pool == "stride" else g.mean(1) for g in groups], axis=1)
    np.testing.assert_allclose(kept, slow, atol=2e-5)


def test_a_text_s_features_do_not_depend_on_its_batch() -> None:
    stream = TextStream(features_of("text", "tiny-bert"), "float32")
    stream.load(CPU)
    encoder: TextEncoder = stream.encoder
    texts = ["fine", "what a wonderful film this was, we loved it all", "the end", "unheardofword"]
    words = [Words(str(i), "", t) for i, t in enumerate(texts)]
    for word, found in zip(words, encoder.encode(words), strict=True):
        alone = encoder.encode([word])[0]
        np.testing.assert_allclose(found.values, alone.values, atol=1e-5)
        assert found.side["special"].tolist() == [True, *[False] * (len(found.valid) - 2), True]
    assert encoder.tokenizer.decode(found.side["token_ids"][1:-1]).replace(" ", "") == texts[-1]


def test_long_texts_are_cut_at_max_length() -> None:
    stream = TextStream(features_of("text", "tiny-bert", max_length=6), "float32")
    stream.load(CPU)
    found = stream.encoder.encode([Words("x", "", "one two three four five six seven")])[0]
    assert found.values.shape[1] == 6


def test_a_picture_s_features_do_not_depend_on_its_batch() -> None:
    stream = VisionStream(features_of("vision", "tiny-clip"), "float32")
    stream.load(CPU)
    encoder: VisionEncoder = stream.encoder
    crops = RNG.integers(0, 255, (37, 80, 80, 3), np.uint8)
    together = encoder.encode(crops)
    alone = np.concatenate([encoder.encode(crops[i : i + 1]) for i in (0, 17, 36)], axis=1)
    np.testing.assert_allclose(together[:, [0, 17, 36]], alone, atol=1e-5)


def test_pictures_are_prepared_as_the_processor_does() -> None:
    stream = VisionStream(features_of("vision", "tiny-clip"), "float32")
    stream.load(CPU)
    crops = RNG.integers(0, 255, (2, 80, 80, 3), np.uint8)
    theirs = transformers.CLIPImageProcessor(
        size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}
    )(list(crops), return_tensors="pt")["pixel_values"]
    ours = stream.encoder.pixels(torch.from_numpy(crops))
    torch.testing.assert_close(ours, theirs)


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


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_fully_described(name: str) -> None:
    """Architecture and spec are known without weights; the numbers are the published ones."""
    preset = PRESETS[name]
    features = features_of(preset.modality, name, weights="random:3")
    spec = stream_of(features, "float16").spec
    blocks = [layer for layer in spec.layers if layer.isdigit()]
    size = "tiny" if name.startswith("tiny") else "large" if "large" in name else "base"
    assert (len(blocks) - 1, spec.width) == {
        "tiny": (4, 64),
        "base": (12, 768),
        "large": (24, 1024),
    }[size]
    assert spec.untrained
    assert features_of(preset.modality, name).weights is None
    assert preset.weights == ("random:0" if size == "tiny" else "hub")


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
    for stream in (whole, some):
        stream.load(CPU)
    words = [Words("x", "", "we liked it")]
    every, chosen = (s.encoder.encode(words)[0].values for s in (whole, some))
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
    batches = list(Arithmetic.batches(lengths, 100))
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
    first.load(CPU)
    first.encoder.encode([Words("x", "", "we liked it"), Words("y", "", "fine")])
    again = TextStream(features_of("text", "tiny-bert"), "float32")
    assert again.spec.fingerprint == first.spec.fingerprint
