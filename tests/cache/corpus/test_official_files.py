"""Feature files that the field shares, known by their SHA-256."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import sedimental
from sedimental.cache.corpus import official_files
from sedimental.cli import app
from sedimental.extract.doctor import examine


def test_a_file_is_known_and_what_came_of_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mosi.npz"
    by = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for split, count in (("train", 3), ("valid", 2), ("test", 2)):
        arrays[f"{split}_id"] = np.array([f"{split}$_${k}" for k in range(count)])
        arrays[f"{split}_audio"] = by.normal(size=(count, 4, 5)).astype("f4")
        arrays[f"{split}_regression_labels"] = by.normal(size=count)
    np.savez(file, **arrays)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    unknown = CliRunner().invoke(app, ["doctor", str(file)])
    assert unknown.exit_code == 0, unknown.output
    assert f"no file known here; SHA-256 {digest}" in "".join(unknown.output.split("\n"))
    # the real files cannot be here: this one takes the place of one
    known = {digest[:8]: official_files.OFFICIAL["78e0f8b5"]}
    monkeypatch.setattr(official_files, "OFFICIAL", known)
    said = CliRunner().invoke(app, ["doctor", str(file), "--json"])
    assert "MOSI/Processed/unaligned_50.pkl: CMU-MOSI, not aligned; 1284 / 229 / 686" in said.output
    pipeline = tmp_path / "pipeline.toml"
    done = CliRunner().invoke(app, ["cache", "import", str(file), "-c", str(pipeline)])
    assert done.exit_code == 0, done.output
    assert "its SHA-256 begins as that of MMSA's own" in " ".join(done.output.split())
    found = examine(sedimental.load_config(pipeline))
    [note] = [f.text for f in found.findings if f.level == "note"]
    assert "imported from a file that is known" in note
    assert "text 768 wide, audio 5, vision 20" in note
