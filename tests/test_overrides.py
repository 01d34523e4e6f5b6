"""`-o KEY=VALUE` and the options that are keys: one way in, faults named as those of the file."""

from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

import sedimental
from sedimental.cli import app
from sedimental.config import Config, ConfigError, from_mapping, from_texts, load_config

RUNNER = CliRunner()
FILE = """
[[features]]
modality = "vision"
encoder = "tiny-clip"
[[features]]
modality = "text"
encoder = "tiny-bert"
[train]
epochs = 3
seeds = [4]
[train.inputs]
vision = { encoder = "tiny-clip", layers = 2 }
text = { encoder = "tiny-bert" }
[train.uegd]
hidden = 8
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "p.toml"
    path.write_text(FILE)
    return path


def loaded(file: Path, *texts: str) -> Config:
    return load_config(file, overrides=from_texts(texts))


def test_values_of_every_kind(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = loaded(
        file,
        "train.epochs=5",
        "train.models=uegd,glomo",
        "train.seeds=1-3",
        "train.modalities=TV,T",
        "train.inputs.video.layers=last2",
        "train.UEGD.hidden=16",
        "train.input_scaling=none",
        "features.video.fps=5",
        "features[1].layers=[1, 2]",
        'corpus.kind = "csv"',
        "corpus.path=t.csv",
        "sweep.epochs=2",
        "evaluate.private=True",
    )
    train = config.train
    assert (train.epochs, train.models, train.seeds) == (5, ("uegd", "glomo"), (1, 2, 3))
    assert train.modalities == ("TV", "T")
    assert train.inputs.vision is not None
    assert train.inputs.vision.layers == (-2, -1)
    assert getattr(train, "uegd") == {"hidden": 16}  # noqa: B009
    assert train.input_scaling == "none"
    assert getattr(config.features[0], "fps") == 5  # noqa: B009
    assert config.features[1].layers == (1, 2)
    assert config.corpus.path == Path.cwd() / "t.csv"  # as any path on a command line
    assert config.sweep is not None
    assert config.sweep.epochs == 2
    assert config.evaluate.private is True
    assert config.notes == ()
    assert loaded(file, "train.epochs=").train.epochs is None  # as if it were not in the file
    monkeypatch.chdir(tmp_path)
    assert sedimental.load_config(file, {"train.epochs": 9}).train.epochs == 9


def test_faults_name_the_override_and_the_nearest_key(file: Path) -> None:
    with pytest.raises(ConfigError) as found:
        loaded(
            file,
            "trian.epochs=5",
            "epochs=5",
            "train.fps=3",
            "features.vision.fsp=5",
            "features[9].fps=1",
            "features.audio.rate=1",
            "cache.format=zar",
            "train.epochs.x=1",
        )
    assert sorted(str(found.value).splitlines()) == sorted(
        [
            '-o trian.epochs=5: trian: unknown key. Did you mean "train"?',
            "-o epochs=5: epochs: unknown key. It is a key of [train] and [sweep].",
            "-o train.fps=3: train.fps: unknown key. It is a key of [features.vision].",
            '-o features.vision.fsp=5: features[0].fsp: unknown key. Did you mean "fps"?',
            "-o features[9].fps=1: features[9]: features has 2 entries, counted from 0.",
            '-o features.audio.rate=1: no [[features]] table has modality = "audio" or '
            'encoder = "audio"; say features[0] for the first.',
            '-o cache.format=zar: cache.format: should be "zarr" or "hdf5", not "zar". '
            'Did you mean "zarr"?',
            "-o train.epochs.x=1: train.epochs.x: train.epochs has no keys.",
        ]
    )
    with pytest.raises(ConfigError, match=r"^-o epochs: should be KEY=VALUE, as in"):
        from_texts(["epochs"])
    with pytest.raises(ConfigError, match=r"^override train\.epochs: train\.epochs: should be a"):
        load_config(file, overrides=from_mapping({"train.epochs": "x"}))


def test_every_command_that_reads_a_pipeline_takes_overrides() -> None:
    def walk(node: Any) -> list[Any]:
        inner = getattr(node, "commands", None)
        return [c for child in inner.values() for c in walk(child)] if inner else [node]

    commands = walk(typer.main.get_command(app))
    reading = [c for c in commands if any("--config" in p.opts for p in c.params)]
    assert len(reading) > 15
    assert [c.name for c in reading if not any("-o" in p.opts for p in c.params)] == []
    options = {c.name: {o for p in c.params for o in p.opts} for c in commands}
    assert {"--models", "--modalities", "--seeds", "--device"} <= options["train"]
    assert {"--models", "--seeds", "--device"} <= options["sweep"] & options["run"]
    assert "--device" in options["extract"]


def test_the_command_line_says_faults_of_its_options(file: Path) -> None:
    shown = RUNNER.invoke(app, ["train", "-c", str(file), "--models", "uegdd", "-o", "a=1"])
    assert shown.exit_code == 2
    assert '--models uegdd: train.models[0]: "uegdd" is no model.' in shown.stderr
    assert "-o a=1: a: unknown key" in shown.stderr
