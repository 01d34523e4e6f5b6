"""Weights on this machine: whichever key names the folder, and without a word on the screen."""

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from sedimental.cache.store.find import find_store
from sedimental.config import TextFeatures, load_config
from sedimental.errors import StoreNotFoundError
from sedimental.extract.encoders.loading import load_model, resolve
from sedimental.extract.encoders.presets.table import PRESETS
from sedimental.extract.run import extract


@pytest.mark.parametrize("encoder", ["folder", "maker/some-encoder"])
def test_a_folder_may_be_named_by_encoder_and_by_weights(
    folders: Mapping[str, Path], encoder: str
) -> None:
    """A folder under both keys ended in a traceback of the Hub's client, and a copy of a Hub id was
    passed over in silence."""
    folder = str(folders["bert"])
    name = folder if encoder == "folder" else encoder
    table = TextFeatures(modality="text", encoder=name, weights=folder)
    found = resolve(table)
    assert (found.weights, found.source) == ("folder", folder)
    assert found.digest == resolve(TextFeatures(modality="text", encoder=folder)).digest


def test_what_transformers_reports_of_a_checkpoint_goes_to_the_log(
    folders: Mapping[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    found = resolve(TextFeatures(modality="text", encoder=str(folders["bert"])))
    with caplog.at_level(logging.INFO, logger="sedimental"):
        load_model(found)
    assert not [r for r in caplog.records if r.name.startswith("transformers")]
    assert any("pooler" in r.getMessage() for r in caplog.records if r.name == "sedimental")


def test_a_store_is_named_after_what_it_is(folders: Mapping[str, Path], tmp_path: Path) -> None:
    """Never after a preset that the folder is no copy of."""

    def named(encoder: str, weights: str | None = None, **more: str) -> str:
        table = TextFeatures.model_validate(
            {"modality": "text", "encoder": encoder, "weights": weights, **more}
        )
        return resolve(table).slug

    folder = tmp_path / "minilm" / "model"
    shutil.copytree(folders["bert"], folder)
    assert named(str(folder)) == "minilm"  # "model" says nothing
    assert named(str(folder), name="minilm-l6") == "minilm-l6"
    assert named("bert-large-uncased", str(folder)) == "minilm"
    config = json.loads((folder / "config.json").read_text())
    for stated, name in (("maker/little-bert", "little-bert"), ("bert-large-uncased", "minilm")):
        (folder / "config.json").write_text(json.dumps({**config, "_name_or_path": stated}))
        assert named(str(folder)) == name
    sizes = {k: v for k, v in PRESETS["tiny-bert"].config.items() if k in config}
    (folder / "config.json").write_text(json.dumps({**config, **sizes}))
    assert named("tiny-bert", str(folder)) == "tiny-bert"


def test_a_named_store_is_found_by_its_name(
    folders: Mapping[str, Path], tmp_path: Path, make_corpus: Callable[..., Path]
) -> None:
    path = tmp_path / "pipeline.toml"
    table = f'[[features]]\nmodality = "text"\nencoder = "{folders["bert"]}"\n'
    line = f'[train.inputs]\ntext = {{ encoder = "{folders["bert"]}", layers = 1 }}\n'
    corpus = f'[corpus]\nkind = "mmsa"\npath = "{make_corpus(3)}"\n'
    path.write_text(f'{corpus}{table}name = "ours"\n{line}')
    config = load_config(path)
    extract(config)
    [store] = config.corpus_cache.glob("text-*/")
    assert store.name.startswith("text-ours-")
    assert find_store(config.corpus_cache, config.features[0], "float16") == store
    path.write_text(f'{corpus}{table}name = "theirs"\n{line}')
    other = load_config(path)
    with pytest.raises(StoreNotFoundError):
        find_store(other.corpus_cache, other.features[0], "float16")
