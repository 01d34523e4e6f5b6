"""Media that changed since their features were made: found by size, times and every byte."""

import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import sedimental
from sedimental.cache.corpus.corpus_table import cached_manifest
from sedimental.cache.corpus.leaks import leaks
from sedimental.cache.corpus.media_index import MEDIA, read_media
from sedimental.checks import news
from sedimental.cli import app
from sedimental.config import Config, load_config
from sedimental.extract.contact_sheets import contact_sheets
from sedimental.extract.doctor import examine
from sedimental.extract.face_strips import face_strips


@pytest.fixture
def corpus(make_corpus: Any, make_pipeline: Any) -> tuple[Config, Path, list[Path]]:
    folder = make_corpus(4)
    pipeline = make_pipeline(folder, modalities=("audio",))
    return load_config(pipeline), pipeline, sorted(folder.rglob("*.mp4"))


def new(config: Config, **how: Any) -> int:
    [store] = sedimental.extract(config, **how).stores
    return int(store.new)


def change_middle(path: Path, keep_times: bool = False) -> None:
    """Other bytes between head and tail, of equal size."""
    before, data = path.stat(), bytearray(path.read_bytes())
    data.extend(b"\0" * 200_000) if len(data) < 200_000 else None
    middle = len(data) // 2
    data[middle] ^= 0xFF
    path.write_bytes(data)
    if keep_times:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def larger(paths: list[Path]) -> None:
    """So that there is something between head and tail."""
    for path in paths:
        path.write_bytes(path.read_bytes() + b"\0" * 400_000)


def aged(paths: list[Path]) -> None:
    """As if written long ago: a file changed a moment before it is looked at is doubted."""
    for path in paths:
        os.utime(path, ns=(10**18, 10**18))


def test_a_file_that_changed_in_its_middle_is_extracted_anew(
    corpus: tuple[Config, Path, list[Path]],
) -> None:
    """R15: equal size, head and tail."""
    config, _, files = corpus
    larger(files)
    aged(files)
    assert new(config) == 4
    assert new(config) == 0
    assert not list(news(config, update=False))
    change_middle(files[1])
    [told] = news(config, update=False)
    assert "1 media file has changed" in told
    assert files[1].name in told
    assert any("size and ends alike" in f.text for f in examine(config, probe=False).findings)
    assert new(config) == 1
    assert new(config) == 0
    assert not list(news(config, update=False))
    change_middle(files[1])  # and once more
    assert new(config) == 1


def test_a_change_with_times_set_back_is_found(
    corpus: tuple[Config, Path, list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """R15: by the time of the inode; `--check full` needs no time at all."""
    from sedimental.cache.corpus.media_index import MediaFile

    config, pipeline, files = corpus
    larger(files)
    aged(files)
    assert new(config) == 4
    change_middle(files[2], keep_times=True)
    assert new(config) == 1
    aged(files)
    assert new(config) == 0
    monkeypatch.setattr(MediaFile, "doubtful", lambda *_: False)  # no stat tells anything
    change_middle(files[2], keep_times=True)
    assert new(config) == 0
    answer = CliRunner().invoke(app, ["extract", "-c", str(pipeline), "--check", "full"])
    assert answer.exit_code == 0
    assert new(config, check="full") == 0
    assert read_media(config.corpus_cache)[f"Raw/{files[2].parent.name}/{files[2].name}"].salt


def test_a_file_that_was_only_touched_costs_nothing(
    corpus: tuple[Config, Path, list[Path]],
) -> None:
    config, _, files = corpus
    assert new(config) == 4
    for path in files:
        path.touch()
    assert new(config) == 0
    assert not list(news(config, update=False))


def test_a_cache_of_an_earlier_version_is_watched_from_now_on(
    corpus: tuple[Config, Path, list[Path]],
) -> None:
    config, _, files = corpus
    larger(files)
    assert new(config) == 4
    (config.corpus_cache / MEDIA).unlink()
    assert new(config) == 0
    aged(files)
    assert new(config) == 0
    change_middle(files[0])
    assert new(config) == 1
    (config.corpus_cache / MEDIA).write_text("{}")  # damaged: nothing is known, nothing fails
    assert new(config) <= 1


def test_one_recording_under_two_names_is_told_before_and_after(
    corpus: tuple[Config, Path, list[Path]],
) -> None:
    """R10: by every byte, whatever the file is called."""
    config, _, files = corpus
    files[3].write_bytes(files[0].read_bytes())  # a test clip that is a training clip
    findings = [f.text for f in examine(config, probe=False).findings]
    assert any(text.startswith("1 recording in two splits") for text in findings)
    assert new(config) == 4
    found = leaks(cached_manifest(config))
    assert any(text.startswith("1 recording in two splits, under two ids") for text in found)


def test_contact_sheets_show_no_faces_of_what_a_file_was(
    make_corpus: Any, make_pipeline: Any, tmp_path: Path
) -> None:
    """`cache faces` looked up found faces without what a file that changed adds to its source: it
    drew the old boxes over the new frames, and none once they were found anew."""
    folder = make_corpus(2)
    config = load_config(make_pipeline(folder, modalities=("vision",)))
    files = sorted(folder.rglob("*.mp4"))
    larger(files)
    aged(files)
    assert new(config) == 2

    def shown() -> int:
        return sum(len(sheet.clips) for sheet in contact_sheets(config, tmp_path / "sheets"))

    assert shown() == 2
    change_middle(files[1])
    assert shown() == 1
    ids = [clip.id for clip in cached_manifest(config).clips]
    assert len(face_strips(config, ids)) == 1
    assert new(config) == 1
    assert shown() == 2
    assert len(face_strips(config, ids)) == 2
