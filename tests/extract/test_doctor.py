"""What is said before a run, and after it: plan, findings, time of each stage, sheets of faces."""

import json
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from sedimental.cli import app
from sedimental.config import load_config
from sedimental.extract.doctor import CannotExtractError, examine
from sedimental.extract.encoders.audio import memory_check as memory
from sedimental.extract.encoders.loading import resolve
from sedimental.extract.run import extract
from sedimental.extract.streams.streams import VisionStream
from sedimental.extract.terminal import LONG, faster_text
from sedimental.progress import Silent

RUNNER = CliRunner()
Usage = namedtuple("Usage", "total used free")


def told(*command: str, code: int = 0) -> Any:
    shown = RUNNER.invoke(app, [*command, "--json"])
    assert shown.exit_code == code, shown.stderr
    return json.loads(shown.stdout)


def test_doctor_says_what_a_run_will_need(make_corpus: Any, make_pipeline: Any) -> None:
    corpus = make_corpus(6)
    (corpus / "Raw/demo_01a/0002.mp4").write_bytes(b"")
    path = str(make_pipeline(corpus))
    found = told("doctor", "-c", path)
    assert not (Path(path).parent / "features").exists()  # it only looks
    assert found["ok"]
    assert found["splits"] == {"train": 4, "valid": 1, "test": 1}
    assert found["media"] == 6
    assert list(found["unreadable"].values()) == ["empty file"]
    assert found["lengths"]["clips"] == 5
    assert 1 < found["lengths"]["shortest"] <= found["lengths"]["mean"] < 10
    assert found["lengths"]["total"] == pytest.approx(5 * found["lengths"]["mean"])
    assert found["device"] == "cpu"
    assert [s["todo"] for s in found["stores"]] == [6, 6, 6]
    assert all(s["weights"] == "untrained (random:0)" for s in found["stores"])
    assert found["seconds"] > 0
    assert all(s["seconds"] > 0 for s in found["stores"])
    assert any("0002.mp4 (empty file)" in f["text"] for f in found["findings"])
    config = load_config(path)
    result = extract(config)
    after = told("doctor", "-c", path, "--no-probe")
    assert after["seconds"] is None
    assert [s["todo"] for s in after["stores"]] == [1, 1, 0]  # the empty file, once more
    for store, made in zip(found["stores"], result.stores, strict=True):
        assert store["frames"] == pytest.approx(made.frames * 6 / made.new, rel=0.5)
    human = RUNNER.invoke(app, ["doctor", "-c", path])
    assert human.exit_code == 0
    assert "6 in all" not in human.stdout
    assert "untrained (random:0)" in human.stdout


def test_what_cannot_succeed_is_refused_before_anything_is_loaded(
    make_corpus: Any, make_pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VisionStream, "load", lambda *_: pytest.fail("a model was loaded"))
    corpus = make_corpus(2)
    path = make_pipeline(corpus, modalities=("vision",))
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: Usage(1, 1, 1000))
        with pytest.raises(CannotExtractError, match=r"need about .* free\. Free some space"):
            extract(load_config(path))
        assert told("doctor", "-c", str(path), code=1)["ok"] is False
        refused = RUNNER.invoke(app, ["extract", "-c", str(path)])
        assert refused.exit_code == 1
        assert "Free some space" in refused.stderr.replace("\n", " ")
    shutil.rmtree(corpus / "Raw/demo_01a")
    (finding,) = [f for f in examine(load_config(path)).findings if f.level == "error"]
    assert "2 of 2 media files" in finding.text
    assert examine(load_config(path)).media == 0  # what is not there is not counted
    assert "Check corpus.path" in finding.text
    gpu = make_pipeline(make_corpus(2), ("vision",), more="[extract]\ndevice = 'cuda:7'\n")
    assert (
        "torch sees no such device" in told("doctor", "-c", str(gpu), code=1)["findings"][0]["text"]
    )


def test_doctor_names_a_broken_table_with_exit_code_2(make_corpus: Any, make_pipeline: Any) -> None:
    corpus = make_corpus(3)
    table = corpus / "label.csv"
    table.write_text(table.read_text() + table.read_text().splitlines()[1] + "\n")
    shown = RUNNER.invoke(app, ["doctor", "-c", str(make_pipeline(corpus))])
    assert shown.exit_code == 2
    assert "stands already in line 2" in shown.stderr.replace("\n", " ")


def test_the_plan_comes_before_and_the_stages_after(make_corpus: Any, make_pipeline: Any) -> None:
    path = str(make_pipeline(make_corpus(3)))
    shown = RUNNER.invoke(app, ["extract", "-c", path])
    assert shown.exit_code == 0, shown.stderr
    assert "3 clips to do" in shown.stderr
    assert "items/s" in shown.stdout
    again = told("extract", "-c", path)
    assert again["stages"] == []
    shutil.rmtree(Path(path).parent / "features")
    stages = {s["stage"]: s for s in told("extract", "-c", path)["stages"]}
    assert stages["decode"]["items"] == 3
    assert stages["detect"]["items"] == stages["encode vision tiny-clip"]["items"] > 10
    assert {"encode audio tiny-wavlm", "encode text tiny-bert", "write", "load"} < stages.keys()
    assert all(s["busy"] > 0 and s["rate"] > 0 for s in stages.values())
    assert stages["encode text tiny-bert"]["unit"] == "tokens"


def test_sheets_show_every_crop_and_mark_what_has_no_face(
    make_corpus: Any, make_pipeline: Any, write_video: Any, tmp_path: Path
) -> None:
    corpus = make_corpus(5)
    noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    write_video(corpus / "Raw/demo_01a/0002.mp4", [noise] * 40)
    path = str(make_pipeline(corpus, modalities=("vision",)))
    early = RUNNER.invoke(app, ["cache", "faces", "-c", path])
    assert early.exit_code == 1
    assert "sedimental extract" in early.stderr.replace("\n", " ")
    extract(load_config(path))
    sheets = told("cache", "faces", "-c", path, "--per-sheet", "3", "--into", str(tmp_path / "see"))
    assert [len(sheet["clips"]) for sheet in sheets] == [3, 2]
    assert sum(sheet["without"] for sheet in sheets) == 5
    picture = cv2.imread(sheets[0]["path"])
    assert picture is not None
    assert picture.shape[0] % 3 == 0
    blue, green, red = (picture[..., n].astype(int) for n in range(3))
    marked = (red > 180) & (green < 80) & (blue < 80)
    assert 1 < marked.sum() < picture[..., 0].size / 10
    some = told("cache", "faces", "-c", path, "--clips", "2")
    assert [len(sheet["clips"]) for sheet in some] == [2]
    assert Path(some[0]["path"]).parent.name == "faces"
    words = str(make_pipeline(corpus, modalities=("text",), name="words.toml"))
    assert RUNNER.invoke(app, ["cache", "faces", "-c", words]).exit_code == 2


def test_a_clip_too_long_for_the_memory_fails_alone(
    make_corpus: Any, make_pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(make_pipeline(make_corpus(3), modalities=("audio",)))
    lengths = examine(config, probe=False).lengths
    assert lengths is not None
    # memory for all but the longest: 16,000 samples, a fifth as many frames of the first layer
    first = resolve(config.features[0]).config.conv_dim[0] * 16_000 / 5
    limit = 4 * memory.FIRST * first * (lengths.longest - 0.1) / memory.MARGIN
    monkeypatch.setattr(memory, "free_memory", lambda: limit)
    result = extract(config)
    assert {f.stage for f in result.failures} == {"encode"}
    assert len(result.failures) < 3
    assert "cut it with start and end" in result.failures[0].reason


@pytest.mark.parametrize(("able", "precision"), [(True, "fp32"), (True, "bf16"), (False, "fp32")])
def test_a_long_run_is_told_how_to_be_shorter(
    able: bool,
    precision: str,
    make_corpus: Any,
    make_pipeline: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx512_bf16": able})
    extra = f'[extract]\ndevice = "cpu"\nprecision = "{precision}"\n'
    config = load_config(make_pipeline(make_corpus(2), modalities=("text",), more=extra))
    plan = examine(config, probe=False)
    advised = able and precision == "fp32"
    assert plan.faster == ("bf16" if advised else None)
    assert faster_text(plan) == ""  # nobody knows how long it takes
    assert faster_text(replace(plan, seconds=LONG - 1)) == ""
    assert ('extract.precision = "bf16"' in faster_text(replace(plan, seconds=LONG))) == advised


def test_doctor_foresees_what_can_be_seen_without_decoding(
    make_corpus: Any, make_pipeline: Any, write_video: Any
) -> None:
    """M14: unreadable files, missing tracks, empty texts, cuts behind the end; by reason."""
    corpus = make_corpus(4)
    raw = corpus / "Raw/demo_01a"
    sound = (0.3 * np.sin(np.arange(32_000) / 9)).astype("f4")[None]
    picture = [np.full((48, 64, 3), 90, np.uint8)] * 50
    (raw / "0002.mp4").write_bytes(b"")
    write_video(raw / "0003.mp4", sound=sound)
    write_video(raw / "0004.mp4", picture)
    lines = ["id,split,text,label,media,start"]
    for number, (name, start) in enumerate(
        [("0001", ""), ("0002", ""), ("0003", ""), ("0004", ""), ("0001", "500"), ("none", "")]
    ):
        lines.append(f"{number},train,we said {number},1,Raw/demo_01a/{name}.mp4,{start}")
    table = corpus / "table.csv"
    table.write_text("\n".join(lines) + "\n")
    config = load_config(make_pipeline(table, ("vision", "audio"), kind="csv"))
    progress = Counted()
    plan = examine(config, probe=False, progress=progress)
    assert progress.done == {"looking at clips": 12, "looking at media": 5}
    assert {s.modality: (s.todo, s.failed) for s in plan.stores} == {
        "vision": (5, 4),
        "audio": (5, 4),
    }
    texts = [finding.text for finding in plan.findings]
    assert any("1 clip will fail, vision: no video track (2)." in text for text in texts)
    assert any("1 clip will fail, audio: no audio track (3)." in text for text in texts)
    behind = "vision: the cut begins after the end of the file (4)"
    assert any(f"1 clip will fail, {behind}." in text for text in texts)
    assert any("0002.mp4 (empty file)" in text for text in texts)
    result = extract(config)
    for store in plan.stores:  # no more and no other than foreseen
        failed = sum(f.modality == store.modality for f in result.failures)
        assert store.failed + (store.modality == "vision") == failed  # and nobody is to be seen


class Counted(Silent):
    """A progress that counts."""

    def __init__(self) -> None:
        self.done: dict[str, int] = {}

    def advance(self, task: str, by: int = 1) -> None:
        self.done[task] = self.done.get(task, 0) + by
