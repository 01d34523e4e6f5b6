"""`cache rm` and `verify --repair` touch a store's own files, and nothing else, ever (H3)."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sedimental.cache.cli import app
from sedimental.cache.store.remove import remove_store
from sedimental.cache.store.store import open_store
from sedimental.cache.store.verify import verify
from sedimental.errors import StoreError

from .test_crash import Format, both, filled, snapshot

RUNNER = CliRunner()


def refused(path: Path, root: Path, says: str) -> None:
    before = snapshot(root)
    with pytest.raises(StoreError, match=says):
        remove_store(path)
    shown = RUNNER.invoke(app, ["rm", str(path), "-y"])
    assert shown.exit_code == 1
    assert "nothing was removed" in shown.stderr
    assert snapshot(root) == before


def test_a_folder_that_merely_holds_a_store_json(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "store.json").write_text('{"shop": "open"}')
    (photos / "part-time.txt").write_text("a letter")
    refused(photos, tmp_path, "holds part-time.txt")
    (photos / "part-time.txt").unlink()
    refused(photos, tmp_path, "neither its store.json nor any part is intact")
    (photos / "store.json").unlink()
    refused(photos, tmp_path, "no feature store here")


def test_a_store_of_which_a_link_is_named(tmp_path: Path) -> None:
    path = filled(tmp_path, "zarr").path
    link = tmp_path / "link"
    link.symlink_to(path, target_is_directory=True)
    refused(link, tmp_path, "a link to")


@both
def test_links_within_a_store_are_not_followed(format: Format, tmp_path: Path) -> None:
    path = filled(tmp_path, format).path
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("x")
    for link in (path / "part-n00000009-0123abcd", path / "complete.json", path / "x"):
        kept = link.read_bytes() if link.exists() else None
        link.unlink(missing_ok=True)
        link.symlink_to(elsewhere, target_is_directory=True)
        refused(path, tmp_path, f"holds {link.name}")
        if link.name.startswith("part-"):
            assert verify(path, repair=True).damage  # a part that is none: the link alone goes
            assert not link.is_symlink()
            assert (elsewhere / "precious").read_text() == "x"
        else:
            link.unlink()
        if kept is not None:
            link.write_bytes(kept)
    remove_store(path)
    assert not path.exists()
    assert (elsewhere / "precious").read_text() == "x"


def test_another_s_file_within_a_part(tmp_path: Path) -> None:
    path = filled(tmp_path, "zarr").path
    part = min(path.glob("part-*"))
    (part / "thesis.tex").write_text("x")
    refused(path, tmp_path, r"thesis\.tex")


def test_repair_leaves_what_is_no_store(tmp_path: Path) -> None:
    folder = tmp_path / "letters"
    (folder / "part-time").mkdir(parents=True)
    (folder / "part-time" / "x").write_text("x")
    (folder / "manifest-of-a-party.jsonl").write_text("{}")
    (folder / "store.json").write_text("{}")
    before = snapshot(tmp_path)
    with pytest.raises(StoreError):
        verify(folder, repair=True)
    assert snapshot(tmp_path) == before


@both
def test_a_store_goes_with_everything_that_is_its_own(format: Format, tmp_path: Path) -> None:
    writer = filled(tmp_path, format)
    import numpy as np

    writer.probe(np.ones((2, 3, 4), np.float32))
    (writer.path / "store.json").write_text("damaged")  # its parts still tell what it is
    shown = RUNNER.invoke(app, ["rm", str(writer.path), "-y"])
    assert shown.exit_code == 0, shown.stderr
    assert list(tmp_path.iterdir()) == []


@both
def test_a_disk_that_cannot_give_a_part_back(format: Format, tmp_path: Path) -> None:
    """H8: EIO names the clips, the rest is checked, and `--repair` drops it.

    The first page of a process' own memory answers EIO, as a dying disk does.
    """
    path = filled(tmp_path, format).path
    parts = sorted(path.glob("part-*"))
    file = parts[1] if format == "hdf5" else parts[1] / "hidden" / "c.0.0.0"
    file.unlink()
    file.symlink_to("/proc/self/mem")
    shown = RUNNER.invoke(app, ["verify", str(path)])
    assert shown.exit_code == 1
    assert shown.exception is None or isinstance(shown.exception, SystemExit)
    assert "3 clips affected" in shown.stdout
    verdict = verify(path)
    assert verdict.clips == ("clip1.0", "clip1.1", "clip1.2")
    assert any("Input/output error" in one.what for one in verdict.damage)
    assert verdict.parts == 3
    assert verify(path, repair=True).repaired
    assert not verify(path).damage
    assert len(open_store(path, allow_partial=True).clips) == 6


@pytest.mark.parametrize(
    "pattern", ["store.json", "complete.json", "manifest-*", "part-*/zarr.json"]
)
def test_a_disk_that_cannot_give_back_a_record(pattern: str, tmp_path: Path) -> None:
    path = filled(tmp_path, "zarr").path
    file = min(path.glob(pattern))
    file.unlink()
    file.symlink_to("/proc/self/mem")
    assert verify(path).damage
    if "manifest" in pattern:
        assert len(open_store(path).clips) == 9  # an index costs time, and nothing else
    elif pattern != "part-*/zarr.json":
        with pytest.raises(StoreError, match="Input/output error"):
            open_store(path)
    assert verify(path, repair=True).repaired
    assert not verify(path).damage
