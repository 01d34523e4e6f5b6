"""A flipped bit in what lies beside the stores: found faces, the list of failures (H5)."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from sedimental.cache.face_boxes import BoxStore, Found
from sedimental.cache.failures import (
    Failure,
    forget_failures,
    read_failures,
    write_failures,
)
from sedimental.errors import CorruptStoreError

FLIPS = 150
FAILURES = (
    Failure("v$_$1", "text", "bert", "read", "no words"),
    Failure('=1+1, "x"\n', "vision", "clip", "decode", "codec [av1] 好"),
)


def flipped(data: bytes, random: np.random.Generator) -> bytes:
    changed = bytearray(data)
    changed[int(random.integers(len(data)))] ^= 1 << int(random.integers(8))
    return bytes(changed)


def test_every_flip_in_found_faces_is_noticed(tmp_path: Path) -> None:
    settings = {"detector": "toy"}
    faces = np.arange(15, dtype=np.float32).reshape(3, 5)
    found = {f"s{k}": Found(np.array([1, 2]), faces + k) for k in range(4)}
    BoxStore(tmp_path, settings).add(found)
    [file] = tmp_path.glob("boxes-*/faces-*.npz")
    whole, random = file.read_bytes(), np.random.default_rng(0)
    for _ in range(FLIPS):
        file.write_bytes(flipped(whole, random))
        store = BoxStore(tmp_path, settings)
        assert store.damaged == [file]
        assert store.get("s1") is None  # they are looked for again
    for cut in (0, 10, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:cut])
        assert BoxStore(tmp_path, settings).damaged == [file]
    file.write_bytes(flipped(whole, random))
    store = BoxStore(tmp_path, settings)
    store.add(found)
    again = BoxStore(tmp_path, settings)
    assert not again.damaged
    kept = again.get("s2")
    assert kept is not None
    np.testing.assert_array_equal(kept.faces, faces + 2)


def test_faces_that_an_earlier_version_found_are_known(tmp_path: Path) -> None:
    store = BoxStore(tmp_path, {"detector": "toy"})
    store.add({"s": Found(np.array([1]), np.ones((1, 5), np.float32))})
    [file] = tmp_path.glob("boxes-*/faces-*.npz")
    file.rename(file.with_name("faces-20260101T101112000000-0123abcd.npz"))
    assert BoxStore(tmp_path, {"detector": "toy"}).get("s") is not None


def test_every_flip_in_the_failures_is_named(tmp_path: Path) -> None:
    path = tmp_path / "failures-1-of-2.csv"
    write_failures(path, FAILURES)
    assert read_failures(path) == FAILURES
    rows = list(csv.reader(io.StringIO(path.read_bytes().decode(), newline="")))
    assert rows[2][0] == "'" + FAILURES[1].clip  # no formula
    sealed = path.with_suffix(".json")
    whole, random = sealed.read_bytes(), np.random.default_rng(0)
    for _ in range(FLIPS):
        sealed.write_bytes(flipped(whole, random))
        with pytest.raises(CorruptStoreError, match=r"failures-1-of-2\.json.*sedimental extract"):
            read_failures(path)
    sealed.write_bytes(whole)
    path.write_text("edited by hand")  # what people read is not what is read
    assert read_failures(path) == FAILURES
    forget_failures(path)
    assert not list(tmp_path.iterdir())
    assert read_failures(path) == ()
