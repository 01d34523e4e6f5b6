"""`sedimental models`: every model with its facts, sizes that are those of its runs, BibTeX."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import sedimental
from sedimental.cli import app
from sedimental.config import load_config
from sedimental.model_table import MODELS, cite
from sedimental.train.models import within_text
from sedimental.train.run import train

MakeFeatures = Callable[..., Path]
RUNNER = CliRunner()


def test_models_that_need_live_text_say_so() -> None:
    inside = {name for name in MODELS if within_text(name)}
    assert inside == {name for name, model in MODELS.items() if "live text" in model.needs}


def test_papers_are_bibtex() -> None:
    entries = re.findall(r"^@(\w+)\{(\w+),\n((?:  .*,\n)+)\}$", cite(MODELS), re.MULTILINE)
    papers = {model.paper for model in MODELS.values() if model.paper}
    assert len(entries) == len(papers) == len({key for _, key, _ in entries})
    for kind, key, body in entries:
        fields = dict(re.findall(r"^  (\w+) = \{(.*)\},$", body, re.MULTILINE))
        assert fields.keys() >= {"title", "author", "year"}, key
        assert ("journal" if kind == "article" else "booktitle") in fields
        assert body.count("{") == body.count("}")
    assert cite(["mtfn", "mlmf", "lf_dnn"]).count("@") == 1  # one paper, and one that is none


SMALL = """
[train]
models = ["lf_dnn", "mfn", "almt"]
seeds = [1]
epochs = 1
"""


def test_sizes_are_those_of_the_runs(make_features: MakeFeatures) -> None:
    config = load_config(make_features(SMALL, clips=30))
    rows = {row.name: row for row in sedimental.models(config).rows}
    for run in train(config):
        assert rows[run.model].parameters == run.parameters
    assert rows.keys() == MODELS.keys()
    assert not sedimental.models(config).unknown


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = RUNNER.invoke(app, ["models"])
    assert shown.exit_code == 0, shown.output
    assert all(name in shown.stdout for name in MODELS)
    assert "parameters are not told: no pipeline.toml" in shown.stderr
    found = json.loads(RUNNER.invoke(app, ["models", "almt", "lf_dnn", "--json"]).stdout)
    assert [row["model"] for row in found] == ["lf_dnn", "almt"]
    assert found[1]["year"] == 2023
    assert found[1]["bibtex"] == RUNNER.invoke(app, ["models", "almt", "--cite"]).stdout.strip()
    wrong = RUNNER.invoke(app, ["models", "lnlnn"])
    assert wrong.exit_code == 2
    assert 'Did you mean "lnln"?' in wrong.stderr
