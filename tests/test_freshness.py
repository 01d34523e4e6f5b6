"""R1, R2, R3, R4: what follows an edit, said by `train` and `report` as a user types them.

Nothing trained is lost, nothing stale is used in silence, and a report never mixes.
"""

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

import sedimental
from sedimental.cache.runs import list_runs, read_scores
from sedimental.cli import app
from sedimental.config import load_config

DEMO = Path(sedimental.__path__[0]) / "extract/corpora/demo"
RUNNER = CliRunner()
PIPELINE = """
[corpus]
kind = "mmsa"
path = "little"
[[features]]
modality = "text"
encoder = "tiny-bert"
[[features]]
modality = "audio"
encoder = "tiny-wavlm"
rate = 5
[train]
seeds = [1]
epochs = 2
batch_size = 4
[train.inputs]
text = { encoder = "tiny-bert", layers = -1 }
audio = { encoder = "tiny-wavlm", layers = -1 }
[train.uegd]
hidden = 8
embedding = 4
heads = 2
dropout = 0.0
[evaluate]
bootstrap = 0
"""


@dataclass(frozen=True)
class Project:
    """A folder with a corpus, a pipeline.toml and what was made of them."""

    root: Path

    @property
    def pipeline(self) -> Path:
        return self.root / "pipeline.toml"

    def call(self, *command: str) -> Result:
        return RUNNER.invoke(app, [*command, "-c", str(self.pipeline)])  # type: ignore[return-value]

    def told(self, *command: str) -> Any:
        shown = self.call(*command, "--json")
        assert shown.exit_code == 0, shown.stderr
        return json.loads(shown.stdout)

    def keys(self) -> dict[str, str]:
        """Folder of each run -> its key."""
        folders = list_runs(load_config(self.pipeline).experiment)
        return {f"{f.parent.name}/{f.name}": read_scores(f).key for f in folders}

    def replace(self, old: str, new: str) -> None:
        text = self.pipeline.read_text()
        assert old in text
        self.pipeline.write_text(text.replace(old, new))

    def rows(self) -> list[dict[str, str]]:
        with (self.root / "little/label.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def edit(self, change: Callable[[list[dict[str, str]]], None]) -> None:
        rows = self.rows()
        change(rows)
        with (self.root / "little/label.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, rows[0])
            table.writeheader()
            table.writerows(rows)


def write_corpus(folder: Path, first: int = 0, count: int = 12) -> None:
    """Clips of the demo in the mmsa layout, the splits going round."""
    with (DEMO / "label.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[first : first + count]
    for row, split in zip(rows, ("train", "train", "valid", "test") * count, strict=False):
        row["mode"] = split
        own = Path("Raw", row["video_id"], f"{row['clip_id']}.mp4")
        (folder / own).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(DEMO / own, folder / own)
    with (folder / "label.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Extracted and trained once; the tests work on copies."""
    root = tmp_path_factory.mktemp("trained")
    write_corpus(root / "little")
    project = Project(root)
    project.pipeline.write_text(PIPELINE)
    for command in ("extract", "train"):
        shown = project.call(command)
        assert shown.exit_code == 0, shown.stderr
    return root


@pytest.fixture
def project(trained: Path, tmp_path: Path) -> Project:
    shutil.copytree(trained, tmp_path / "here")
    return Project(tmp_path / "here")


def relabel(project: Project) -> None:
    project.edit(lambda rows: rows[0].update(label="2.5"))


def rewrite(project: Project) -> None:
    project.edit(lambda rows: rows[1].update(text="Something else was said."))


def reassign(project: Project) -> None:
    project.edit(lambda rows: rows[0].update(mode="test"))


def remedia(project: Project) -> None:
    """The media of another clip, filled up to the very size by a box that players pass over."""
    files = sorted((project.root / "little/Raw").rglob("*.mp4"), key=lambda f: f.stat().st_size)
    small, large = files[0].read_bytes(), files[-1].stat().st_size
    box = large - len(small)
    files[-1].write_bytes(small + box.to_bytes(4, "big") + b"free" + bytes(box - 8))
    assert files[-1].stat().st_size == large


def flat(text: str) -> str:
    """Without the line breaks of a terminal and its tables."""
    return re.sub(r"[\s│]+", " ", text)


def setting(old: str, new: str) -> Callable[[Project], None]:
    return lambda project: project.replace(old, new)


@dataclass(frozen=True)
class MissingCase:
    edit: Callable[[Project], None]
    stale: bool
    """Whether what was trained is out of date (else it is of other settings, or stands)."""
    word: str
    """By which `report` names what changed; empty: the finished run stands."""
    news: str = ""
    """By which `train` and `report` name at once what changed in the corpus."""
    same_row: bool = False
    """Whether what is trained now joins the row."""


CASES = {
    "label": MissingCase(relabel, True, "the labels of the table changed", news="labels of 1 clip"),
    "text": MissingCase(rewrite, True, "the texts of the table changed", news="texts of 1 clip"),
    "split": MissingCase(
        reassign, True, "the splits of the table changed", news="splits of 1 clip"
    ),
    "media": MissingCase(remedia, True, "audio features were made anew", news="1 media file"),
    "layers": MissingCase(
        setting('"tiny-bert", layers = -1', '"tiny-bert", layers = 1'),
        False,
        "text layers 4, now 1",
    ),
    "option": MissingCase(setting("dropout = 0.0", "dropout = 0.5"), False, "dropout 0.0, now 0.5"),
    "epochs": MissingCase(setting("epochs = 2", "epochs = 3"), False, "epochs 2, now 3"),
    "rate": MissingCase(setting("rate = 5", "rate = 2"), False, "audio rate 5.0, now 2.0"),
    "seed": MissingCase(setting("seeds = [1]", "seeds = [2]"), False, "", same_row=True),
}


@pytest.mark.parametrize("name", CASES)
def test_what_follows_an_edit(project: Project, name: str) -> None:
    case, before = CASES[name], project.keys()
    case.edit(project)
    shown = project.call("report")
    if case.news:  # the runs are of what was extracted, and it is said that this is no more
        assert shown.exit_code == 0
        assert case.news in flat(shown.stderr)
        assert case.news.lower() in flat(shown.stdout).lower()
    elif case.word:  # nothing of what is there is this pipeline's
        assert shown.exit_code == 1
        assert case.word in flat(shown.stderr)
        assert "other settings" in flat(shown.stderr)
    done = project.call("train")
    assert case.news in flat(done.stderr)
    if name == "rate":  # such features are not there
        assert done.exit_code == 1
        assert "sedimental extract" in done.stderr
    else:
        assert done.exit_code == 0, done.stderr
    if name in ("text", "media", "rate"):  # until they are extracted, what was extracted counts
        assert project.keys() == before
        assert project.call("extract").exit_code == 0
        done = project.call("train")
        assert done.exit_code == 0
    assert "stands" not in done.stderr
    assert "changed since" not in project.call("report").stderr
    after = project.keys()
    assert before.items() < after.items()  # nothing that was trained is lost or changed
    assert len(after) == len(before) + 1
    report = project.told("report")
    (row,) = report["rows"]
    if case.same_row:
        assert row["seeds"] == [1, 2]
        assert not report["left_out"]
        return
    assert row["seeds"] == [1]
    (left,) = report["left_out"]
    assert f"{left['name']}/seed-1" in before
    assert (left["kind"], case.word in left["reason"]) == (
        "stale" if case.stale else "settings",
        True,
    )
    assert any(left["name"] in caution["text"] for caution in report["cautions"])
    assert "stands" in project.call("train").stderr  # and it is not trained again
    named = project.told("report", left["name"])  # as it is, when it is asked for
    assert {run["key"] for run in named["runs"]} == set(before.values())


def test_of_several_configurations_each_is_a_row(project: Project) -> None:
    """R2: two configurations are two rows that say how they differ."""
    project.replace("epochs = 2", "epochs = 3")
    assert project.call("train").exit_code == 0
    everything = project.told("report", "--all")
    names = sorted(row["model"] for row in everything["rows"])  # they come best first
    assert names == ["uegd (epochs 2)", "uegd (epochs 3)"]
    assert [row["model"] for row in project.told("report")["rows"]] == ["uegd"]
    page = Path(everything["page"]).read_text(encoding="utf-8")
    assert "uegd (epochs 2)" in page or "uegd" in page
    found = project.told("runs", "ls")
    assert [one["state"] for one in found] == ["settings", "current"] or [
        one["state"] for one in found
    ] == ["current", "settings"]
    old, new = sorted(found, key=lambda one: one["state"] == "current")
    told = project.told("runs", "diff", old["name"], new["digest"][:5])
    assert told["differences"] == {"settings.epochs": [2, 3]}
    both = project.told("compare", old["name"], "uegd TA")  # the row is the pipeline's
    assert both["first"]["name"] == "uegd TA (epochs 2)"
    assert both["apart"] == {"settings.epochs": [2, 3]}
    project.replace("epochs = 3", "epochs = 4")
    shown = project.call("compare", "uegd TA", old["name"])
    assert shown.exit_code == 1
    assert "means 2 configurations" in shown.stderr
    assert "epochs 2" in shown.stderr


def test_commands_over_runs(project: Project) -> None:
    (one,) = project.told("runs", "ls")
    shown = project.told("runs", "show", one["digest"][:4])
    assert shown["configuration"]["settings"]["epochs"] == 2
    assert set(shown["seeds"]) == {"1"}
    assert project.call("runs", "ls").exit_code == 0
    assert "uegd TA" in project.call("runs", "show", "uegd TA").stdout
    before = project.keys()
    assert project.call("train", "--fresh").exit_code == 0
    assert project.keys() == before  # R1: the same run, and the one before is kept
    (one,) = project.told("runs", "ls")
    assert one["superseded"] == ["seed-1.old-1"]
    assert project.told("runs", "verify")["damages"] == []
    assert project.call("runs", "rm", "uegd TA").exit_code == 1  # it asks, and nobody answers
    assert project.keys() == before
    (gone,) = project.told("runs", "prune", "--yes")["removed"]
    assert gone.endswith("seed-1.old-1")
    assert project.keys() == before
    project.told("runs", "rm", "uegd TA", "--yes")
    assert project.keys() == {}
    assert project.told("runs", "ls") == []


def test_damage_is_named_and_mended(project: Project) -> None:
    """H5, H6: one line with the file and the way out; training makes the run anew."""
    config = load_config(project.pipeline)
    (folder,) = list_runs(config.experiment)
    file = folder / "predictions.csv"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    for command in (("report",), ("compare", "uegd TA", "uegd TA"), ("runs", "show", "uegd TA")):
        shown = project.call(*command)
        assert shown.exit_code == 1
        assert "predictions.csv: is damaged" in shown.stderr.replace("\n", "")
        assert "Traceback" not in shown.stderr
    shown = project.call("runs", "verify")
    assert shown.exit_code == 1
    assert "sedimental runs rm" in shown.stderr
    shown = project.call("train")
    assert shown.exit_code == 0
    assert "predictions.csv: is damaged" in shown.stderr.replace("\n", "")
    assert project.call("report").exit_code == 0
    assert folder.with_name("seed-1.old-1").is_dir()


def test_one_function_one_answer(project: Project) -> None:
    """R9: the report command and sedimental.evaluate(config) are the same."""
    config = load_config(project.pipeline)
    found = sedimental.evaluate(config)
    told = project.told("report")
    assert found.test_videos == told["test_videos"]
    assert json.loads(json.dumps(found.to_json()["rows"])) == told["rows"]


def test_a_probe_of_other_features_is_left_out(project: Project) -> None:
    """R3: everything in a report comes from the same stores, or is named."""
    assert project.call("sweep", "--probe").exit_code == 0
    report = project.told("report")
    assert report["probe"] is not None
    assert [sweep["kind"] for sweep in report["sweeps"]] == ["probe"]
    project.replace("rate = 5", "rate = 2")
    for command in ("extract", "train"):
        assert project.call(command).exit_code == 0
    report = project.told("report")
    assert (report["probe"], report["sweeps"]) == (None, [])
    assert any(
        "The probe is left out" in c["text"] and "other audio features" in c["text"]
        for c in report["cautions"]
    )
    assert project.call("sweep", "--probe").exit_code == 0
    assert project.told("report")["probe"] is not None
    project.replace("rate = 2", "rate = 5")  # the earlier probe is kept beside the new one
    report = project.told("report")
    assert [sweep["kind"] for sweep in report["sweeps"]] == ["probe"]
    assert report["probe"] is not None


def test_two_pipelines_in_one_folder_and_three_processes_at_once(project: Project) -> None:
    """No run of one is touched by another, and all that was asked for is there in the end."""
    before = project.keys()
    text = project.pipeline.read_text()
    others = {"longer": ("epochs = 2", "epochs = 3"), "deeper": ("layers = -1", "layers = 1")}
    for name, change in others.items():
        (project.root / f"{name}.toml").write_text(text.replace(*change))
    project.pipeline.write_text(text.replace("seeds = [1]", "seeds = [1, 2]"))
    names = ("pipeline", *others)
    command = [sys.executable, "-P", "-m", "sedimental", "train", "-c"]
    started = [
        subprocess.Popen(
            [*command, str(project.root / f"{name}.toml")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for name in (*names, "longer")  # one of them twice
    ]
    for process in started:
        _, told = process.communicate(timeout=300)
        assert process.returncode == 0, told
    after = project.keys()
    assert before.items() < after.items()
    assert len(after) == 4
    assert project.told("runs", "verify")["damages"] == []
    rows = {}
    for name in names:
        own = Project(project.root)
        shown = RUNNER.invoke(app, ["report", "--json", "-c", str(own.root / f"{name}.toml")])
        assert shown.exit_code == 0, shown.stderr
        (row,) = json.loads(shown.stdout)["rows"]
        rows[name] = {line["key"] for line in json.loads(shown.stdout)["runs"]}
        assert row["seeds"] == ([1, 2] if name == "pipeline" else [1])
    assert len(set.union(*rows.values())) == 4  # each has its own, and they are all there are
    assert not list(project.root.rglob("*.old-*"))


def test_two_corpora_under_one_root(project: Project) -> None:
    write_corpus(project.root / "other", first=20)
    text = project.pipeline.read_text().replace('path = "little"', 'path = "other"')
    (project.root / "other.toml").write_text(text)
    before = project.keys()
    files = {f: f.read_bytes() for f in (project.root / "runs/little").rglob("*") if f.is_file()}
    for command in ("extract", "train", "report"):
        shown = RUNNER.invoke(app, [command, "-c", str(project.root / "other.toml")])
        assert shown.exit_code == 0, shown.stderr
    assert {f: f.read_bytes() for f in files} == files
    assert project.keys() == before
    (row,) = project.told("report")["rows"]
    assert row["seeds"] == [1]
    assert {path.name for path in (project.root / "runs").iterdir()} == {"little", "other"}
