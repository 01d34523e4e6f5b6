"""Tables of labels: what is read of them, and every fault with its line."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sedimental.cache.corpus.published_sizes import known_sizes
from sedimental.cache.manifest import Clip, Manifest, read_manifest, write_manifest
from sedimental.cache.safe_pickle.limits import PickleRefusedError
from sedimental.cache.safe_pickle.load import load_plain
from sedimental.cache.spec import SPLITS
from sedimental.config import CorpusConfig
from sedimental.errors import ManifestError
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
        "6: label is 'much', not a number. Classes by name stand in a column \"class\".",
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
            "line 1: no column 'label' or 'class' among .* Is it the one called \"lable\"",
        ),
        ("id,split,label\na,train,1\n", "no column 'text'"),
        ("id,split,label,text\n", "the table has no rows"),
        ("", "no column 'split'"),
    ],
)
def test_tables_that_are_no_corpus(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ManifestError, match=says):
        csv_corpus(tmp_path / "t.csv", text)


HEAD = "id,split,label,text\n"


@pytest.mark.parametrize(
    ("table", "says"),
    [
        # R6: a quote that is never closed, closed by a later row's, or followed by something
        (
            HEAD + 'a,train,1,fine\nb,train,1,"oops\nc,test,2,good\nd,valid,1,so\n',
            ["3: a quote opens"],
        ),
        (HEAD + 'a,train,1,"oops\nb,train,1,fine\nc,test,2,good"\n', ["2: a quote opens"]),
        (HEAD + 'a,train,1,"oops\nb,train,1,"fine"\nc,test,2,good\n', ["2: a quote opens"]),
        (HEAD + 'a,train,1,"oops\nb,train,x,"fine\n', ["2: a quote opens", "3: a quote opens"]),
        (
            HEAD + 'a,train,1,"so" he said\nb,train,x,y\n',
            ["2: something stands", "3: label is 'x'"],
        ),
        ('id,text,split,label\na,"oops,train,1\nb,so,train,1\n', ["2: a quote opens"]),
        # R18: columns that come twice, numbers that only Python reads
        ("id,split,label,text,text\na,train,1,x,y\n", ["1: 2 columns are called 'text'"]),
        (
            "id,split,split,label,label,text\n",
            ["1: 2 columns are called 'split'", "1: 2 columns are called 'label'"],
        ),
        *[
            (
                f"id;split;label;text\na;train;{number};x\n",
                [f"2: label is {number!r}, not a number"],
            )
            for number in (
                "1_0",
                "\uff11",
                "\u0661",
                "inf",
                "-Infinity",
                "NaN",
                "0x1F",
                "1,5",
                "1e999",
            )
        ],
        # rows that are not as long as the head line, all of them named
        (HEAD + "a,train,1\nb,train,1,x,y\nc,train,1,z\n", ["2: 3 cells", "3: 5 cells"]),
        (HEAD + "a,train,1,x\0y\nb,train,1,z\n", ["2: text holds a NUL"]),
        # ids that are one to the eye
        (
            HEAD + "caf\u00e9,train,1,x\ncafe\u0301,test,1,y\n",
            ["3: cafe\u0301 stands already in line 2"],
        ),
        (HEAD + "a,train,1,x\na\u200b,test,1,y\n", ["in line 2, in other characters"]),
        (HEAD + "\uff41,train,1,x\na,test,1,y\n", ["3: a stands already in line 2"]),
        (HEAD + '"a\tb",train,1,x\n', ["2: id is 'a\\tb', with a control character"]),
        ("id,split,label,text,start,end\na,train,1,x,-1,2\n", ["2: start -1.0 is before"]),
    ],
)
def test_faults_of_a_table_are_named_with_their_lines(
    tmp_path: Path, table: str, says: list[str]
) -> None:
    """R6, R18 and their kind: nothing of a table is read otherwise than it looks."""
    with pytest.raises(ManifestError) as found:
        csv_corpus(tmp_path / "t.csv", table)
    for fault in says:
        assert fault in str(found.value)


def test_a_text_of_several_lines_is_one_cell(tmp_path: Path) -> None:
    text = HEAD + 'a,train,1,"one, two\nthree, ""four"""\r\nb,test,2,say "so"\n'
    clips = csv_corpus(tmp_path / "t.csv", text).clips
    assert [clip.text for clip in clips] == ['one, two\nthree, "four"', 'say "so"']


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_encodings_of_a_table(tmp_path: Path, encoding: str) -> None:
    """UTF-16, as spreadsheets save Unicode, is read where it says so; else it is a fault."""
    path = tmp_path / "t.csv"
    path.write_bytes("id\tsplit\tlabel\ttext\na\ttrain\t1\t\u4f60\u597d\n".encode(encoding))
    if encoding == "utf-16-le":
        with pytest.raises(ManifestError):
            load_manifest(CorpusConfig(kind="csv", path=path))
        return
    assert load_manifest(CorpusConfig(kind="csv", path=path)).clips[0].text == "\u4f60\u597d"


def test_columns_by_other_names_are_understood_and_said(tmp_path: Path) -> None:
    """Friction 7."""
    manifest = csv_corpus(
        tmp_path / "t.csv",
        "Video_ID,Clip_ID,Transcript,video_path,Label,mode\nv,1,hi,a.mp4,1,dev\n",
    )
    clip = manifest.clips[0]
    assert (clip.id, clip.text, clip.media, clip.label) == ("v$_$1", "hi", "a.mp4", 1.0)
    assert [note.partition(": ")[2] for note in manifest.notes] == [
        'columns are read so: "Video_ID" as video_id, "Clip_ID" as clip_id, "Label" as label, '
        '"Transcript" as text, "video_path" as media.',
    ]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ('{"1_60": {}, "1_60": {}}', "'1_60' stands twice"),
        ("[" * 100_000, "nested too deeply"),
        ("{", "not valid JSON"),
    ],
)
def test_json_tables_that_cannot_be_read(tmp_path: Path, data: str, says: str) -> None:
    """One clip twice in a JSON file is a fault, not the second of the two."""
    (tmp_path / "sarcasm_data.json").write_text(data)
    with pytest.raises(ManifestError, match=says):
        load_manifest(CorpusConfig(kind="mustard", path=tmp_path))


def test_half_a_character_is_a_fault_of_the_table(tmp_path: Path) -> None:
    entry = {"utterance": "\ud83d so", "sarcasm": True}
    (tmp_path / "sarcasm_data.json").write_text(json.dumps({"1": entry}))
    with pytest.raises(ManifestError, match="text holds half of a character"):
        load_manifest(CorpusConfig(kind="mustard", path=tmp_path))


def test_a_csv_path_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="is a folder"):
        load_manifest(CorpusConfig(kind="csv", path=tmp_path))


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


def test_context_is_in_speaking_order_whatever_the_table_s(tmp_path: Path) -> None:
    text = "video_id,clip_id,split,text,label\nv,10,train,c,1\nv,2,train,b,1\nv,1,train,a,1\n"
    clips = {c.clip_id: c for c in csv_corpus(tmp_path / "t.csv", text).clips}
    assert clips["10"].context == ("v$_$1", "v$_$2")
    assert clips["1"].context == ()
    text = (
        "video_id,clip_id,split,text,label,start,end\nv,x,train,b,1,2,3\nv,1,train,a,1,0,1\n"
        "v,2,train,c,1,4,5\n"
    )
    clips = {c.clip_id: c for c in csv_corpus(tmp_path / "t.csv", text).clips}
    assert clips["2"].context == ("v$_$1", "v$_$x")


def test_a_table_of_classes_needs_no_numbers(tmp_path: Path) -> None:
    manifest = csv_corpus(tmp_path / "t.csv", "id,split,text,class\na,train,fine,joy\n")
    assert (manifest.clips[0].category, manifest.clips[0].label) == ("joy", None)


MELD_HEAD = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode\n"


@pytest.fixture
def meld(tmp_path: Path) -> Path:
    """The published layout, test media one folder deeper, as its archive unpacks."""
    folder = tmp_path / "MELD.Raw"
    (folder / "train_splits").mkdir(parents=True)
    (folder / "test/output_repeated_splits_test").mkdir(parents=True)
    rows = {
        # the release has Windows quotes as control characters
        "train": '1,"It\x92s fine, really",Ross,joy,positive,0,0,8,21\n'
        "2,No,Ross Geller,Anger,negative,0,1,8,21\n3,So?,Joey,neutral,neutral,0,10,8,21\n"
        "4,Hm,Joey,neutral,neutral,0,9,8,21\n",
        "dev": "1,Oh,Monica,surprise,positive,0,0,2,1\n",
        "test": "1,Oh,Monica,fear,negative,0,0,2,1\n",
    }
    for split, text in rows.items():
        (folder / f"{split}_sent_emo.csv").write_text(MELD_HEAD + text, encoding="utf-8")
    return folder


def test_meld_is_read_as_published(meld: Path) -> None:
    manifest = load_manifest(CorpusConfig(kind="meld", path=meld))
    assert manifest.sizes == {"train": 4, "valid": 1, "test": 1}
    first, second, *_ = manifest.clips
    assert first.text == "It\u2019s fine, really"
    assert (second.id, second.speaker, second.category) == (
        "train_dia0$_$1",
        "Ross Geller",
        "anger",
    )
    assert first.media == "train_splits/dia0_utt0.mp4"
    late = next(c for c in manifest.clips if c.clip_id == "10")
    assert [id_.split("$_$")[1] for id_ in late.context] == ["0", "1", "9"]
    places = [str(c.media) for c in manifest.clips[-2:]]
    assert places == [
        "dev_splits_complete/dia0_utt0.mp4",
        "test/output_repeated_splits_test/dia0_utt0.mp4",
    ]
    assert len({c.video_id for c in manifest.clips}) == 3  # dialogue 0 of three splits
    sentiment = load_manifest(CorpusConfig(kind="meld", path=meld, label="sentiment"))
    assert [c.category for c in sentiment.clips][:3] == ["positive", "negative", "neutral"]


def test_meld_in_windows_letters_and_with_faults(meld: Path) -> None:
    table = meld / "dev_sent_emo.csv"
    table.write_bytes((MELD_HEAD + "1,It\u2019s,Monica,joy,positive,0,0,2,1\n").encode("cp1252"))
    manifest = load_manifest(CorpusConfig(kind="meld", path=meld))
    assert manifest.split("valid")[0].text == "It\u2019s"
    table.write_text(MELD_HEAD + "1,Oh,Monica,angry,positive,0,0,2,1\n")
    with (meld / "test_sent_emo.csv").open("a") as file:
        file.write("2,Oh,Monica,fear,negative,0,0,2,1\n")
    with pytest.raises(ManifestError) as found:
        load_manifest(CorpusConfig(kind="meld", path=meld))
    faults = str(found.value).splitlines()
    assert len(faults) == 2
    assert faults[0].startswith(f"{table}: line 2: Emotion is 'angry', not one of neutral")
    assert faults[0].endswith('Did you mean "anger"?')
    assert "test_sent_emo.csv: line 3: test_dia0$_$0 stands already in line 2." in faults[1]
    (meld / "train_sent_emo.csv").unlink()
    with pytest.raises(ManifestError, match=r"no train_sent_emo\.csv in this folder"):
        load_manifest(CorpusConfig(kind="meld", path=meld))


def mustard_entries(count: int) -> dict[str, Any]:
    shows = ("BBT", "FRIENDS", "GOLDENGIRLS")
    return {
        f"{1 + n % 2}_{n}": {
            "utterance": f"It's number {n}.",
            "speaker": "SHELDON",
            "context": ["What is it?", f"I ask for {n}."],
            "context_speakers": ["LEONARD", "PENNY"],
            "show": shows[n % 3],
            "sarcasm": n % 2 == 0,
        }
        for n in range(count)
    }


def test_mustard_is_read_and_split_by_a_rule(tmp_path: Path) -> None:
    folder = tmp_path / "MUStARD"
    (folder / "data").mkdir(parents=True)
    (folder / "mmsd_raw_data/utterances_final").mkdir(parents=True)
    path = folder / "data/sarcasm_data.json"
    path.write_text(json.dumps(mustard_entries(690)))
    manifest = load_manifest(CorpusConfig(kind="mustard", path=folder))
    assert manifest.sizes == {"train": 550, "valid": 70, "test": 70}
    for split in ("train", "valid", "test"):
        classes = [c.category for c in manifest.split(split)]
        assert classes.count("sarcastic") == classes.count("sincere")
    clip = manifest.clips[1]
    assert (clip.id, clip.category, clip.speaker) == ("2_1$_$0", "sincere", "SHELDON")
    assert clip.context_text == ("What is it?", "I ask for 1.")
    assert clip.media == "mmsd_raw_data/utterances_final/2_1.mp4"
    # a clip stays in its split whatever the order of the file
    path.write_text(json.dumps(dict(reversed(mustard_entries(690).items()))))
    again = load_manifest(CorpusConfig(kind="mustard", path=folder))
    assert {c.id: c.split for c in again.clips} == {c.id: c.split for c in manifest.clips}
    path.write_text(json.dumps(mustard_entries(675)))
    sizes = load_manifest(CorpusConfig(kind="mustard", path=folder)).sizes
    assert sizes == {"train": 539, "valid": 68, "test": 68}  # as the GLoMo paper
    apart = load_manifest(CorpusConfig(kind="mustard", path=folder, speakers="apart"))
    tested = {c.id for c in apart.split("test")}
    assert tested == {f"{k}$_$0" for k, e in mustard_entries(675).items() if e["show"] == "FRIENDS"}
    assert apart.sizes["valid"] == 45
    round_trip = tmp_path / "manifest.jsonl"
    write_manifest(round_trip, manifest)
    assert read_manifest(round_trip) == manifest


def test_faults_of_a_mustard_file_are_named(tmp_path: Path) -> None:
    path = tmp_path / "sarcasm_data.json"
    path.write_text('{"1_1": {"sarcasm": 3}, "1_2": 5}')
    with pytest.raises(ManifestError) as found:
        load_manifest(CorpusConfig(kind="mustard", path=tmp_path))
    assert [f.removeprefix(f"{path}: ") for f in str(found.value).splitlines()] == [
        "clip 1_1: has no text `utterance`.",
        "clip 1_1: sarcasm is 3, not true or false.",
        "clip 1_2: is no object.",
    ]
    path.write_text("{")
    with pytest.raises(ManifestError, match="not valid JSON"):
        load_manifest(CorpusConfig(kind="mustard", path=tmp_path))


def urfunny(folder: Path, protocol: int = 2) -> Path:
    (folder / "urfunny2_videos").mkdir(parents=True)
    words = {
        7: {
            "punchline_sentence": "and it was a duck",
            "context_sentences": ["I saw a bird", "it was big"],
            "punchline_embedding_indexes": np.arange(5),
            "punchline_intervals": [(0.0, 0.5)],
        },
        8: {"punchline_sentence": ["so", "we", "left"], "context_sentences": [["it", "rained"]]},
        9: {"punchline_sentence": "the end", "context_sentences": []},
    }
    files = {
        "language_sdk": words,
        "humor_label_sdk": {7: 1, 8: np.int64(0), 9: 0},
        "data_folds": {"train": [7], "dev": [8], "test": ["9"]},
    }
    for name, value in files.items():
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(value, protocol))
    return folder


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_urfunny_is_read_from_its_pickles(tmp_path: Path, protocol: int) -> None:
    folder = urfunny(tmp_path / "UR-FUNNY", protocol)
    manifest = load_manifest(CorpusConfig(kind="urfunny", path=folder))
    assert [(c.id, c.split, c.category, c.text) for c in manifest.clips] == [
        ("7$_$0", "train", "humor", "and it was a duck"),
        ("8$_$0", "valid", "none", "so we left"),
        ("9$_$0", "test", "none", "the end"),
    ]
    assert manifest.clips[0].context_text == ("I saw a bird", "it was big")
    assert manifest.clips[1].context_text == ("it rained",)
    assert manifest.clips[2].media == "urfunny2_videos/9.mp4"


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("exploded",))


def test_a_pickle_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = urfunny(tmp_path / "UR-FUNNY")
    (folder / "humor_label_sdk.pkl").write_bytes(pickle.dumps({7: Bomb()}))
    with pytest.raises(PickleRefusedError, match=r"plain data: it asks for posix.mkdir"):
        load_manifest(CorpusConfig(kind="urfunny", path=folder))
    assert not (tmp_path / "exploded").exists()
    for name in ("builtins\neval", "os\nsystem", "builtins\ngetattr", "numpy\nload", "copyreg\nx"):
        (tmp_path / "p").write_bytes(f"c{name}\n.".encode())
        with pytest.raises(PickleRefusedError, match="it asks for"):
            load_plain(tmp_path / "p")
    (tmp_path / "p").write_bytes(pickle.dumps({"a": [1] * 9})[:-4])
    with pytest.raises(PickleRefusedError, match=r"plain data|damaged"):
        load_plain(tmp_path / "p")
    with pytest.raises(PickleRefusedError, match="no such file"):
        load_plain(tmp_path / "none")


def test_what_a_plain_pickle_may_hold(tmp_path: Path) -> None:
    from collections import OrderedDict

    value = {
        "plain": [1, 2.5, "x", b"\xff\x00", None, True, (1, {2, 3}), frozenset("a"), 1 + 2j],
        "ordered": OrderedDict(a=1),
        "arrays": [np.arange(6).reshape(2, 3), np.float32(1.5), np.array(["a", "bc"])],
    }
    for protocol in range(6):
        (tmp_path / "p").write_bytes(pickle.dumps(value, protocol))
        found = load_plain(tmp_path / "p")
        assert found["plain"] == value["plain"]
        assert found["ordered"] == value["ordered"]
        for ours, theirs in zip(found["arrays"], value["arrays"], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    (tmp_path / "p").write_bytes(b"(dp0\nS'caf\\xe9'\np1\nI1\ns.")  # Python 2, Latin-1
    assert load_plain(tmp_path / "p") == {"caf\xe9": 1}


def test_faults_of_urfunny_are_named(tmp_path: Path) -> None:
    folder = urfunny(tmp_path / "UR-FUNNY")
    folds = folder / "data_folds.pkl"
    folds.write_bytes(pickle.dumps({"train": [7, 10], "extra": [8], "dev": [9]}))
    (folder / "humor_label_sdk.pkl").write_bytes(pickle.dumps({7: 1, 9: "yes"}))
    with pytest.raises(ManifestError) as found:
        load_manifest(CorpusConfig(kind="urfunny", path=folder))
    assert [f.removeprefix(f"{folds}: ") for f in str(found.value).splitlines()] == [
        "segment 10: has no punchline_sentence in language_sdk.pkl.",
        "fold 'extra': is not train, dev or test.",
        "segment 9: its label in humor_label_sdk.pkl is 'yes', not 0 or 1.",
    ]


def test_cherma_takes_a_label_file_a_split(tmp_path: Path) -> None:
    folder = tmp_path / "CHERMA"
    (folder / "videos/train").mkdir(parents=True)
    (folder / "videos/train/c1.mp4").touch()
    (folder / "train.csv").write_text(
        "id,text,label\nc1.mp4,\u6211\u5f88\u597d,Happy\nc2,\u4e0d,sad\n", encoding="utf-8-sig"
    )
    (folder / "dev.json").write_text(
        json.dumps([{"name": "c3", "transcript": "\u55ef", "emotion": "anger", "frames": 3}])
    )
    (folder / "test.json").write_text(json.dumps({"c4": {"text": None, "label": "fear"}}))
    manifest = load_manifest(CorpusConfig(kind="cherma", path=folder))
    assert [(c.video_id, c.split, c.category, c.text, c.media) for c in manifest.clips] == [
        ("c1", "train", "happy", "\u6211\u5f88\u597d", "videos/train/c1.mp4"),
        ("c2", "train", "sad", "\u4e0d", "videos/c2.mp4"),
        ("c3", "valid", "anger", "\u55ef", "videos/c3.mp4"),
        ("c4", "test", "fear", "", "videos/c4.mp4"),
    ]
    (folder / "test.json").write_text('["x", {"id": "c5", "label": "happiness"}]')
    with pytest.raises(ManifestError) as found:
        load_manifest(CorpusConfig(kind="cherma", path=folder))
    assert "entry 1: is no object" in str(found.value)
    assert "entry 2: label is 'happiness', not one of" in str(found.value)
    (folder / "test.json").unlink()
    with pytest.raises(ManifestError, match=r"no label file of the split test \(test\.csv"):
        load_manifest(CorpusConfig(kind="cherma", path=folder))


def corpus_of(name: str, sizes: tuple[int, int, int]) -> Manifest:
    clips = [
        Clip(f"{split}{n}", "v", str(n), split)
        for split, count in zip(SPLITS, sizes, strict=True)
        for n in range(count)
    ]
    return Manifest(name, Path(), tuple(clips))


def test_sizes_that_differ_from_the_published_ones_are_named() -> None:
    assert known_sizes(corpus_of("mosi", (1284, 229, 686))) == ()
    assert known_sizes(corpus_of("CMU-MOSI", (1281, 229, 685))) == ()  # another published count
    assert known_sizes(corpus_of("my-mosi", (1283, 229, 686))) == (
        "CMU-MOSI: train has 1283 clips here, 1284 in label.csv; 1281 / 229 / 685 in the GLoMo "
        "paper.",
    )
    assert known_sizes(corpus_of("CH-SIMS-v2", (2722, 647, 1034))) == ()
    assert known_sizes(corpus_of("sims", (1368, 456, 450))) == (
        "CH-SIMS: test has 450 clips here, 457 in label.csv.",
    )
    assert known_sizes(corpus_of("cherma", (6, 2, 2))) == (
        "CHERMA has 10 clips here, 28717 as published.",
    )
    # a name that says nothing: known by its size, within a hundredth
    (note,) = known_sizes(corpus_of("data", (9988, 1109, 2610)))
    assert note.startswith("MELD: train has 9988")
    assert known_sizes(corpus_of("data", (160, 40, 40))) == ()
