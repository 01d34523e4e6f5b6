"""R13: what shares a batch is measured when an encoder is loaded, recorded, and acted upon."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from notes import Notes
from numpy.typing import NDArray

from sedimental.cache.store.store import Store, list_stores, open_store
from sedimental.cache.store.writer import StoreWriter
from sedimental.config import Config, InputConfig, VisionFeatures, load_config
from sedimental.extract.encoders.audio.readers import Sound
from sedimental.extract.encoders.batch_independence import difference, measure, tolerance
from sedimental.extract.encoders.device import ComputeDevice
from sedimental.extract.encoders.hidden import blocks_of
from sedimental.extract.encoders.text import Words
from sedimental.extract.finetune.encoder import LiveSound
from sedimental.extract.run import extract
from sedimental.extract.stage_times import Clock
from sedimental.extract.streams.reference_input import independence
from sedimental.extract.streams.streams import stream_of

CPU = ComputeDevice(torch.device("cpu"), torch.float32)
NORMED: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embedding_groups": 4,
    "num_conv_pos_embeddings": 12,
    "feat_extract_norm": "layer",
    "conv_bias": True,
    "conv_pos_batch_norm": True,
}
"""A batch norm in front of the positional convolution turns padding's zeros into its bias."""


@pytest.fixture(scope="module")
def normed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HuBERT of R13 as `save_pretrained` leaves it, its batch norm as after training."""
    folder = tmp_path_factory.mktemp("encoders") / "normed"
    torch.manual_seed(0)
    model: Any = transformers.HubertModel(transformers.HubertConfig(**NORMED))
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.ndim == 1 and tensor.dtype.is_floating_point:
                tensor.add_(0.3 * torch.randn(tensor.shape).abs())
    model.save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


def pipeline(folder: Path, corpus: Path, modality: str, encoder: str) -> Config:
    rate = "rate = 10\n" if modality == "audio" else ""
    file = folder / "pipeline.toml"
    file.write_text(
        f'[corpus]\nkind = "mmsa"\npath = "{corpus}"\n[cache]\ndtype = "float32"\n'
        f'[[features]]\nmodality = "{modality}"\nencoder = "{encoder}"\n{rate}',
        encoding="utf-8",
    )
    return load_config(file)


def only(config: Config) -> Store:
    (path,) = list_stores(config.cache.root)
    return open_store(path)


def stream(config: Config, folder: Path) -> tuple[Any, StoreWriter]:
    """The stream of the first [[features]] table, loaded, and a writer of its store."""
    made = stream_of(config.features[0], "float32")
    made.load(CPU, Clock())
    return made, StoreWriter.create(folder, made.spec)


@pytest.mark.parametrize(
    ("modality", "kind", "sharing"),
    [
        ("text", "bert", "any lengths"),
        ("text", "roberta", "any lengths"),
        ("audio", "wavlm", "any lengths"),
        ("audio", "hubert", "any lengths"),
        ("audio", "data2vec", "any lengths"),
        ("audio", "wavlm-base", "equal lengths"),
        ("audio", "hubert-base", "equal lengths"),
        ("audio", "normed", "equal lengths"),
        ("audio", "log-mel", "any lengths"),
        ("vision", "tiny-clip", "any lengths"),
    ],
)
def test_of_each_family_it_is_measured_and_recorded(
    folders: Mapping[str, Path],
    normed: Path,
    tmp_path: Path,
    modality: str,
    kind: str,
    sharing: str,
) -> None:
    encoder = str({**folders, "normed": normed}.get(kind, kind))
    config = pipeline(tmp_path, tmp_path, modality, encoder)
    one, writer = stream(config, tmp_path / "cache")
    before = writer.spec.fingerprint
    line = independence(one, writer, held=False)
    assert one.encoder.sharing == sharing
    assert ("equal length" in line) == (sharing == "equal lengths")
    assert "\n" not in line
    kept = open_store(writer.path, allow_partial=True).spec
    assert (
        kept.fingerprint == before == StoreWriter.create(tmp_path / "cache", kept).spec.fingerprint
    )
    assert kept.recorded["batches"] == sharing
    assert kept.recorded["batches measured in"] == "fp32 on cpu"
    assert (float(str(kept.recorded["batches differ by"])) > 1e-3) == (kind == "normed")


def test_what_leaks_is_batched_by_equal_length_and_its_features_are_those_of_the_clip_alone(
    normed: Path, make_corpus: Callable[..., Path], tmp_path: Path
) -> None:
    """R13: eight clips together gave other features than each alone, by 0.555."""
    config = pipeline(tmp_path, make_corpus(8), "audio", str(normed))
    progress = Notes()
    assert not extract(config, progress).failures
    (line,) = [note for note in progress.notes if "equal length" in note]
    assert "depend on what shares its batch" in line
    assert "made in mixed batches" not in line
    store = only(config)
    one = make_corpus(1, name="alone")
    single = pipeline(tmp_path, one, "audio", str(normed))
    assert not extract(single, Notes()).failures
    (path,) = [p for p in list_stores(single.cache.root) if "alone" in str(p)]
    (clip,) = open_store(path).clips
    found, wanted = store.read(None, [clip]), open_store(path).read(None, [clip])
    assert difference(found.values, wanted.values) < 1e-5


def test_a_later_run_takes_the_outcome_from_the_store(
    normed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = pipeline(tmp_path, tmp_path, "audio", str(normed))
    one, writer = stream(config, tmp_path / "cache")
    independence(one, writer, held=False)
    again, writer = stream(config, tmp_path / "cache")

    def never(clips: Sequence[Sound]) -> None:
        raise AssertionError("measured twice")

    monkeypatch.setattr(again.encoder, "encode", never)
    assert "equal length" in independence(again, writer, held=True)
    assert again.encoder.sharing == "equal lengths"
    # on another device, or in another precision, it is measured again
    writer.note({"batches measured in": "fp16 on cuda"})
    said = independence(again, writer, held=True)
    assert "cannot be measured (AssertionError: measured twice)" in said
    assert again.encoder.sharing == "one by one"
    assert writer.recorded["batches"] == "equal lengths"  # a measurement that failed is no outcome


def test_a_store_of_before_is_told_that_its_clips_were_mixed(normed: Path, tmp_path: Path) -> None:
    one, writer = stream(pipeline(tmp_path, tmp_path, "audio", str(normed)), tmp_path / "cache")
    line = independence(one, writer, held=True)
    assert "made in mixed batches" in line
    assert str(writer.path) in line


def test_text_whose_encoder_heeds_no_mask(folders: Mapping[str, Path], tmp_path: Path) -> None:
    one, writer = stream(
        pipeline(tmp_path, tmp_path, "text", str(folders["bert"])), tmp_path / "cache"
    )
    whole = one.encoder.model.forward
    one.encoder.model.forward = lambda input_ids, attention_mask: whole(input_ids=input_ids)
    assert "equal length" in independence(one, writer, held=False)
    texts = ["fine", "we liked it a lot", "it was bad", "good"]
    words = [Words(text, "", text) for text in texts]
    for word, found in zip(words, one.encoder.encode(words), strict=True):
        assert difference(found.values, one.encoder.encode([word])[0].values) < 1e-5


@pytest.mark.parametrize("modality", ["text", "audio", "vision"])
def test_what_looks_across_its_batch_is_encoded_one_by_one(
    folders: Mapping[str, Path], tmp_path: Path, modality: str
) -> None:
    encoder = {"text": folders["bert"], "audio": folders["wavlm"]}.get(modality, "tiny-clip")
    config = pipeline(tmp_path, tmp_path, modality, str(encoder))
    one, writer = stream(config, tmp_path / "cache")
    blocks_of(one.encoder.model, one.encoder.family)[0].register_forward_hook(
        lambda _module, _given, out: _minus_mean(out)
    )
    assert "one by one" in independence(one, writer, held=False)
    assert one.encoder.sharing == "one by one"
    if isinstance(config.features[0], VisionFeatures):
        crops = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
        together = one.encoder.encode(crops)
        alone = np.concatenate([one.encoder.encode(crop[None]) for crop in crops], axis=1)
        assert difference(together, alone) < 1e-5


def _minus_mean(out: Any) -> Any:
    first = out[0] if isinstance(out, tuple) else out
    first = first - first.mean(0, keepdim=True) if len(first) > 1 else first
    return (first, *out[1:]) if isinstance(out, tuple) else first


def test_a_live_encoder_is_measured_too(normed: Path, folders: Mapping[str, Path]) -> None:
    from sedimental.config import AudioFeatures
    from sedimental.extract.encoders.loading import resolve

    for folder, paddable in ((normed, False), (folders["hubert"], True)):
        checkpoint = resolve(AudioFeatures(modality="audio", encoder=str(folder)))
        live = LiveSound(
            checkpoint, ("1",), InputConfig(encoder="x"), None, torch.Generator(), True, 1, "mean"
        )
        assert live.paddable == paddable
        assert live.training


class Made:
    """An encoder of numbers; what it adds depends on its batch's width or number."""

    arithmetic = CPU

    def __init__(self, leak: float, across: float) -> None:
        self.sharing: Any = "any lengths"
        self.leak, self.across = leak, across

    def encode(self, items: Sequence[NDArray[np.float32]]) -> list[NDArray[Any]]:
        found: dict[int, NDArray[Any]] = {}
        lengths = [len(item) for item in items]
        for batch in CPU.batches(lengths, 100, self.sharing):
            padding = max(lengths[i] for i in batch)
            for i in batch:
                added = self.leak * (padding - lengths[i]) + self.across * (len(batch) - 1)
                found[i] = items[i][None, :, None] + added
        return [found[i] for i in range(len(items))]


@pytest.mark.parametrize(
    ("leak", "across", "sharing"),
    [
        (0, 0, "any lengths"),
        (1e-6, 0, "any lengths"),
        (1e-2, 0, "equal lengths"),
        (0, 1e-2, "one by one"),
        (float("nan"), 0, "equal lengths"),
    ],
)
def test_the_freest_way_that_changes_nothing(leak: float, across: float, sharing: str) -> None:
    encoder = Made(leak, across)
    items = [np.ones(n, np.float32) for n in (3, 3, 9)]
    if np.isnan(leak):
        plain = encoder.encode
        encoder.leak = 0.0

        def spoilt(given: Sequence[NDArray[np.float32]]) -> list[NDArray[Any]]:
            made = plain(given)
            mixed = len({len(item) for item in given}) > 1 and encoder.sharing == "any lengths"
            return [values * np.nan if mixed else values for values in made]

        apart = measure(encoder, spoilt, *items)
    else:
        apart = measure(encoder, encoder.encode, *items)
    assert encoder.sharing == sharing
    assert (apart > tolerance(CPU)) == (sharing != "any lengths")
    assert tolerance(ComputeDevice(torch.device("cpu"), torch.bfloat16)) > tolerance(CPU)
