"""One way to write: whole or not there, whoever else writes, whatever the file system lacks."""

import errno
import itertools
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sedimental.cache.spec import FeatureSpec
from sedimental.cache.store import file_system
from sedimental.cache.store.atomic_write import fresh, make_folder, remove, replace, temporary_path
from sedimental.cache.store.store import open_store
from sedimental.cache.store.verify import verify
from sedimental.cache.store.writer import StoreWriter

from .test_crash import FORMATS, Format, both, clip, spec


def hidden(folder: Path) -> list[str]:
    return [p.name for p in folder.rglob(".tmp-*")]


def make(folder: Path, word: str) -> None:
    folder.mkdir()
    for name in ("settings", "weights", "scores"):
        (folder / name).write_text(word)


def test_two_writers_of_one_folder_leave_one_whole_result(tmp_path: Path) -> None:
    """H11: settings of one and weights of the other; every name is either's, never both."""
    path = tmp_path / "runs" / "seed-1"
    go = threading.Barrier(3)
    faults: list[BaseException] = []

    def write(word: str) -> None:
        go.wait()
        for k in range(60):
            try:
                with fresh(path) as folder:
                    make(folder, f"{word}{k}")
            except BaseException as fault:
                faults.append(fault)

    writers = [threading.Thread(target=write, args=(word,)) for word in "ab"]
    for one in writers:
        one.start()
    go.wait()
    for one in writers:
        one.join()
    assert not faults
    assert len({file.read_text() for file in path.iterdir()}) == 1
    assert len(list(path.iterdir())) == 3
    assert not hidden(tmp_path)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_there_is_replaced_or_kept(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "name"
    for existing, word in (("replace", "1"), ("replace", "2"), ("keep", "3")):
        with fresh(path, existing) as temporary:  # type: ignore[arg-type]
            assert not temporary.exists()
            if kind == "folder":
                make(temporary, word)
            else:
                temporary.write_text(word)
    found = (path / "scores" if kind == "folder" else path).read_text()
    assert found == "2"
    with fresh(tmp_path / "new", "keep") as temporary:
        temporary.write_text("4")
    assert (tmp_path / "new").read_text() == "4"
    assert not hidden(tmp_path)


@pytest.mark.parametrize("before", ["nothing", "file", "folder"])
def test_what_fails_half_way_leaves_what_was_there(before: str, tmp_path: Path) -> None:
    path = tmp_path / "name"
    if before == "file":
        path.write_text("old")
    elif before == "folder":
        make(path, "old")
    there = sorted(str(p) for p in tmp_path.rglob("*"))

    def half() -> None:
        with fresh(path) as temporary:
            make(temporary, "new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert sorted(str(p) for p in tmp_path.rglob("*")) == there


def test_a_refusal_names_what_was_to_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for target in (tmp_path / "file" / "x", tmp_path / ("n" * 300)):
        with pytest.raises(OSError, match="Errno") as found:
            replace(target, b"x")
        assert str(found.value.filename).startswith(str(target.parent))
        assert ".tmp-" not in str(found.value)


def test_names_as_long_as_a_file_system_takes(tmp_path: Path) -> None:
    for name in ("n" * 255, "é" * 127, "中" * 85):
        assert replace(tmp_path / name, "text").read_text() == "text"


def test_equal_content_is_not_written_again(tmp_path: Path) -> None:
    """H9: so that nothing need be writable where nothing has to be written."""
    path = replace(tmp_path / "a", "same")
    before = path.stat()
    replace(path, b"same")
    assert path.stat().st_ino == before.st_ino
    replace(path, "else")
    assert path.read_text() == "else"


def test_removing_a_link_leaves_what_it_leads_to(tmp_path: Path) -> None:
    make(tmp_path / "kept", "x")
    (tmp_path / "link").symlink_to("kept", target_is_directory=True)
    remove(tmp_path / "link")
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]
    assert len(list((tmp_path / "kept").iterdir())) == 3


@pytest.fixture
def no_hints(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """macOS, Windows, or a CIFS share: calls that are not there, folders that cannot be synced."""
    for name in ("posix_fadvise", "preadv", "pread", "pwrite"):
        monkeypatch.delattr(os, name)
    original = os.fsync

    def fsync(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112
            raise OSError(errno.EINVAL, "no folders here")
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    file_system.say_once.cache_clear()
    yield
    file_system.say_once.cache_clear()


@pytest.mark.usefixtures("no_hints")
@both
def test_hints_are_hints(format: Format, tmp_path: Path, caplog: Any) -> None:
    """H10; what cannot be promised is said a single time."""
    with caplog.at_level(logging.WARNING, "sedimental"):
        writer = StoreWriter.create(tmp_path, spec(), format)
        for k in range(3):
            writer.add([clip(f"clip{k}")])
        assert writer.finish(writer.present(), {})
    assert open_store(writer.path).read(None, ["clip1"]).values.shape[1] == 4
    assert not verify(writer.path).damage
    assert [r.message for r in caplog.records] == [
        "note: folders cannot be synced here: what was written last may be lost with the power."
    ]


def test_a_disk_that_fails_is_no_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(errno.EIO, "gone")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="gone"):
        replace(tmp_path / "a", b"x")
    assert not list(tmp_path.iterdir())


def test_folders_are_made_once(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b" / "c")
    make_folder(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()


@pytest.mark.parametrize("format", FORMATS)
def test_part_names_ask_no_clock(
    format: Format, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H7: the clock goes back with every part, and two hosts disagree about it."""
    hours = itertools.count(10**6, -7200)
    monkeypatch.setattr("time.time_ns", lambda: next(hours) * 10**9)
    monkeypatch.setattr("time.time", lambda: float(next(hours)))
    names: list[str] = []
    for _ in range(3):
        writers = [StoreWriter.create(tmp_path, spec(), format) for _ in range(2)]
        for k, writer in enumerate(writers * 2):
            names.append(writer.add([clip(f"c{k}", source=f"s{len(names)}"), clip("all")]).name)
    assert max(map(len, names)) == min(map(len, names)) < 30
    assert sorted(names) == names
    assert writers[0].present()["c3"] == f"s{len(names) - 1}"
    assert not verify(writers[0].path).damage


def test_parts_that_a_clock_named_come_first(tmp_path: Path) -> None:
    """Stores of earlier versions go on: a later part of the same clip counts."""
    writer = StoreWriter.create(tmp_path, spec())
    old = writer.add([clip("a", source="old")])
    old.rename(old.with_name("part-20260101T101112000000-0123abcd-89abcdef"))
    writer.add([clip("a", source="new")])
    assert writer.present() == {"a": "new"}
    assert open_store(writer.path, allow_partial=True).sources == {"a": "new"}


def test_a_store_that_is_being_removed_is_hidden_and_swept_up(tmp_path: Path) -> None:
    """H14: `cache rm` is killed once the folder has its hidden name."""
    from sedimental.cache.store.store import list_stores

    root = tmp_path / "features"
    kept = FeatureSpec("text", "kept", "toy", None, "random:0", "0", spec().layers, spec().width)
    for one in (spec(), kept):
        StoreWriter.create(root / "corpus", one).add([clip("a")])
    code = (
        "import os, sys; from pathlib import Path\n"
        "from sedimental.cache.store import atomic_write, remove\n"
        "atomic_write._discard = lambda path: os._exit(9)\n"
        "remove.remove_store(Path(sys.argv[1]))"
    )
    store = root / "corpus" / spec().folder_name
    killed = subprocess.run([sys.executable, "-P", "-c", code, str(store)], check=False)
    assert killed.returncode == 9
    assert list_stores(root) == (root / "corpus" / kept.folder_name,)
    assert hidden(root / "corpus")
    StoreWriter.create(root / "corpus", kept)
    assert not hidden(root / "corpus")


def test_temporaries_tell_their_writer(tmp_path: Path) -> None:
    one, other = (temporary_path(tmp_path, "x" * 300) for _ in range(2))
    assert one != other
    assert f"-{os.getpid()}-" in one.name
    assert len(one.name) < 120
