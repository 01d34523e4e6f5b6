"""Tables of labels: what is read of them, and every fault with its line."""

from pathlib import Path
from typing import Any

import pytest

from sedimental.cache.errors import ManifestError
from sedimental.cache.manifest import read_manifest, write_manifest
from sedimental.config import CorpusConfig
from sedimental.extract.corpora import load_manifest


def csv_corpus(path: Path, text: str) -> Any:
    path.write_text(text, encoding="utf-8-sig")
    return load_manifest(CorpusConfig(kind="csv", path=path))


def test_mmsa_layout_is_read(make_corpus: Any) -> None:
    folder = make_corpus(5)
    manifest = load_manifest(CorpusConfig(kind="mmsa", path=folder))
    assert manifest.corpus == "little"
    first = manifest.clips[0]
    assert (first.id, first.clip_id) == ("demo_01a$_$0001", "0001")  # zeros kept
    assert (manifest.root / str(first.media)).is_file()
    assert manifest.sizes == {"train": 3, "valid": 1, "test": 1}
    assert manifest.clips[2].context == ("demo_01a$_$0001", "demo_01a$_$0002")
    assert None not in (first.label, first.label_T, first.label_A, first.label_V)


def test_any_column_order_separator_and_split_name(tmp_path: Path) -> None:
    manifest = csv_corpus(
        tmp_path / "t.csv",
        'label;text;clip_id;mode;video_id;extra\n1.5;"a; b";0001;dev;v;x\n-2;c;0002;TRAIN;v;y\n',
    )
    assert [(c.id, c.split, c.label, c.text) for c in manifest.clips] == [
        ("v$_$0001", "valid", 1.5, "a; b"),
        ("v$_$0002", "train", -2.0, "c"),
    ]


def test_every_fault_of_a_table_in_one_answer(tmp_path: Path) -> None:
    text = (
        "id,split,text,label,start,end\n"
        "a,train,fine,1,,\n"
        "b,trian,fine,1,,\n"
        'a,test,"two\nlines",2,,\n'
        "c,test,fine,much,,\n"
        "d,test,fine\n"
        ",test,fine,nan,3,2\n"
    )
    with pytest.raises(ManifestError) as found:
        csv_corpus(tmp_path / "t.csv", text)
    faults = str(found.value).splitlines()
    place = f"{tmp_path / 't.csv'}: line "
    assert [f.removeprefix(place) for f in faults] == [
        "3: split is 'trian', not train, valid or test. Did you mean \"train\"?",
        "6: label is 'much', not a number.",
        "7: 3 cells where the head line has 6; a text with a comma in it needs quotes.",
        "8: id is empty.",
        "8: label is 'nan', not a number.",
        "4: a stands already in line 2.",
        "8: end 2.0 is not after start 3.0.",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "id,split,text,lable\n",
            "line 1: no column 'label' among .* Is it the one called \"lable\"",
        ),
        ("id,split,label\na,train,1\n", "no column 'text'"),
        ("id,split,label,text\n", "the table has no rows"),
        ("", "no column 'split'"),
    ],
)
def test_tables_that_are_no_corpus(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ManifestError, match=says):
        csv_corpus(tmp_path / "t.csv", text)


def test_files_that_are_no_table(tmp_path: Path, write_video: Any) -> None:
    with pytest.raises(ManifestError, match="no such table"):
        load_manifest(CorpusConfig(kind="csv", path=tmp_path / "none.csv"))
    with pytest.raises(ManifestError, match="no such table"):
        load_manifest(CorpusConfig(kind="mmsa", path=tmp_path / "none"))
    with pytest.raises(ManifestError, match=r"no label\.csv"):
        load_manifest(CorpusConfig(kind="mmsa", path=tmp_path))
    (tmp_path / "latin.csv").write_bytes(
        "id,split,text,label\na,train,caf\xe9,1\n".encode("latin-1")
    )
    with pytest.raises(ManifestError, match="not a UTF-8 table"):
        load_manifest(CorpusConfig(kind="csv", path=tmp_path / "latin.csv"))


def test_faults_beyond_fifty_are_counted(tmp_path: Path) -> None:
    rows = "".join(f"c{n},nowhere,x,1\n" for n in range(80))
    with pytest.raises(ManifestError, match="and 30 more faults"):
        csv_corpus(tmp_path / "t.csv", "id,split,text,label\n" + rows)


def test_demo_corpus_is_what_the_readme_says() -> None:
    manifest = load_manifest(CorpusConfig())
    assert manifest.sizes == {"train": 160, "valid": 40, "test": 40}
    speakers = [{c.speaker for c in manifest.split(s)} for s in ("train", "valid", "test")]
    assert sum(map(len, speakers)) == len(set().union(*speakers)) == 12
    for clip in manifest.clips:
        assert (manifest.root / str(clip.media)).is_file()
        assert clip.text
        for label in (clip.label, clip.label_T, clip.label_A, clip.label_V):
            assert label is not None
            assert -3 <= label <= 3


def test_manifest_round_trip(tmp_path: Path, make_corpus: Any) -> None:
    manifest = load_manifest(CorpusConfig(kind="mmsa", path=make_corpus(4)))
    path = tmp_path / "m" / "manifest.jsonl"
    write_manifest(path, manifest)
    again = read_manifest(path)
    assert again == manifest
    assert again.digest == manifest.digest
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], '{"id": "x", "what": 1}', *lines[3:]]))
    with pytest.raises(ManifestError, match="line 3: unknown columns what"):
        read_manifest(path)
    path.write_text("{}\n")
    with pytest.raises(ManifestError, match="line 1 is not the head"):
        read_manifest(path)
