"""pipeline.toml: the shipped one loads, every fault of a bad one comes in one answer."""

from pathlib import Path

import pytest
from pydantic import BaseModel

import sedimental.config as config_module
from sedimental.config import MODEL_NAMES, Config, ConfigError, Section, load_config
from sedimental.extract.encoders.presets.table import encoder_faults
from sedimental.train.models import MODELS, option_faults

ROOT = Path(__file__).parent.parent
SHIPPED = [ROOT / "pipeline.toml", *sorted((ROOT / "extract/corpora/presets").glob("*.toml"))]
CHECKS = [encoder_faults, option_faults]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_every_shipped_pipeline_is_valid(path: Path) -> None:
    config = load_config(path, CHECKS)
    assert config.features
    modalities = "TA" if path.stem.startswith("mmml") else "TAV"  # as published
    assert config.train.subsets[0] == modalities


def faults(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "pipeline.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as found:
        load_config(path, CHECKS)
    lines = str(found.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    return sorted(line.removeprefix(f"{path}: ") for line in lines)


def known_models() -> str:
    """As pydantic lists them."""
    *names, last = (f"'{name}'" for name in config_module.MODEL_NAMES)
    return f"{', '.join(names)} or {last}"


def test_every_fault_in_one_answer_with_place_and_nearest_name(tmp_path: Path) -> None:
    text = """
[corpus]
kindd = "demo"
kind = "csv"
[cache]
format = "zar"
part_mb = 0
[[features]]
modality = "vision"
encoder = "tiny-clp"
fpss = 3
[[features]]
modality = "audi"
encoder = "x/y"
[train]
models = ["uegdd"]
seeds = [1.5]
modalities = ["TX", "TV"]
[train.inputs]
text = { encoder = "tiny-bert", layer = 1, layers = "weigted" }
[train.uegd]
dropuot = 0.1
[evaluat]
"""
    assert faults(tmp_path, text) == sorted(
        [
            'corpus.kindd: Extra inputs are not permitted. Did you mean "kind"?',
            'corpus.path: kind = "csv" needs the path of its table or folder.',
            "cache.format: Input should be 'zarr' or 'hdf5'. Did you mean \"zarr\"?",
            "cache.part_mb: Input should be greater than 0.",
            'features[0].encoder: "tiny-clp" is no preset, no Hub id ("owner/name") and no folder. '
            'Did you mean "tiny-clip"?',
            'features[0].fpss: Extra inputs are not permitted. Did you mean "fps"?',
            "features[1]: Input tag 'audi' found using 'modality' does not match any of the "
            "expected tags: 'vision', 'audio', 'text'. Did you mean \"audio\"?",
            f'train.models[0]: Input should be {known_models()}. Did you mean "uegd"?',
            "train.seeds[0]: Input should be a valid integer, got a number with a fractional part.",
            'train.modalities[0]: "TX" is no subset of "TAV".',
            'train.modalities[1]: "TV" needs vision in [train.inputs].',
            'train.inputs.text.layer: Extra inputs are not permitted. Did you mean "layers"?',
            'train.inputs.text.layers: should be a layer number, a list of them, "weighted" or '
            '"final".',
            'train.inputs.text.encoder: no [[features]] table with modality = "text" makes '
            '"tiny-bert".',
            'train.uegd.dropuot: unknown option. Did you mean "dropout"?',
            'evaluat: Extra inputs are not permitted. Did you mean "evaluate"?',
        ]
    )


def test_files_that_are_no_pipeline(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file\. `sedimental init` writes one"):
        load_config(tmp_path / "none.toml")
    assert "not valid TOML" in faults(tmp_path, "[corpus\n")[0]
    wrong = faults(tmp_path, 'features = 3\ntrain = "x"\ncorpus = []\n')
    assert [line.split(":")[0] for line in wrong] == ["corpus", "features", "train"]


def test_paths_start_at_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "deep"
    folder.mkdir()
    (folder / "p.toml").write_text('[corpus]\nkind = "csv"\npath = "t.csv"\n[runs]\nroot = "/r"\n')
    monkeypatch.chdir(tmp_path)
    config = load_config("deep/p.toml")
    assert config.corpus.path == folder / "t.csv"
    assert config.corpus_cache == folder / "features" / "t"
    assert config.experiment == Path("/r/t")


def test_every_key_says_what_it_is() -> None:
    sections = [
        kind
        for kind in vars(config_module).values()
        if isinstance(kind, type)
        and issubclass(kind, BaseModel)
        and kind not in (BaseModel, Section)
    ]
    assert Config in sections
    plain = {"modality", "weight_decay", "batch_size"}
    silent = [
        f"{section.__name__}.{name}"
        for section in sections
        for name, field in section.model_fields.items()
        if not field.description
        and name not in plain
        and section not in (Config,)
        and name not in ("text", "audio", "vision", "inputs")
    ]
    assert not silent
    assert all(section.__doc__ for section in sections)


def test_models_of_the_config_are_those_there_are() -> None:
    assert set(MODEL_NAMES) == set(MODELS)
