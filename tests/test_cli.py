"""The commands as a user meets them: help, exit codes, JSON alone on stdout."""

from pathlib import Path
from typing import Any

import pytest
import typer.main
from command_answers import json_of
from typer.testing import CliRunner

from sedimental.cli import app

RUNNER = CliRunner()


def commands(group: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, command in group.commands.items():
        inner = hasattr(command, "commands")
        found += commands(command, (*path, name)) if inner else [(*path, name)]
    return found


COMMANDS = commands(typer.main.get_command(app))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_and_says_what_its_options_do(command: tuple[str, ...]) -> None:
    shown = RUNNER.invoke(app, [*command, "--help"])
    assert shown.exit_code == 0
    node: Any = typer.main.get_command(app)
    for name in command:
        node = node.commands[name]
    assert node.help
    silent = [p.name for p in node.params if not getattr(p, "help", None)]
    assert not silent


@pytest.mark.parametrize("command", [*COMMANDS], ids=" ".join)
def test_every_command_is_listed(command: tuple[str, ...]) -> None:
    listed = (Path(__file__).parent.parent / "docs/commands.md").read_text(encoding="utf-8")
    assert f"`sedimental {' '.join(command)}`" in listed


@pytest.mark.parametrize("command", [("run",), ("extract",), ("train",), ("report",)])
def test_a_bad_pipeline_is_exit_code_2_and_says_why_on_stderr(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    path = tmp_path / "pipeline.toml"
    path.write_text("[corpus]\nkindd = 1\n[cache]\nformat = 3\n")
    shown = RUNNER.invoke(app, [*command, "-c", str(path)])
    assert shown.exit_code == 2
    assert shown.stdout == ""
    assert 'Did you mean "kind"?' in shown.stderr
    assert "cache.format" in shown.stderr
    assert RUNNER.invoke(app, [*command, "-c", str(tmp_path / "none.toml")]).exit_code == 2


def test_train_and_report_before_extract_say_what_to_do(
    make_corpus: Any, make_pipeline: Any
) -> None:
    path = make_pipeline(
        make_corpus(4),
        modalities=("text",),
        more='[train.inputs]\ntext = { encoder = "tiny-bert" }\n',
    )
    for command in ("train", "report"):
        shown = RUNNER.invoke(app, [command, "-c", str(path)])
        assert shown.exit_code == 1
        assert "sedimental extract" in shown.stderr.replace("\n", " ")


def test_the_stages_one_by_one(make_corpus: Any, make_pipeline: Any, tmp_path: Path) -> None:
    corpus = make_corpus(10)
    (corpus / "Raw/demo_01a/0002.mp4").write_bytes(b"nothing")
    path = make_pipeline(
        corpus,
        more="[train]\nepochs = 2\nseeds = [1, 2]\n[train.inputs]\n"
        'text = { encoder = "tiny-bert" }\nvision = { encoder = "tiny-clip" }\n'
        'audio = { encoder = "tiny-wavlm", layers = "weighted" }\n'
        "[evaluate]\nbootstrap = 20\n",
    )

    extracted = json_of("extract", "-c", str(path), code=3)
    assert {(f["clip"], f["modality"]) for f in extracted["failures"]} == {
        ("demo_01a$_$0002", "vision"),
        ("demo_01a$_$0002", "audio"),
    }
    stores = json_of("cache", "ls", "-c", str(path))
    assert len(stores) == 3
    runs = json_of("train", "-c", str(path))
    assert [(r["model"], r["modalities"], r["seed"]) for r in runs] == [
        ("uegd", "TAV", 1),
        ("uegd", "TAV", 2),
    ]
    report = json_of("report", "-c", str(path))
    assert Path(report["page"]).is_file()
    whole = json_of("run", "-c", str(path), code=3)
    assert whole["train"] == runs  # reused, not trained again
    human = RUNNER.invoke(app, ["run", "-c", str(path)])
    assert human.exit_code == 3
    assert "untrained" in human.stdout
    assert "report.html" in human.stdout
    assert "failures.csv" in human.stderr.replace("\n", "")
    for command in (("report", "--explain"), ("extract", "--encoders")):
        assert json_of(*command, "-c", str(path))
        assert RUNNER.invoke(app, [*command, "-c", str(path)]).exit_code == 0


def test_init_writes_a_pipeline_and_replaces_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert RUNNER.invoke(app, ["init"]).exit_code == 0
    assert 'kind = "demo"' in Path("pipeline.toml").read_text()
    again = RUNNER.invoke(app, ["init", "--preset", "mosi"])
    assert again.exit_code == 2
    assert "--force" in again.stderr
    assert 'kind = "demo"' in Path("pipeline.toml").read_text()
    assert RUNNER.invoke(app, ["init", "--preset", "mosi", "--force"]).exit_code == 0
    assert "wavlm-large" in Path("pipeline.toml").read_text()
    wrong = RUNNER.invoke(app, ["init", "x.toml", "--preset", "mosii"])
    assert wrong.exit_code == 2
    assert 'Did you mean "mosi"?' in wrong.stderr


def test_version() -> None:
    assert RUNNER.invoke(app, ["--version"]).stdout.startswith("sedimental 0.")
