"""R12: "Add a model" in CONTRIBUTING.md, followed to the letter, and a model of another package."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sedimental
from sedimental.config import ConfigError, load_config
from sedimental.model_table import GROUP, MODELS, Model
from sedimental.registries import of_packages
from sedimental.train import models

ROOT = Path(sedimental.__path__[0])
PIPELINE = """
[corpus]
kind = "demo"
[[features]]
modality = "text"
encoder = "tiny-bert"
[train]
models = ["mine"]
[train.inputs]
text = { encoder = "tiny-bert" }
[train.mine]
width = 8
"""
TRIAL = """
import torch
from sedimental.config import load_config
from sedimental.train.models import build, model_options, option_faults
from sedimental.train.models.shared.interface import Batch, InputShape
config = load_config("pipeline.toml", [option_faults])
assert config.train.models == ("mine",)
options = model_options("mine", config.train.mine)
model = build("mine", options, {"text": InputShape(5)}, torch.Generator().manual_seed(0))
mask = torch.arange(4) < torch.tensor([[4], [1]])
batch = Batch({"text": torch.randn(2, 4, 5)}, {"text": mask}, torch.zeros(2), torch.arange(2))
assert model(batch).prediction.shape == (2,)
assert model.head.in_features == 8
"""


def recipe() -> tuple[str, str, str]:
    """The file, the line of the table and the entry point, as CONTRIBUTING.md has them."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## Add a model")[2].partition("\n## ")[0]
    file, line, point = re.findall(r"```(?:python|toml)\n(.*?)```", section, re.DOTALL)
    return file, line, point


def run(code: list[str], folder: Path, path: Path) -> None:
    env = os.environ | {"PYTHONPATH": str(path), "PYTHONSAFEPATH": "1"}
    ended = subprocess.run(
        [sys.executable, *code], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_recipe_to_the_letter(tmp_path: Path) -> None:
    """A copy of the tree, one file, one line: pipelines know the model, and the contract holds."""
    file, line, _ = recipe()
    tree = tmp_path / "sedimental"
    rooms = [path for path in ROOT.iterdir() if (path / "__init__.py").is_file()]
    for room in [*rooms, ROOT / "tests"]:
        skipped = shutil.ignore_patterns("__pycache__")
        shutil.copytree(room, tree / room.name, ignore=skipped)
    for single in (*ROOT.glob("*.py"), ROOT / "pyproject.toml"):
        shutil.copy(single, tree)
    (tree / "train/models/mine.py").write_text(file, encoding="utf-8")
    table = tree / "model_table.py"
    before, start, after = table.read_text(encoding="utf-8").partition(
        "MODELS: dict[str, Model] = {\n"
    )
    assert start
    table.write_text(before + start + line + after, encoding="utf-8")
    (tmp_path / "pipeline.toml").write_text(PIPELINE, encoding="utf-8")
    run(["-c", TRIAL], tmp_path, tmp_path)
    some = "mine and (padding or safetensors or classes)"
    contract = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/train/test_models.py", "-k"]
    run([*contract, some], tree, tmp_path)
    run(["-m", "ruff", "format", "--check", "-q", "train/models/mine.py"], tree, tmp_path)


def plugin(folder: Path, point: str, file: str | None) -> None:
    """A package with this entry point, as pip would lay it into `folder`."""
    about = folder / "my_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    head, _, lines = point.partition("\n")
    assert head == '[project.entry-points."sedimental.models"]'
    (about / "entry_points.txt").write_text(
        "[sedimental.models]\n" + lines.replace('"', ""), encoding="utf-8"
    )
    if file is not None:
        (folder / "my_package").mkdir()
        for dots, place in (("...", ""), ("..", "train."), (".", "train.models.")):
            file = file.replace(f"from {dots}", f"from sedimental.{place}")
        (folder / "my_package/__init__.py").write_text("")
        (folder / "my_package/mine.py").write_text(file, encoding="utf-8")


def test_an_installed_package_adds_a_model(tmp_path: Path) -> None:
    file, _, point = recipe()
    plugin(tmp_path, point, file)
    (tmp_path / "sedimental").symlink_to(ROOT)
    (tmp_path / "pipeline.toml").write_text(PIPELINE, encoding="utf-8")
    run(["-c", TRIAL], tmp_path, tmp_path)


def test_a_package_that_does_not_give_its_model_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, point = recipe()
    plugin(tmp_path, point + "uegd = my_package.mine:Other\nBad-Name = a:B\n", None)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("my_package", "my_package.mine"):  # other tests of this process import theirs
        monkeypatch.delitem(sys.modules, name, raising=False)
    found = of_packages(GROUP, MODELS, "model", "_")
    added, faults = found.places, found.faults
    assert added == {"mine": "my_package.mine:Mine"}
    assert [fault.partition(": ")[2] for fault in faults] == [
        '"Bad-Name" of my-package: a model\'s name is small letters, digits and _.',
        '"uegd" of my-package: there is a model of that name already.',
    ]
    monkeypatch.setattr(
        models, "MODELS", MODELS | {name: Model(place) for name, place in added.items()}
    )
    monkeypatch.setattr(models, "ADDED", added)
    monkeypatch.setattr(models, "FAULTS", faults)
    with pytest.raises(ConfigError, match=r"train\.mine: .*my_package\.mine cannot be imported"):
        models.model_options("mine", {})
    (tmp_path / "pipeline.toml").write_text("[train]\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="there is a model of that name already"):
        load_config(tmp_path / "pipeline.toml", [models.option_faults])
