"""`explain`, the schema and docs/reference: all read from the code, and up to date."""

import json
from pathlib import Path

import pytest
import typer.main
from reference.files import files
from reference.pages import pages
from typer.testing import CliRunner

from sedimental.cli import app
from sedimental.explain import everything, options
from sedimental.schema import SCHEMA, as_text

ROOT = Path(__file__).parent.parent


def explained(*command: str, code: int = 0) -> str:
    shown = CliRunner().invoke(app, ["explain", *command])
    assert shown.exit_code == code, shown.output
    return shown.stdout if code == 0 else shown.stderr


def test_the_pages_and_the_schema_are_up_to_date() -> None:
    """`make reference` writes them."""
    for name, text in pages(typer.main.get_command(app)).items():
        assert (ROOT / "docs/reference" / name).read_text(encoding="utf-8") == text, name
    assert (ROOT / SCHEMA).read_text(encoding="utf-8") == as_text()


def test_everything_has_words() -> None:
    entries = list(everything())
    assert [e.name for e in entries if not e.words] == []
    assert [e.name for e in entries if e.kind in ("key", "option") and not e.values] == []
    assert {e.kind for e in entries} == {"key", "model", "option", "encoder", "metric"}
    assert len(list(options("uegd"))) == 5


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("train.epochs", "Passes over the training split"),
        ("case", 'value: "kept" or "lower"; default: "kept"'),
        ("UEGD", "arXiv:2210.15937"),
        ("uegd.hidden", "default: 256"),
        ("EMT-DLFR.heads", "train.emt_dlfr.heads"),
        ("wavlm-large", "microsoft/wavlm-large"),
        ("Non0_acc_2", "better: higher"),
        ("[evaluate]", "evaluate.bootstrap"),
    ],
)
def test_one_name_is_explained(name: str, says: str) -> None:
    assert says in explained(name)


def test_what_is_not_known_has_a_nearest_name_and_without_a_name_all_are_listed() -> None:
    assert 'Did you mean "epochs"?' in explained("epohcs", code=2)
    assert 'Did you mean "wavlm-large"?' in explained("wavlm-lage", code=2)
    listed = explained()
    for name in ("train.epochs", "glomo", "clip-vit-large-patch14", "Corr"):
        assert name in listed
    assert json.loads(explained("Corr", "--json"))[0]["kind"] == "metric"


def test_init_writes_the_schema_that_its_first_line_names(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.toml"
    assert CliRunner().invoke(app, ["init", str(path)]).exit_code == 0
    first = path.read_text(encoding="utf-8").split("\n")[0]
    assert first == f"#:schema ./{SCHEMA}"
    schema = json.loads((tmp_path / SCHEMA).read_text(encoding="utf-8"))
    train = schema["$defs"]["TrainConfig"]
    assert train["additionalProperties"] is False
    assert "uegd" in train["properties"]["models"]["items"]["enum"]
    assert train["properties"]["glomo"]["properties"]["bins"]["description"]
    written = CliRunner().invoke(app, ["schema", str(tmp_path / "own.json")])
    assert "#:schema ./own.json" in written.stdout


def test_files_name_every_place() -> None:
    assert len(list(files())) > 15
    assert all("<" in path and words for path, words in files())
