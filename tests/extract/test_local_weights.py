"""Weights on this machine: whichever key names the folder, and without a word on the screen."""

import logging
from collections.abc import Mapping
from pathlib import Path

import pytest

from sedimental.config import TextFeatures
from sedimental.extract.encoders.loading import load_model, resolve


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
