"""Progress where nobody sees bars: a line a minute, and a log file of what takes its time."""

import logging
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sedimental.cli import app
from sedimental.console import bars, tell
from sedimental.progress import Lines

RUNNER = CliRunner()


def test_a_line_a_minute_with_rate_and_time_left() -> None:
    """Friction 6: into a cluster's log."""
    now, written = [0.0], list[str]()
    lines = Lines(written.append, clock=lambda: now[0])
    lines.start("training", 900, "epoch")
    lines.start("short", 3)
    for second in range(1, 151):
        now[0] = second
        lines.advance("training", 2)
        if second < 4:
            lines.advance("short")
    assert written == [
        "training: 120 of 900 epochs (13%), 2.0 epochs/s, 6 min left",
        "training: 240 of 900 epochs (27%), 2.0 epochs/s, 6 min left",
    ]
    now[0] = 400.0
    lines.advance("training", 600)
    assert written[-1] == "training: 900 of 900 epochs (100%) in 7 min"
    lines.start("slow", 10)
    now[0] += 600.0
    lines.advance("slow")
    assert written[-1] == "slow: 1 of 10 clips (10%), 6.0 clips/h, 90 min left"


def test_a_command_that_takes_its_time_keeps_a_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bars(tmp_path / "a", "extract") as progress:
        progress.note("done at once")
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("sedimental.progress.LOG_AFTER", 0.0)

    def failing() -> None:
        with bars(tmp_path / "a", "extract") as progress:
            progress.note("a clip failed")
            tell("and so it is")
            raise ValueError("it went wrong")

    with pytest.raises(ValueError, match="went wrong"):
        failing()
    (file,) = (tmp_path / "a/logs").glob("extract-*.log")
    text = file.read_text(encoding="utf-8")
    for said in ("sedimental 0", "a clip failed", "and so it is", "ValueError: it went wrong"):
        assert said in text
    (tmp_path / "b").write_text("no folder")  # a disk that refuses the log ends nothing
    with bars(tmp_path / "b", "train") as progress:
        progress.note("goes on")
    assert not logging.getLogger("sedimental").handlers


def test_extraction_tells_each_failure_once(
    make_corpus: Any, make_pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Friction 10."""
    monkeypatch.setattr("sedimental.progress.LOG_AFTER", 0.0)
    corpus = make_corpus(4)
    (corpus / "Raw/demo_01a/0002.mp4").write_bytes(b"nothing")
    path = make_pipeline(corpus, modalities=("vision",))
    shown = RUNNER.invoke(app, ["extract", "-c", str(path), "-o", "extract.workers=1"])
    assert shown.exit_code == 3
    assert shown.stderr.count("demo_01a$_$0002: no vision") == 1
    assert shown.stderr.count("clips failed") == 1
    (file,) = path.parent.glob("features/*/logs/extract-*.log")
    assert file.read_text(encoding="utf-8").count("demo_01a$_$0002: no vision") == 1
