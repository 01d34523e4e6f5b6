"""Names a shell completes, and that can be pasted: presets, rows, stores, models."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from sedimental.cache.spec import FeatureSpec
from sedimental.cache.store.names import named_store
from sedimental.cache.store.writer import ClipFeatures, StoreWriter
from sedimental.cli import app
from sedimental.errors import StoreError, StoreNotFoundError


def offered(line: str) -> list[str]:
    env = {"_SEDIMENTAL_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    env["_TYPER_COMPLETE_ARGS"] = f"sedimental {line}"
    shown = CliRunner().invoke(app, [], env=env, prog_name="sedimental")
    return [row.split("\t")[0] for row in shown.stdout.split("\n") if row]


def spec(fps: int) -> FeatureSpec:
    made = {"fps": fps}
    return FeatureSpec(
        "vision", "tiny-clip", "c", None, "random:0", "0", ("0", "1"), 4, preprocessing=made
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pipeline.toml beside stores of 3 and of 5 frames a second."""
    (tmp_path / "pipeline.toml").write_text('[corpus]\nkind = "demo"\n')
    for fps in (3, 5):
        writer = StoreWriter.create(tmp_path / "features/demo", spec(fps))
        values, steps = np.ones((2, 2, 4), np.float16), np.arange(2, dtype=np.float32)
        writer.add([ClipFeatures("a", "s", values, steps, steps, np.ones(2, np.bool_), {})])
        assert writer.finish({"a": "s"}, {})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_names_after_a_tab(folder: Path) -> None:
    assert offered("init --preset mo") == ["mosei", "mosi"]
    assert offered("train --models uegd,ef") == ["uegd,ef_lstm"]
    stores = [f"demo/{spec(fps).folder_name}" for fps in (3, 5)]
    assert sorted(offered("cache info de")) == sorted(stores)
    (folder / "runs/demo/uegd-TAV-1a2b3c4d/seed-1").mkdir(parents=True)
    assert offered("runs show ue") == ["uegd-TAV", "uegd-TAV-1a2b3c4d"]
    (folder / "pipeline.toml").write_text("[")
    assert offered("cache info de") == []


def test_stores_have_names_that_can_be_pasted(folder: Path) -> None:
    """Friction 5: 3 and 5 frames a second look apart, piped names are whole, `info` takes them."""
    listed = CliRunner().invoke(app, ["cache", "ls"]).stdout
    assert "fps 3" in listed
    assert "fps 5" in listed
    assert "…" not in listed
    for fps in (3, 5):
        folder_name = spec(fps).folder_name
        assert f"demo/{folder_name} " in listed
        for name in (f"demo/{folder_name}", folder_name, folder_name[-8:], folder_name[:-2]):
            shown = CliRunner().invoke(app, ["cache", "info", name])
            assert shown.exit_code == 0, shown.stderr
            assert folder_name in shown.stdout
    with pytest.raises(StoreError, match="tiny-clip: means 2 stores"):
        named_store("tiny-clip", folder / "features")
    with pytest.raises(StoreNotFoundError, match='Did you mean "vision-tiny-clip-'):
        named_store("vison-tiny-clip", folder / "features")
    shown = CliRunner().invoke(app, ["cache", "info", "tiny-clip"])
    assert shown.exit_code == 1
