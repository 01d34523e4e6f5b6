"""Every folder of code and every data file is named in pyproject.toml, so no wheel lacks it."""

import tomllib
from pathlib import Path

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
