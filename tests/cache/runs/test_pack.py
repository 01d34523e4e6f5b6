"""Runs packed and unpacked: bit for bit, checked, and nothing written where it should not be."""

import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from simulated_runs import simulate
from typer.testing import CliRunner

from sedimental.cache.runs import list_runs, read_run
from sedimental.cache.runs.pack import INDEX, pack, unpack
from sedimental.cache.spec import Split
from sedimental.cli import app
from sedimental.errors import RunError
from sedimental.evaluate.runs.card import model_card

RUNNER = CliRunner()
Members = dict[str, bytes]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("runs")
    scores: Mapping[Split, Mapping[str, float]] = {"test": {"MAE": 0.5, "Corr": 0.25}}
    simulate(
        root, ("TA",), (1, 2), videos=6, corpus='x"\n- [a](javascript:1)',
        change=lambda run: replace(run, metrics=scores),
    )  # fmt: skip
    return list(list_runs(root))


@pytest.fixture(scope="module")
def packed(folders: list[Path]) -> Path:
    runs = [read_run(folder) for folder in folders]
    return pack(folders, model_card(runs), folders[0].parents[1] / "out.zip")


def changed(packed: Path, target: Path, change: Callable[[Members], None]) -> Path:
    """The archive with other members; its index follows what it then holds."""
    with zipfile.ZipFile(packed) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return target


def everything(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_what_is_unpacked_is_what_was_packed(
    folders: list[Path], packed: Path, tmp_path: Path
) -> None:
    made = unpack(packed, tmp_path)
    assert [f.name for f in made] == ["seed-1", "seed-2"]
    for ours, theirs in zip(made, folders, strict=True):
        assert everything(ours) == everything(theirs)
        assert read_run(ours).key == read_run(theirs).key
    before = everything(tmp_path)
    assert unpack(packed, tmp_path) == made  # the same again is nothing
    assert everything(tmp_path) == before
    again = pack(folders, model_card([read_run(f) for f in folders]), tmp_path / "again.zip")
    assert again.read_bytes() == packed.read_bytes()


def test_another_run_in_the_place_stays(packed: Path, tmp_path: Path) -> None:
    made = unpack(packed, tmp_path)
    (made[1] / "history.csv").write_text("mine")
    with pytest.raises(RunError, match="is there already, and is another run"):
        unpack(packed, tmp_path)
    assert (made[1] / "history.csv").read_text() == "mine"


NASTY = [
    "../out.txt",
    "/tmp/out.txt",
    "a/seed-1/../../x",
    "a/seed-1/.hidden",
    "C:/x",
    "a\\seed-1\\x",
]


@pytest.mark.parametrize("name", NASTY)
def test_no_member_leaves_the_folder(packed: Path, tmp_path: Path, name: str) -> None:
    def slip(members: Members) -> None:
        members[name] = b"x"
        index = json.loads(members[INDEX])
        index["files"][name] = [1, "0" * 64]
        members[INDEX] = json.dumps(index).encode()

    into = tmp_path / "deep/er"
    with pytest.raises(RunError, match="nothing was written"):
        unpack(changed(packed, tmp_path / "slip.zip", slip), into)
    assert [p.name for p in tmp_path.rglob("*")] == ["slip.zip"]


def flip(members: Members) -> None:
    name = next(n for n in members if n.endswith("predictions.csv"))
    members[name] = members[name][:-3] + b"9" + members[name][-2:]


def longer(members: Members) -> None:
    members[next(n for n in members if n.endswith("history.csv"))] += b"0" * 1000


def gone(members: Members) -> None:
    del members[next(n for n in members if n.endswith("outputs.npz"))]


@pytest.mark.parametrize("change", [flip, longer, gone, lambda m: m.pop(INDEX)])
def test_damage_is_named_and_nothing_of_the_run_is_kept(
    packed: Path, tmp_path: Path, change: Callable[[Members], None]
) -> None:
    file = changed(packed, tmp_path / "bad.zip", change)
    with pytest.raises(RunError, match=r"bad\.zip: "):
        unpack(file, tmp_path / "into")
    assert not list((tmp_path / "into").rglob("seed-1"))


def test_the_command_line(folders: list[Path], packed: Path, tmp_path: Path) -> None:
    done = RUNNER.invoke(app, ["runs", "pack", str(folders[0].parent), str(tmp_path / "o.zip")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "o.zip").read_bytes() == packed.read_bytes()
    done = RUNNER.invoke(
        app, ["runs", "unpack", str(tmp_path / "o.zip"), "--into", str(tmp_path / "there")]
    )
    assert done.exit_code == 0, done.output
    assert len(list(list_runs(tmp_path / "there"))) == 2
    (tmp_path / "no.zip").write_bytes(b"PK nothing")
    done = RUNNER.invoke(app, ["runs", "unpack", str(tmp_path / "no.zip")])
    assert done.exit_code == 1
    assert "no.zip: cannot be read as a packed run" in " ".join(done.output.split())


def test_the_card_says_what_a_reader_must_know(folders: list[Path]) -> None:
    card = model_card([read_run(folder) for folder in folders])
    head = card.split("---")[1]
    assert "library_name: " in head
    assert '"pearsonr"' in head
    assert '"x\\"\\n- [a](javascript:1)"' in head  # a name is a string, whatever it holds
    assert "**untrained**: Untrained encoders, random weights" in card
    assert "[a](" not in card.split("---", 2)[2]
    assert "It states no licence" in card
