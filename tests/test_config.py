"""pipeline.toml: the shipped one loads, every fault of a bad one comes in one answer."""

from pathlib import Path

import pytest
from pydantic import BaseModel

import sedimental.config as config_module
from sedimental.config import (
    Config,
    ConfigError,
    InputConfig,
    Section,
    from_mapping,
    load_config,
    read_config,
)
from sedimental.config.pipeline import Check
from sedimental.extract.encoders.presets.table import encoder_faults
from sedimental.train.models import option_faults

ROOT = Path(__file__).parent.parent
SHIPPED = [ROOT / "pipeline.toml", *sorted((ROOT / "extract/corpora/presets").glob("*.toml"))]
CHECKS: list[Check] = [encoder_faults, option_faults]


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
            'corpus.kindd: unknown key. Did you mean "kind"?',
            'corpus.path: kind = "csv" needs the path of its table or folder.',
            'cache.format: should be "zarr" or "hdf5", not "zar". Did you mean "zarr"?',
            "cache.part_mb: should be greater than 0, not 0.",
            'features[0].encoder: "tiny-clp" is no preset, no Hub id ("owner/name") and no folder. '
            'Did you mean "tiny-clip"?',
            'features[0].fpss: unknown key. Did you mean "fps"?',
            'features[1].modality: should be "vision", "audio" or "text", not "audi". '
            'Did you mean "audio"?',
            'train.models[0]: "uegdd" is no model. Did you mean "uegd"?',
            "train.seeds[0]: should be a whole number, not 1.5.",
            'train.modalities[0]: "TX" is no subset of "TAV".',
            'train.modalities[1]: "TV" needs vision in [train.inputs].',
            'train.inputs.text.layer: unknown key. Did you mean "layers"?',
            "train.inputs.text.layers: should be a layer number, a list of them, a range like "
            '"6-12", "last4", "weighted" or "final", not "weigted".',
            'train.inputs.text.encoder: no [[features]] table with modality = "text" makes '
            '"tiny-bert".',
            'train.uegd.dropuot: unknown option. Did you mean "dropout"?',
            'evaluat: unknown key. Did you mean "evaluate"?',
        ]
    )


def test_an_encoder_is_named_once(tmp_path: Path) -> None:
    """[train.inputs] takes the encoder of the modality's [[features]] table, where there is one."""
    text = '[[features]]\nmodality = "text"\nencoder = "tiny-bert"\n'
    inputs = "[train.inputs]\ntext = { layers = 2 }\n"
    file = tmp_path / "pipeline.toml"
    file.write_text(text + inputs)
    config = load_config(file)
    assert config.train.inputs.text == InputConfig(encoder="tiny-bert", layers=2)
    other = load_config(file, overrides=from_mapping({"features.text.encoder": "tiny-roberta"}))
    assert other.train.inputs.text == InputConfig(encoder="tiny-roberta", layers=2)
    second = '[[features]]\nmodality = "text"\nencoder = "tiny-roberta"\n'
    assert faults(tmp_path, text + second + inputs) == [
        "train.inputs.text.encoder: is needed: one of tiny-bert and tiny-roberta."
    ]
    assert faults(tmp_path, inputs) == [
        'train.inputs.text.encoder: is needed, and no [[features]] table has modality = "text".'
    ]


def test_a_model_that_is_like_no_other_is_told_the_closest_and_where_to_add_one(
    tmp_path: Path,
) -> None:
    (fault,) = faults(tmp_path, '[train]\nmodels = ["foo"]\n')
    assert fault.startswith(
        'train.models[0]: "foo" is no model. The closest are glomo, tfn, mfn; `sedimental models` '
    )
    assert fault.endswith('CONTRIBUTING.md, "Add a model".')


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
    silent = [
        f"{section.__name__}.{name}"
        for section in sections
        for name, field in section.model_fields.items()
        if not field.description
        and section not in (Config,)
        and name not in ("text", "audio", "vision", "inputs")
    ]
    assert not silent
    assert all(section.__doc__ for section in sections)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"[train]\nseeds = [" + b"9" * 5000 + b"]\n", "not valid TOML"),
        ('[corpus]\nkind = "demo"'.encode("utf-16"), "not UTF-8"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"a = 1\na = 2\n", "not valid TOML"),
    ],
)
def test_files_that_are_no_toml_are_one_clear_fault(tmp_path: Path, data: bytes, says: str) -> None:
    """H16."""
    path = tmp_path / "p.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=says) as found:
        load_config(path)
    assert str(found.value).startswith(f"{path}: ")


def test_a_folder_and_a_bom(tmp_path: Path) -> None:
    """H16: a folder is told from a file, a BOM is skipped."""
    path = tmp_path / "pipeline.toml"
    path.write_text('[corpus]\nkind = "demo"\n', encoding="utf-8-sig")
    assert load_config(path).corpus.kind == "demo"
    with pytest.raises(ConfigError, match=r"is a folder.*Did you mean .*pipeline\.toml"):
        load_config(tmp_path)
    with pytest.raises(ConfigError):
        load_config("a\0b")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[[features]]\nmodality = ['text', 'audio']\nencoder = 'tiny-bert'\n", "features[0]"),
        ("[[features]]\nmodality = {}\nencoder = 'tiny-bert'\n", "features[0]"),
        ("[[features]]\nmodality = 3\nencoder = []\n", "features[0]"),
        ("[[features]]\nencoder = 'tiny-bert'\n", "features[0].modality: is needed"),
        ("[[features]]\nmodality = 'text'\nencoder = ''\n", "features[0].encoder: is empty"),
        ("features = [1, [], 'x']\n", "features[0]"),
        ("[corpus]\npath = 3\n", "corpus.path: should be a path in quotes, not 3."),
        ("[corpus]\nkind = ['csv']\n", "corpus.kind"),
        ('[corpus]\nkind = "csv"\npath = "a\\u0000b"\n', "corpus.path"),
        ("[train]\nepochs = true\n", "train.epochs: should be a whole number, not true."),
        ("[train]\nepochs = '5'\n", 'train.epochs: should be a whole number, not "5".'),
        ("[train]\nlearning_rate = inf\n", "train.learning_rate"),
        ("[train]\nlearning_rate = nan\n", "train.learning_rate"),
        ("[train]\nseeds = [true]\n", "train.seeds[0]"),
        ("[train]\nseeds = [-1]\n", "train.seeds[0]: should be at least 0, not -1."),
        ("[train]\nmodels = [1979-05-27]\n", "train.models[0]"),
        ("[train]\nmodels = {}\n", "train.models"),
        ("[train]\ninputs = 1979-05-27\n", "train.inputs"),
        ("[train]\nmodalities = [['T']]\n", "train.modalities[0]"),
        ("[train.inputs]\ntext = []\n", "train.inputs.text"),
        ("[train.inputs]\ntext = { encoder = 'x', layers = [true] }\n", "train.inputs.text.layers"),
        ("[train]\nuegd = 3\n", "train.uegd: should be a table of keys, not 3."),
        ("[train]\nepocs = 3\n", 'train.epocs: unknown key. Did you mean "epochs"?'),
        ("[train.uegdd]\nhidden = 3\n", 'train.uegdd: unknown key. Did you mean "uegd"?'),
        (
            "[extract]\ndevice = 'gpu'\n",
            'extract.device: should be auto, cpu, cuda or cuda:1, not "gpu"',
        ),
        ("[sweep]\nmodel = [[]]\n", "sweep.model[0]"),
        ("[sweep]\noptions = []\n", "sweep.options: should be a table of keys"),
    ],
)
def test_values_of_odd_types_are_faults_in_our_words(tmp_path: Path, text: str, fault: str) -> None:
    """H16, and the wording of friction 7: no traceback, no words of the library's."""
    found = "\n".join(faults(tmp_path, text))
    assert fault in found
    assert "Input should" not in found
    assert "Extra inputs" not in found


def test_values_as_the_field_writes_them_are_understood_and_said(tmp_path: Path) -> None:
    """Friction 7."""
    path = tmp_path / "p.toml"
    path.write_text("""
[[features]]
modality = "video"
encoder = "tiny-clip"
layers = "1-3"
[[features]]
modality = "language"
encoder = "tiny-bert"
layers = 4
[train]
models = "UEGD"
modalities = "text+video"
seeds = 7
[train.inputs]
language = { encoder = "tiny-bert", layers = "4" }
visual = { encoder = "tiny-clip", layers = "last2" }
[train.EMT-DLFR]
modalities = ["tv"]
[sweep]
model = "self-mm"
layers = "last3"
fusions = ["TV", "vt"]
""")
    config = load_config(path, CHECKS)
    assert [f.modality for f in config.features] == ["vision", "text"]
    assert [f.layers for f in config.features] == [(1, 2, 3), (4,)]
    train, sweep = config.train, config.sweep
    assert (train.models, train.modalities, train.seeds) == (("uegd",), ("TV",), (7,))
    assert train.inputs.text is not None
    assert train.inputs.text.layers == 4
    assert train.inputs.vision is not None
    assert train.inputs.vision.layers == (-2, -1)
    assert getattr(train, "emt_dlfr") == {"modalities": ["TV"]}  # noqa: B009
    assert sweep is not None
    assert (sweep.model, sweep.layers, sweep.fusions) == (("self_mm",), (-3, -2, -1), ("TV", "VT"))
    said = [note.removeprefix(f"{path}: ") for note in config.notes]
    assert 'features[0].modality = "video" is read as "vision".' in said
    assert 'features[0].layers = "1-3" is read as [1, 2, 3].' in said
    assert 'train.models = "uegd" is read as ["uegd"].' not in said
    assert 'train.models = "UEGD" is read as "uegd".' in said
    assert len(said) == len(set(said))
    path.write_text('[corpus]\nkind = "demo"\n')
    assert load_config(path).notes == ()


def test_a_model_of_the_table_alone_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R12: one line in one table, and `models` and ``[train.mine]`` are keys."""
    from sedimental import model_table

    monkeypatch.setitem(model_table.MODELS, "mine", model_table.Model("uegd:UEGD"))
    path = tmp_path / "p.toml"
    path.write_text('[train]\nmodels = ["mine"]\n[train.mine]\nhidden = 3\n')
    config = load_config(path, CHECKS)
    assert getattr(config.train, "mine") == {"hidden": 3}  # noqa: B009
    path.write_text('[train]\nmodels = ["mine"]\n[train.mine]\nhiden = 3\n')
    with pytest.raises(ConfigError, match=r'train\.mine\.hiden.*Did you mean "hidden"'):
        load_config(path, CHECKS)


def test_models_by_the_names_of_mmsa() -> None:
    """I14: that tool calls mag_bert `bert_mag`."""
    from sedimental.config.field_spellings import forgiven

    found, (said,) = forgiven({"train": {"models": ["bert_mag", "tfn"]}})
    assert found["train"]["models"] == ["mag_bert", "tfn"]
    assert said.endswith('= "bert_mag" is read as "mag_bert".')


def test_no_word_of_the_library_reaches_a_user(tmp_path: Path) -> None:
    """Friction 7: every key with values of every kind, and every option of a model."""
    import re

    from sedimental.config import TAGS
    from sedimental.config.field_spellings import forgiven
    from sedimental.config.pipeline import _validated
    from sedimental.config.wording import sections
    from sedimental.train.models import MODELS

    odd: tuple[object, ...] = (
        None,
        True,
        -1,
        1.5,
        "x",
        "",
        [],
        [[]],
        {},
        {"a": 1},
        [1, "x"],
        float("nan"),
        10**30,
    )
    said = set[str]()
    for path, section in sections(Config, TAGS):
        steps = path.split(".") if path else []
        for key in section.model_fields:
            for value in odd:
                raw: dict[str, object] = {key: value}
                for step in reversed(steps):
                    raw = {step: raw}
                if steps[:1] == ["features"]:
                    table = {"modality": steps[1], "encoder": "tiny-bert", key: value}
                    raw = {"features": [table]}
                said |= set(_validated(forgiven(raw)[0])[1])
    for name in MODELS:
        said |= set(option_faults({"train": {name: {"dropout": "x", "classes": [], "heads": {}}}}))
    assert len(said) > 500
    words = r"Input |Extra inputs|valid |pattern|Field required|Value error|validator|instance of"
    assert [text for text in said if re.search(words, text)] == []
    assert [text for text in said if not text.endswith((".", "?"))] == []


TABLE = '[[features]]\nmodality = "{}"\nencoder = "{}"\n'


def test_without_inputs_every_modality_is_read(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.toml"
    file.write_text(TABLE.format("text", "tiny-bert") + TABLE.format("video", "tiny-clip"))
    config = load_config(file, CHECKS)
    assert config.train.subsets == ("TV",)
    assert not config.train.lacking
    assert config.train.inputs.vision is not None
    assert (config.train.inputs.vision.encoder, config.train.inputs.vision.layers) == (
        "tiny-clip",
        -1,
    )
    file.write_text('[train]\nmodalities = ["T"]\n' + TABLE.format("text", "tiny-bert"))
    assert load_config(file, CHECKS).train.subsets == ("T",)


def test_of_two_encoders_of_a_modality_none_is_chosen_unasked(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.toml"
    file.write_text(TABLE.format("text", "tiny-bert") + TABLE.format("text", "tiny-roberta"))
    config = load_config(file, CHECKS)
    assert config.train.subsets == ()
    assert "lacks [train.inputs]. Where" in config.train.lacking
    assert "several" in config.train.lacking


@pytest.mark.parametrize("modality", ["text", "audio", "vision"])
def test_a_modality_at_the_top_of_the_file_is_told_beside_the_other_faults(
    tmp_path: Path, modality: str
) -> None:
    text = f'{modality} = {{ encoder = "tiny-bert" }}\n[train]\nepochs = -1\n'
    told = faults(tmp_path, text)
    assert [line.split(":")[0] for line in told] == sorted([modality, "train.epochs"])
    assert f"{modality}: unknown key. It is a key of [train.inputs]." in told


def test_what_is_right_beside_a_wrong_input_is_still_checked(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.toml"
    file.write_text(TABLE.format("text", "tiny-bert") + "[train.inputs]\ntext = { live = 7 }\n")
    config, told = read_config(file, CHECKS)
    assert [line.split(": ")[1] for line in told] == ["train.inputs.text.live"]
    assert config is not None
    assert [table.encoder for table in config.features] == ["tiny-bert"]


@pytest.mark.parametrize("key", ["models", "seeds", "modalities"])
def test_an_empty_list_is_what_is_lacking(tmp_path: Path, key: str) -> None:
    file = tmp_path / "pipeline.toml"
    file.write_text(f"[train]\n{key} = []\n{TABLE.format('text', 'tiny-bert')}")
    told = load_config(file, CHECKS).train.lacking
    assert told == f"[train] asks for no run: it lacks {key}."
