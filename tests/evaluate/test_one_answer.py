"""One function, one answer (R9); and two folders of runs beside each other without a pipeline."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from command_answers import finished, json_of
from text_pipeline import text_pipeline

import sedimental
from sedimental.config import load_config


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A csv with `id` and `video_id`, 60 clips of 20 videos, trained."""
    rows = [f"c{k},film{k % 20},line number {k} of it,{k % 7 - 3}" for k in range(60)]
    (tmp_path / "corpus.csv").write_text("\n".join(["id,video_id,text,label", *rows]) + "\n")
    text = text_pipeline('split = "auto"', epochs=2, bootstrap=50)
    (tmp_path / "pipeline.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    finished("extract")
    finished("train")
    return tmp_path


def test_the_command_and_python_draw_over_the_same_videos(project: Path) -> None:
    """R9: 8 videos in the one, 48 in the other, and other intervals."""
    page = json_of("report")
    config = load_config("pipeline.toml")
    found = sedimental.evaluate(config).to_json()
    videos = {clip.video_id for clip in sedimental_manifest(config) if clip.split == "test"}
    assert page["test_videos"] == found["test_videos"] == len(videos)
    for ours, theirs in zip(page["rows"], json.loads(json.dumps(found))["rows"], strict=True):
        assert ours["test"] == theirs["test"]
    both = sedimental.compare("uegd T", "uegd T", config)
    assert both.videos == len(videos)


def sedimental_manifest(config: Any) -> Any:
    from sedimental.cache.corpus.corpus_table import cached_manifest

    return cached_manifest(config).clips


def test_two_folders_are_compared_without_a_pipeline(project: Path, tmp_path: Path) -> None:
    """Both columns bore one name, and that layers and epochs differ was not said."""
    [first] = (project / "runs").glob("*/uegd-T-*")
    text = (project / "pipeline.toml").read_text()
    (project / "pipeline.toml").write_text(
        text.replace("layers = -1", "layers = 1").replace("epochs = 2", "epochs = 1")
    )
    finished("train")
    [second] = set((project / "runs").glob("*/uegd-T-*")) - {first}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    os.chdir(elsewhere)
    assert not Path("pipeline.toml").exists()
    shown = " ".join(finished("compare", str(first), str(second)).stdout.split())
    assert first.name in shown
    assert second.name in shown
    found = json_of("compare", str(first), str(second))
    assert found["first"]["name"] == first.name
    assert found["second"]["name"] == second.name
    assert any("layers" in key for key in found["apart"])
    assert any("epochs" in key for key in found["apart"])
    assert "epochs" in shown
    assert "layers" in shown
    copy = elsewhere / "copy" / first.name  # the same runs in another place
    shutil.copytree(first, copy)
    same = json_of("compare", str(first), str(copy))
    assert same["first"]["name"] != same["second"]["name"]
    assert not same["apart"]
