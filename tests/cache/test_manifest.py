"""The manifest on disk: lines, checksum, and whose cache folder it makes it."""

import random
import re
from pathlib import Path
from typing import Any

import pytest

from sedimental.cache.corpus.corpus_table import cached_manifest
from sedimental.cache.manifest import Clip, Manifest, read_manifest, write_manifest
from sedimental.config import Config, ConfigError, CorpusConfig, load_config
from sedimental.errors import CachedManifestError
from sedimental.extract.corpora import load_manifest
from sedimental.extract.run import extract

LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
"""All that str.splitlines splits at."""


def corpus(folder: Path, texts: list[str]) -> Manifest:
    clips = [
        Clip(f"v$_${k}", "v", str(k), "train", text, label=1.0) for k, text in enumerate(texts)
    ]
    return Manifest("toy", folder, tuple(clips), folder / "toy.csv")


def test_whatever_unicode_calls_a_line_stays_in_its_row(tmp_path: Path) -> None:
    """R7."""
    manifest = corpus(tmp_path, [f"a{end}b" for end in LINE_ENDS] + [LINE_ENDS])
    write_manifest(tmp_path / "c/manifest.jsonl", manifest)
    assert read_manifest(tmp_path / "c/manifest.jsonl") == manifest


def test_every_flipped_bit_is_named(tmp_path: Path) -> None:
    """H5: 400 flips, each of them found, with the file and the way out."""
    path = tmp_path / "c/manifest.jsonl"
    write_manifest(path, corpus(tmp_path, ["one", "zwei\u00e4", "three words"]))
    data, draw = path.read_bytes(), random.Random(0)
    for _ in range(400):
        place, bit = draw.randrange(len(data)), draw.randrange(8)
        flipped = bytearray(data)
        flipped[place] ^= 1 << bit
        path.write_bytes(flipped)
        with pytest.raises(CachedManifestError) as found:
            read_manifest(path)
        assert str(found.value).startswith(f"{path}: ")
        assert "`sedimental extract`" in str(found.value)


@pytest.mark.parametrize("kept", [0, 1, 40, -150, -1])
def test_a_manifest_that_is_cut_off_is_damaged(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "c/manifest.jsonl"
    write_manifest(path, corpus(tmp_path, ["one", "two", "three"]))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CachedManifestError):
        read_manifest(path)


def test_a_manifest_of_an_earlier_version_is_read_and_sealed_when_next_written(
    tmp_path: Path,
) -> None:
    path = tmp_path / "manifest.jsonl"
    old = (
        f'{{"format": "sedimental-manifest-1", "corpus": "toy", "root": "{tmp_path}"}}\n'
        '{"id": "v$_$0", "video_id": "v", "clip_id": "0", "split": "train", "text": "x"}\n'
    )
    path.write_text(old)
    found = read_manifest(path)
    assert (found.root, found.table, len(found.clips)) == (tmp_path, None, 1)
    write_manifest(path, found)
    assert b"manifest-2" in path.read_bytes()
    assert read_manifest(path) == found
    path.write_text(old.replace('"train"', '"trian"'))
    with pytest.raises(CachedManifestError, match="line 2: split"):
        read_manifest(path)


def test_a_moved_project_keeps_its_manifest(tmp_path: Path) -> None:
    (tmp_path / "a/mine").mkdir(parents=True)
    write_manifest(tmp_path / "a/features/m/manifest.jsonl", corpus(tmp_path / "a/mine", ["x"]))
    (tmp_path / "a").rename(tmp_path / "b")
    found = read_manifest(tmp_path / "b/features/m/manifest.jsonl")
    assert found.root == tmp_path / "b/mine"


def table(path: Path, rows: int = 4, label: float = 1.0, prefix: str = "v") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    splits = ("train", "train", "valid", "test") * rows
    lines = [f"{prefix}{k},{splits[k]},{label},some words {k}" for k in range(rows)]
    path.write_text("\n".join(["id,split,label,text", *lines]) + "\n")
    return path


def pipeline(folder: Path, path: Path, name: str = "p", more: str = "") -> Config:
    file = folder / f"{name}.toml"
    file.write_text(
        f'[corpus]\nkind = "csv"\npath = "{path}"\n{more}\n'
        '[[features]]\nmodality = "text"\nencoder = "tiny-bert"\n'
    )
    return load_config(file)


def test_two_tables_of_one_file_name_have_two_caches(tmp_path: Path) -> None:
    """R5, as its row has it: MOSI/label.csv and SIMS/label.csv."""
    mosi = pipeline(tmp_path, table(tmp_path / "MOSI/label.csv"), "mosi")
    sims = pipeline(tmp_path, table(tmp_path / "SIMS/label.csv", label=-1), "sims")
    assert (mosi.corpus.slug, sims.corpus.slug) == ("MOSI", "SIMS")
    assert mosi.corpus_cache != sims.corpus_cache
    assert mosi.experiment != sims.experiment


@pytest.mark.parametrize(
    ("path", "kind", "slug"),
    [
        ("MOSI/labels.csv", "csv", "MOSI"),
        ("x/emodb/data/train.csv", "csv", "emodb"),
        ("x/emodb/Labels_v2.csv", "csv", "emodb"),
        ("x/mosi_labels.csv", "csv", "mosi_labels"),
        ("x/iemocap.csv", "csv", "iemocap"),
        ("corpora/CH-SIMS/Raw", "mmsa", "CH-SIMS"),
        ("corpora/CH-SIMS", "mmsa", "CH-SIMS"),
        ("corpora/MELD.Raw", "meld", "MELD.Raw"),
        ("x/..", "mmsa", None),
    ],
)
def test_a_corpus_is_never_called_by_a_name_that_any_has(
    tmp_path: Path, path: str, kind: Any, slug: str | None
) -> None:
    """R5."""
    found = CorpusConfig(kind=kind, path=tmp_path / path).slug
    assert found == (slug or tmp_path.name)
    assert CorpusConfig(kind=kind, path=Path("/data/labels.csv")).slug == kind


def test_a_cache_folder_belongs_to_one_table(tmp_path: Path) -> None:
    """R5: another table under its name is refused by every command, with paths and key."""
    first = pipeline(tmp_path, table(tmp_path / "a/t.csv"), "first", 'name = "one"')
    other = table(tmp_path / "b/t.csv", label=-1)
    second = pipeline(tmp_path, other, "second", 'name = "one"')
    extract(first)
    kept = (first.corpus_cache / "manifest.jsonl").read_bytes()
    for use in (extract, cached_manifest):
        with pytest.raises(ConfigError) as found:
            use(second)
        for part in (str(tmp_path / "a/t.csv"), str(other), "corpus.name"):
            assert part in str(found.value)
    assert (first.corpus_cache / "manifest.jsonl").read_bytes() == kept
    assert len(cached_manifest(first).clips) == 4


def test_an_edited_a_moved_and_a_copied_table_are_the_same(tmp_path: Path) -> None:
    path = table(tmp_path / "a/t.csv")
    config = pipeline(tmp_path, path, more='name = "one"')
    extract(config)
    table(path, label=2)  # edited in its place
    extract(config)
    assert {clip.label for clip in cached_manifest(config).clips} == {2.0}
    moved = tmp_path / "c/t.csv"
    moved.parent.mkdir()
    path.rename(moved)
    moved.write_text(moved.read_text().replace("some words 1", "other words"))
    config = pipeline(tmp_path, moved, more='name = "one"')
    extract(config)
    assert cached_manifest(config).table == moved
    table(tmp_path / "d/t.csv", label=2).write_text(moved.read_text())
    copied = pipeline(tmp_path, tmp_path / "d/t.csv", more='name = "one"')
    extract(copied)
    moved.unlink()
    strange = pipeline(tmp_path, table(tmp_path / "e/t.csv", prefix="w"), more='name = "one"')
    with pytest.raises(ConfigError, match=r"corpus\.name"):
        extract(strange)


def unseal(path: Path) -> None:
    """Make a manifest one of an earlier version."""
    head, _, rows = path.read_text().partition("\n")
    root = re.sub("sedimental-manifest-2", "sedimental-manifest-1", head)
    root = re.sub(r', "table".*', "}", root)
    path.write_text(f"{root}\n{rows}")


def test_a_cache_under_the_name_of_an_earlier_version_is_named(tmp_path: Path) -> None:
    """R5: features are not made a second time because their folder is called otherwise now."""
    path = table(tmp_path / "MOSI/label.csv")
    config = pipeline(tmp_path, path, more='name = "label"')
    extract(config)
    unseal(config.corpus_cache / "manifest.jsonl")
    with pytest.raises(ConfigError, match=r'name = "label".*rename the folder.*MOSI'):
        extract(pipeline(tmp_path, path))
    extract(pipeline(tmp_path, table(tmp_path / "SIMS/label.csv"), "other"))
    config.corpus_cache.rename(config.corpus_cache.with_name("MOSI"))
    extract(pipeline(tmp_path, path))


def test_a_cache_of_an_earlier_version_is_not_taken_over(tmp_path: Path) -> None:
    """R5: it kept the folder of its table alone, which is enough to tell another one."""
    config = pipeline(tmp_path, table(tmp_path / "a/t.csv"), more='name = "one"')
    extract(config)
    path = config.corpus_cache / "manifest.jsonl"
    unseal(path)
    other = pipeline(tmp_path, table(tmp_path / "b/t.csv", prefix="w"), "o", 'name = "one"')
    with pytest.raises(ConfigError, match=r"another table"):
        extract(other)
    extract(config)
    assert b"manifest-2" in path.read_bytes()
    assert load_manifest(config.corpus) == cached_manifest(config)
