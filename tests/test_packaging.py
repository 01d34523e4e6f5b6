"""What a wheel holds and asks for, what the lock holds, and that one version is said everywhere."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_string
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import sedimental

ROOT = Path(__file__).parent.parent
STAGES = ("config", "extract", "cache", "train", "evaluate")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_package_is_listed() -> None:
    inits = [p for s in STAGES for p in (ROOT / s).rglob("__init__.py")]
    found = {".".join(("sedimental", *p.parent.relative_to(ROOT).parts)) for p in inits}
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == found | {"sedimental"}


def test_every_data_file_is_shipped() -> None:
    shipped: set[Path] = set()
    for package, patterns in PYPROJECT["tool"]["setuptools"]["package-data"].items():
        folder = ROOT.joinpath(*package.split(".")[1:])
        for pattern in patterns:
            found = set(folder.glob(pattern))
            assert found, f"{package}: nothing matches {pattern}"
            shipped |= found
    data = {
        file
        for stage in STAGES
        for file in (ROOT / stage).rglob("*")
        if file.is_file() and file.suffix not in (".py", ".pyc")
    }
    assert data <= shipped


def test_demo_corpus_stays_small() -> None:
    demo = ROOT / "extract/corpora/demo"
    assert sum(f.stat().st_size for f in demo.rglob("*") if f.is_file()) <= 8_000_000


def made_or_hidden(folder: str, names: list[str]) -> set[str]:
    """What no wheel is built from."""
    made = {"build", "dist", "features", "runs"} if Path(folder) == ROOT else {"__pycache__"}
    return {name for name in names if name in made or name.startswith(".") or "egg-info" in name}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of this checkout, built from a copy: setuptools writes beside what it builds."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "source", ignore=made_or_hidden)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*command, str(folder / "source")], check=True, capture_output=True)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_tests_are_found_in_a_clone_of_any_name(tmp_path: Path) -> None:
    """GitHub's archive unpacks as sedimental-main, which is no name of a package."""
    clone = tmp_path / "sedimental-main"
    shutil.copytree(ROOT, clone, ignore=made_or_hidden)
    one = "tests/test_packaging.py::test_demo_corpus_stays_small"
    subprocess.run([sys.executable, "-P", "-m", "pytest", "-q", one], cwd=clone, check=True)


def test_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    code = {file.relative_to(ROOT).as_posix() for file in ROOT.glob("*.py")} | {
        file.relative_to(ROOT).as_posix()
        for stage in STAGES
        for file in (ROOT / stage).rglob("*.py")
    }
    assert {f"sedimental/{name}" for name in code} == {n for n in held if n.endswith(".py")}
    beside = {"py.typed", "pipeline.toml", "pipeline.schema.json"}
    assert {f"sedimental/{name}" for name in beside} <= held
    assert sum(name.endswith(".mp4") for name in held) == 240
    assert all(name.startswith("sedimental/") for name in held)
    assert not [n for n in held if n.startswith(("sedimental/tests/", "sedimental/tools/"))]


def test_wheel_says_version_command_and_what_it_needs(wheel: zipfile.ZipFile) -> None:
    about = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = message_from_string(wheel.read(about).decode())
    assert metadata["Version"] == sedimental.__version__
    asked = {Requirement(line) for line in metadata.get_all("Requires-Dist") or []}
    ours = {Requirement(line) for line in PYPROJECT["project"]["dependencies"]}
    assert ours == {each for each in asked if each.marker is None}
    entry = wheel.read(about.replace("METADATA", "entry_points.txt")).decode()
    assert "sedimental = sedimental.cli:app" in entry


def locked(file: str) -> dict[str, str]:
    """Name to version of a requirements file; every one has hashes."""
    found = {}
    for entry in (ROOT / file).read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        if entry and not entry.startswith("#"):
            assert "--hash=sha256:" in entry, entry
            name, number = re.match(r"([\w.-]+)==([^ ;]+)", entry).groups()  # type: ignore[union-attr]
            found[name] = number
    return found


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_lock_holds_every_package_within_its_range(file: str) -> None:
    lines = list(PYPROJECT["project"]["dependencies"])
    if file == "requirements-dev.txt":
        lines += PYPROJECT["dependency-groups"]["dev"]
    found = locked(file)
    for each in map(Requirement, lines):
        assert found[canonicalize_name(each.name)] in each.specifier


def test_requirements_are_those_of_the_lock() -> None:
    """`make lock` writes all three; one that was forgotten would install something else."""
    packages = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    versions = {each["name"]: each.get("version") for each in packages}
    for file in ("requirements.txt", "requirements-dev.txt"):
        found = locked(file)
        assert found == {name: versions[name] for name in found}


def test_lock_names_no_private_place() -> None:
    text = (ROOT / "uv.lock").read_text(encoding="utf-8")
    (registry,) = set(re.findall(r'registry = "([^"]+)"', text))
    assert registry.startswith("https://")
    assert set(re.findall(r"(\w+)://", text)) == {"https"}
    for file in ("requirements.txt", "requirements-dev.txt"):
        assert "://" not in (ROOT / file).read_text(encoding="utf-8")


def test_ranges_keep_the_pair_that_does_not_load_apart() -> None:
    """torchaudio 2.11.1 asks for torch >= 2.11 and loads with 2.13 and newer (friction 1)."""
    ranges = {r.name: r.specifier for r in map(Requirement, PYPROJECT["project"]["dependencies"])}
    assert "2.13.0" in ranges["torch"]
    for old in ("2.11.0", "2.12.0", "2.12.1"):
        assert old not in ranges["torch"]
    for name in ("torch", "torchvision", "torchaudio"):
        assert version(name) in ranges[name]
        assert {each.operator for each in ranges[name]} == {">=", "<"}


def test_one_version_in_one_place() -> None:
    assert "version" not in PYPROJECT["project"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert not re.search(r"^version:", citation, re.MULTILINE)
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    released = [heading for heading in headings if heading != "Unreleased"]
    assert sedimental.__version__ in released or headings[0] == "Unreleased"
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", heading) for heading in released)
