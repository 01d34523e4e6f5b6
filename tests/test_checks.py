"""One check of the whole pipeline: every command gives the same answer, before anything runs."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sedimental.checks import load_config
from sedimental.cli import app
from sedimental.config import Config, ConfigError
from sedimental.errors import SedimentalError
from sedimental.extract.encoders.layer_faults import known_layers
from sedimental.extract.encoders.presets.table import PRESETS

COMMANDS = ("doctor", "extract", "train", "sweep", "robustness", "run", "report")
WRONG = """
[[features]]
modality = "text"
encoder = "tiny-bert"
[[features]]
modality = "audio"
encoder = "tiny-wavlm"
layers = [1, 2, 7]
[train]
models = ["uegd"]
criterion = "MEA"
also = ["Acuracy"]
[train.inputs]
text = { encoder = "tiny-bert", layers = 9 }
[train.uegd]
embeding = 3
[train.tfn]
modalities = ["TV"]
[sweep]
layers = [0, 5]
criterion = "valid_loss"
modalities = ["A"]
fusions = ["TA"]
options = { dropuot = [0.1], hidden = [8, "x"] }
"""
FAULTS = (
    "features[1].layers: tiny-wavlm has no layer 7; it has 0 to 4",
    'train.criterion: "MEA" is not measured here. Did you mean "MAE"?',
    'train.also[0]: "Acuracy" is not measured here.',
    "train.inputs.text.layers: tiny-bert has no layer 9; it has 0 to 4",
    'train.uegd.embeding: unknown option. Did you mean "embedding"?',
    'train.tfn.modalities: "TV" needs vision in [train.inputs].',
    'sweep.criterion: "valid_loss" is not measured here.',
    'sweep.modalities: "A" needs audio in [train.inputs].',
    'sweep.fusions: "TA" needs layers of T, which are not tried. Tried are: A.',
    'sweep.options: dropuot is no option of uegd. Did you mean "dropout"?',
    "sweep.options (uegd).hidden: ",
)


def pipeline(folder: Path, text: str, corpus: str = 'kind = "demo"') -> Path:
    path = folder / "pipeline.toml"
    path.write_text(f"[corpus]\n{corpus}\n{text}")
    return path


def told(*command: str) -> Any:
    return CliRunner().invoke(app, list(command))


@pytest.mark.parametrize("online", [True, False])
def test_every_command_gives_all_faults_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, online: bool
) -> None:
    """R19: `layers = 9`, `criterion = "MEA"`, `embeding = 3`, and others of their kind."""
    path = pipeline(tmp_path, WRONG)
    if not online:
        monkeypatch.setattr(socket, "getaddrinfo", None)  # no name is looked up
        monkeypatch.setattr(socket.socket, "connect", None)
    answers = set()
    for command in COMMANDS:
        answer = told(command, "-c", str(path))
        assert answer.exit_code == 2, command
        assert not answer.stdout
        lines = answer.stderr.replace("error: ", "").strip().splitlines()
        answers.add(tuple(lines))
        assert all(line.startswith(f"{path}: ") for line in lines)
        for fault in FAULTS:
            assert sum(fault in line for line in lines) == 1, fault
        assert len(lines) == len(FAULTS)
    assert len(answers) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["pipeline.toml"]  # nothing has begun


def test_faults_of_the_types_hide_no_others(tmp_path: Path) -> None:
    """R19: a key that is no number does not keep the layer and the metric from being told."""
    text = WRONG.replace("[train]\n", '[train]\nepochs = "many"\nmodles = ["tfn"]\n')
    with pytest.raises(ConfigError) as found:
        load_config(pipeline(tmp_path, text))
    lines = str(found.value).split("\n")
    assert len(lines) == len(FAULTS) + 2
    assert any("train.epochs: should be a whole number" in line for line in lines)


def test_the_table_stands_in_the_same_answer(tmp_path: Path) -> None:
    """R19: what is wrong with the corpus's table is told with what is wrong with the pipeline."""
    (tmp_path / "t.csv").write_text("id,split,label,text\na,trian,1,x\nb,test,x,y\n")
    text = '[[features]]\nmodality = "text"\nencoder = "tiny-bert"\nlayers = [9]\n'
    path = pipeline(tmp_path, text, 'kind = "csv"\npath = "t.csv"')
    for command in ("doctor", "extract", "run"):
        answer = told(command, "-c", str(path))
        assert answer.exit_code == 2
        lines = answer.stderr.strip().splitlines()
        assert len(lines) == 3
        assert "features[0].layers: tiny-bert has no layer 9" in lines[0]
        assert f"{tmp_path / 't.csv'}: line 2: split is 'trian'" in lines[1]
        assert f"{tmp_path / 't.csv'}: line 3: label is 'x'" in lines[2]


def test_a_corpus_of_classes_takes_models_and_metrics_of_classes(tmp_path: Path) -> None:
    text = (
        '[train]\nmodels = ["uegd", "sugrm"]\ncriterion = "MAE"\nalso = ["Weighted_F1", "F1_joy"]\n'
    )
    with pytest.raises(ConfigError) as found:
        load_config(pipeline(tmp_path, text, 'kind = "meld"\npath = "MELD"'))
    lines = str(found.value).split("\n")
    assert len(lines) == 1
    assert 'train.criterion: "MAE" is not measured here.' in lines[0]
    load_config(pipeline(tmp_path, text, 'kind = "csv"\npath = "t.csv"'))  # may have both


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('encoder = "tiny-bert", layers = "final"', None),
        ('encoder = "tiny-bert", layers = -5', None),
        ('encoder = "tiny-bert", layers = -6', "has no layer -6"),
        ('encoder = "tiny-bert", layers = [1, 8]', "has no layer 8"),
        ('encoder = "tiny-bert", layers = -1, live = true, top = 9', "has only 4 blocks, not 9"),
        ('encoder = "tiny-bert", layers = "weighted"', None),
    ],
)
def test_layers_of_an_input(tmp_path: Path, line: str, fault: str | None) -> None:
    mode = 'mode = "finetune"\n' if "live" in line else ""
    text = (
        '[[features]]\nmodality = "text"\nencoder = "tiny-bert"\n'
        f"[train]\n{mode}[train.inputs]\ntext = {{ {line} }}\n"
    )
    fault = fault or ("has no layer final" if '"final"' in line else None)
    if fault is None:
        load_config(pipeline(tmp_path, text))
        return
    with pytest.raises(ConfigError, match=fault):
        load_config(pipeline(tmp_path, text))


def test_layers_count_among_those_that_are_stored(tmp_path: Path) -> None:
    text = (
        '[[features]]\nmodality = "text"\nencoder = "tiny-bert"\nlayers = [1, -1]\n'
        '[train.inputs]\ntext = { encoder = "tiny-bert", layers = LAYER }\n'
    )
    load_config(pipeline(tmp_path, text.replace("LAYER", "4")))
    with pytest.raises(ConfigError, match=r"tiny-bert has no layer 2; it has 1, 4"):
        load_config(pipeline(tmp_path, text.replace("LAYER", "2")))


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_layers_known_beforehand_are_those_that_are_stored(name: str, tmp_path: Path) -> None:
    from types import SimpleNamespace

    from sedimental.extract.encoders.hidden import has_final, layer_names
    from sedimental.extract.encoders.loading import _own_config

    preset = PRESETS[name]
    config = Config.model_validate(
        {"features": [{"modality": preset.modality, "encoder": name}], "cache": {"root": tmp_path}}
    )
    own: Any = _own_config(name, preset) if preset.network else SimpleNamespace(**preset.config)
    from sedimental.extract.encoders.presets.families import FAMILIES

    wanted = layer_names(own.num_hidden_layers, has_final(own, FAMILIES[preset.family]))
    assert known_layers(config, config.features[0]) == wanted


def test_a_folder_is_asked_for_its_layers(tmp_path: Path, folders: Any) -> None:
    text = (
        f'[[features]]\nmodality = "text"\nencoder = "{folders["bert"]}"\n'
        f'[train.inputs]\ntext = {{ encoder = "{folders["bert"]}", layers = 4 }}\n'
    )
    with pytest.raises(ConfigError, match="has no layer 4; it has 0 to 3"):
        load_config(pipeline(tmp_path, text))


def test_what_only_the_hub_knows_is_left_for_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket.socket, "connect", None)
    text = (
        '[[features]]\nmodality = "text"\nencoder = "no-one/no-such-model"\n'
        '[train.inputs]\ntext = { encoder = "no-one/no-such-model", layers = 99 }\n'
    )
    assert load_config(pipeline(tmp_path, text)).features


LABELS = "id,split,label,text\n" + "".join(
    f"c{k},{('train', 'train', 'valid', 'test')[k % 4]},{k % 5 - 2},some words {k}\n"
    for k in range(16)
)
SMALL = """
[[features]]
modality = "text"
encoder = "tiny-bert"
[train]
models = ["uegd"]
seeds = [1]
epochs = 1
[train.inputs]
text = { encoder = "tiny-bert", layers = -1 }
[train.uegd]
hidden = 4
embedding = 4
[evaluate]
bootstrap = 0
"""


def test_an_edited_table_is_taken_in_or_named_never_unsaid(tmp_path: Path) -> None:
    """R4 from end to end: labels count at once, words and clips are named until they are made."""
    table = tmp_path / "corpus.csv"
    table.write_text(LABELS)
    path = str(pipeline(tmp_path, SMALL, 'kind = "csv"\npath = "corpus.csv"'))
    for command in ("extract", "train", "report"):
        answer = told(command, "-c", path)
        assert answer.exit_code == 0, answer.stderr
        assert "has changed" not in answer.stderr
    predictions = sorted((tmp_path / "runs").rglob("predictions.csv"))
    assert len(predictions) == 1
    first = predictions[0].read_text()

    table.write_text(LABELS.replace(",2,some", ",-2,some"))
    answer = told("report", "-c", path, "--json")
    assert answer.exit_code == 0
    said = [caution["text"] for caution in json.loads(answer.stdout)["cautions"]]
    assert any("labels of 3 clips (c4, c9, c14)" in text for text in said)
    answer = told("train", "-c", path)
    assert "labels of 3 clips (c4, c9, c14). It counts as it is now." in answer.stderr
    again = [p.read_text() for p in sorted((tmp_path / "runs").rglob("predictions.csv"))]
    assert any(text != first for text in again)
    assert "has changed" not in told("train", "-c", path).stderr

    table.write_text(LABELS.replace("words 3\n", "other words\n") + "new,train,0,x\n")
    for command in ("train", "report"):
        answer = told(command, "-c", path)
        assert answer.exit_code == 0
        for part in ("texts of 1 clip (c3)", "new: 1 clip (new)", "`sedimental extract`"):
            assert part in answer.stderr
    assert "1 " in told("extract", "-c", path).stdout
    assert "has changed" not in told("train", "-c", path).stderr


def test_a_table_that_is_not_at_hand_stops_nobody(tmp_path: Path) -> None:
    """Features can be trained on where the corpus is not."""
    (tmp_path / "corpus.csv").write_text(LABELS)
    path = str(pipeline(tmp_path, SMALL, 'kind = "csv"\npath = "corpus.csv"'))
    assert told("extract", "-c", path).exit_code == 0
    (tmp_path / "corpus.csv").unlink()
    answer = told("train", "-c", path)
    assert answer.exit_code == 0
    assert "warning: the table" not in answer.stderr


def test_the_table_of_another_corpus_is_refused_by_every_command(tmp_path: Path) -> None:
    """R5 from end to end."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a/t.csv").write_text(LABELS)
    (tmp_path / "t.csv").write_text(LABELS.replace(",2,", ",1,"))
    first = str(pipeline(tmp_path, SMALL, 'kind = "csv"\npath = "a/t.csv"'))
    assert told("extract", "-c", first).exit_code == 0
    second = tmp_path / "second.toml"
    second.write_text(Path(first).read_text().replace("a/t.csv", "t.csv"))
    for command in ("extract", "run", "train", "sweep", "report", "doctor"):
        answer = told(command, "-c", str(second))
        assert answer.exit_code == 2, command
        for part in (str(tmp_path / "a/t.csv"), str(tmp_path / "t.csv"), "corpus.name"):
            assert part in answer.stderr, command


def test_the_check_raises_one_family_of_errors(tmp_path: Path) -> None:
    with pytest.raises(SedimentalError):
        load_config(tmp_path / "none.toml")
