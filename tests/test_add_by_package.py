"""Encoders, corpora and formats of installed packages: CONTRIBUTING's recipes to the letter."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sedimental
from sedimental.registries import PluginError, of_packages

ROOT = Path(sedimental.__path__[0])
WORDS = ["good", "bad", "fine", "awful", "so", "great", "poor", "nice"]


def recipe(title: str) -> tuple[str, str]:
    """The file and the entry points of a section of CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition(f"## {title}")[2].partition("\n## ")[0]
    [file] = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    [points] = re.findall(r"```toml\n(.*?)```", section, re.DOTALL)
    return file, points


def install(folder: Path, file: str, points: str) -> None:
    """Lay the package into `folder`, as pip would, beside ours."""
    about = folder / "my_package-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    head = re.compile(r'\[project\.entry-points\."(.*)"\]')
    (about / "entry_points.txt").write_text(head.sub(r"[\1]", points).replace('"', ""))
    (folder / "my_package").mkdir()
    (folder / "my_package/__init__.py").write_text("")
    (folder / "my_package/mine.py").write_text(file, encoding="utf-8")
    (folder / "sedimental").symlink_to(ROOT)


def run(code: str, folder: Path) -> None:
    env = os.environ | {"PYTHONPATH": str(folder / "site"), "PYTHONSAFEPATH": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def styled(file: str, folder: Path) -> None:
    (folder / "mine.py").write_text(file, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "-q",
        "--isolated",
        "--ignore=I001",
        str(folder / "mine.py"),
    ]
    subprocess.run(command, check=True)


PIPELINE = """
[corpus]
kind = "{kind}"
path = "{path}"
[[features]]
modality = "text"
encoder = "{encoder}"
"""


def test_an_encoder_and_its_family(tmp_path: Path) -> None:
    file, points = recipe("Add an encoder")
    install(tmp_path / "site", file, points)
    styled(file, tmp_path)
    lines = "".join(f"v{k},train,1,{word}\n" for k, word in enumerate(WORDS))
    (tmp_path / "clips.csv").write_text(f"id,split,label,text\n{lines}")
    text = PIPELINE.format(kind="csv", path="clips.csv", encoder="my-encoder")
    (tmp_path / "pipeline.toml").write_text(text)
    run(
        "import sedimental\n"
        "config = sedimental.load_config('pipeline.toml')\n"
        "[store] = sedimental.extract(config).stores\n"
        "store = sedimental.open_store(store.path)\n"
        "assert store.spec.encoder == 'my-encoder' and store.spec.width == 32, store.spec\n"
        "assert store.spec.layers == ('0', '1', '2') and len(store.clips) == 8, store.spec\n",
        tmp_path,
    )


def test_a_corpus(tmp_path: Path) -> None:
    file, points = recipe("Add a corpus")
    install(tmp_path / "site", file, points)
    styled(file, tmp_path)
    (tmp_path / "words").mkdir()
    for k, split in enumerate(("train", "train", "valid", "test")):
        (tmp_path / f"words/{split}_{('good', 'bad')[k % 2]}_{k}.txt").write_text("well")
    text = PIPELINE.format(kind="mine", path="words", encoder="tiny-bert")
    (tmp_path / "pipeline.toml").write_text(text)
    run(
        "import sedimental\n"
        "from sedimental.extract.corpora import load_manifest\n"
        "found = load_manifest(sedimental.load_config('pipeline.toml').corpus)\n"
        "assert found.sizes == {'train': 2, 'valid': 1, 'test': 1}, found.sizes\n"
        "assert found.clips[-1].category == 'good', found.clips\n",
        tmp_path,
    )


def test_a_file_format_in_and_out(tmp_path: Path) -> None:
    file, points = recipe("Add a file format of features")
    install(tmp_path / "site", file, points)
    styled(file, tmp_path)
    rows = [f"v$_${k}\t{s}\t{k}.0\t1.5\t-2.0" for k, s in enumerate(("train", "valid", "test"))]
    (tmp_path / "mine.lines").write_text("\n".join(rows) + "\n")
    run(
        "from typer.testing import CliRunner\n"
        "from sedimental.cli import app\n"
        "def do(*words):\n"
        "    ended = CliRunner().invoke(app, ['cache', *words])\n"
        "    assert ended.exit_code == 0, ended.output\n"
        "do('import', 'mine.lines')\n"
        "do('export', 'again.lines', '--to', 'lines')\n"
        "wrong = CliRunner().invoke(app, ['cache', 'export', 'x', '--to', 'linse'])\n"
        "assert wrong.exit_code != 0\n",
        tmp_path,
    )
    assert (tmp_path / "again.lines").read_text() == (tmp_path / "mine.lines").read_text()


def test_packages_that_do_not_give_what_they_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = '[project.entry-points."sedimental.corpora"]\n' + "\n".join(
        ['gone = "my_package.nowhere:read"', 'csv = "my_package.mine:read"', 'Odd = "a:b"']
    )
    install(
        tmp_path, "read = 1\n", points + '\nhalf = "my_package"\nnumber = "my_package.mine:read"'
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = of_packages("sedimental.corpora", ("csv",), "corpus")
    assert sorted(found.places) == ["gone", "number"]
    assert [fault.partition(": ")[2] for fault in found.faults] == [
        '"Odd" of my-package: a corpus\'s name is small letters, digits and _-.',
        '"csv" of my-package: there is a corpus of that name already.',
        '"half" of my-package: should be "module:object", and is "my_package".',
    ]
    with pytest.raises(PluginError, match=r"my_package\.nowhere:read of an installed package"):
        found.load("gone")
    good, broken = found.objects(str)
    assert not good
    assert "is int, not str" in broken["number"]
