"""`init --videos` and `transcribe`: raw videos to a table, its empty texts filled by Whisper."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import sedimental
from sedimental.cli import app
from sedimental.config import ExtractConfig, load_config
from sedimental.errors import ManifestError
from sedimental.extract.corpora.csv_table import load
from sedimental.extract.corpora.reading.word_times import read_cell
from sedimental.extract.encoders.device import ComputeDevice
from sedimental.extract.encoders.loading import EncoderError
from sedimental.extract.new_clips import read_table
from sedimental.extract.transcribe.recogniser import Recogniser
from sedimental.extract.transcribe.run import pieces, transcribe
from sedimental.extract.transcribe.sheet import Sheet
from sedimental.extract.transcribe.windows import windows
from sedimental.progress import Silent

DEMO = Path(sedimental.__path__[0]) / "extract/corpora/demo/Raw/demo_01a"
SPECIAL = ("<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|transcribe|>")


def whisper(folder: Path, many: bool = False, timed: bool = True) -> Path:
    """A tiny random Whisper with letters for tokens and windows of 2 seconds, as saved."""
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    book = tokenizers.Tokenizer(tokenizers.models.BPE({c: k for k, c in enumerate(letters)}, []))
    book.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    book.decoder = tokenizers.decoders.ByteLevel()
    book.add_special_tokens(
        [tokenizers.AddedToken(name, special=True) for name in (*SPECIAL, "<|notimestamps|>")]
    )
    folder.mkdir(parents=True)
    book.save(str(folder / "tokenizer.json"))
    kind: Any = transformers
    end = "<|endoftext|>"
    names = {"bos_token": end, "eos_token": end, "pad_token": end, "unk_token": end}
    tokenizer = kind.WhisperTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **names)
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in (*SPECIAL, "<|notimestamps|>")}
    shared = {"bos_token_id": ids[end], "eos_token_id": ids[end], "pad_token_id": ids[end]}
    shared["decoder_start_token_id"] = ids["<|startoftranscript|>"]
    torch.manual_seed(1)
    model = transformers.WhisperForConditionalGeneration(
        transformers.WhisperConfig(
            vocab_size=len(tokenizer) + 101,  # and the time stamps
            d_model=16,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=16,
            decoder_ffn_dim=16,
            max_source_positions=100,
            max_target_positions=32,
            **shared,
        )
    )
    languages = {"lang_to_id": {n: ids[n] for n in ("<|en|>", "<|de|>")}} if many else {}
    tasks = {"task_to_id": {"transcribe": ids["<|transcribe|>"]}} if many else {}
    heads = {"alignment_heads": [[0, 0], [0, 1]]} if timed else {}
    model.generation_config = transformers.GenerationConfig(
        max_length=16,
        is_multilingual=many,
        no_timestamps_token_id=ids["<|notimestamps|>"],
        suppress_tokens=[ids[name] for name in SPECIAL[1:]],
        **shared,
        **languages,
        **tasks,
        **heads,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    transformers.WhisperFeatureExtractor(chunk_length=2).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whisper(tmp_path_factory.mktemp("whisper") / "tiny.en")


def recogniser(folder: Path, language: str | None = None) -> Recogniser:
    return Recogniser(str(folder), None, language, ComputeDevice.of(ExtractConfig(device="cpu")))


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """A folder of four clips in two folders, one of them broken, and a file that is none."""
    folder = tmp_path / "my clips"
    (folder / "more").mkdir(parents=True)
    for number, name in enumerate(("b.mp4", "a.mp4", "more/a.MP4"), start=1):
        shutil.copy(DEMO / f"000{number}.mp4", folder / name)
    (folder / "broken.mkv").write_bytes(b"no video at all")
    (folder / "notes.txt").write_text("not a video")
    (folder / "a.wav").write_bytes(b"")
    return folder


def test_a_folder_of_videos_becomes_a_table_and_a_pipeline(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    done = runner.invoke(app, ["init", "--videos", "my clips"])
    assert done.exit_code == 0, done.output
    table = tmp_path / "my clips.csv"
    manifest = load("x", table)
    assert [clip.id for clip in manifest.clips] == ["a.mp4", "a.wav", "b", "broken", "more/a"]
    assert all((tmp_path / str(clip.media)).is_file() for clip in manifest.clips)
    assert all(clip.label is None and clip.split == "test" for clip in manifest.clips)
    assert load_config(tmp_path / "pipeline.toml").corpus.path == table
    again = runner.invoke(app, ["init", "--videos", "my clips"])
    assert again.exit_code == 2
    assert "is there already" in again.output
    (tmp_path / "empty").mkdir()
    none = runner.invoke(app, ["init", "--videos", "empty", "p.toml"])
    assert "no video or sound in it" in none.output
    assert not (tmp_path / "p.toml").exists()


def test_empty_texts_are_filled_and_all_else_stays(
    videos: Path, tiny: Path, tmp_path: Path
) -> None:
    table = tmp_path / "t.csv"
    table.write_text(
        "\ufeffName;media;Transcript;note\n"
        'one;my clips/b.mp4;"said; by\nme";x\n\ntwo;my clips/a.mp4;;"y ""q"""\n'
        "bad;my clips/broken.mkv; ;z\n",
        encoding="utf-8",
    )
    command = ["transcribe", "--model", str(tiny), "--table", str(table), "--device", "cpu"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 3, done.output
    assert "1 of 2 clips could not be listened to" in done.output
    assert "bad  not transcribed: " in done.output
    data = table.read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    sheet = Sheet.read(table)
    assert sheet.head == ["Name", "media", "Transcript", "note", "text_source", "word_times"]
    first, second, third = (cells for _, cells in sheet.lines)
    assert first == ["one", "my clips/b.mp4", "said; by\nme", "x", "", ""]
    assert second[:2] + second[3:5] == ["two", "my clips/a.mp4", 'y "q"', "machine"]
    assert second[2]
    assert third[4:] == ["", ""]
    words = read_cell(second[5])
    assert all(0 <= float(w.start or 0) <= float(w.end or 0) <= 3.3 for w in words)
    assert [w for w in words if w.text]
    quiet = CliRunner().invoke(app, [*command, "--json"])
    told = json.loads(quiet.stdout)
    assert (told["done"], told["human"], told["before"]) == (0, 1, 1)
    assert table.read_bytes() == data  # nothing but the broken clip was tried
    anew = CliRunner().invoke(app, [*command, "--json", "--again", "machine"])
    assert json.loads(anew.stdout)["done"] == 1
    assert Sheet.read(table).lines[0][1][2] == "said; by\nme"
    assert CliRunner().invoke(app, [*command, "--again", "all"]).exit_code == 3
    assert Sheet.read(table).lines[0][1][4] == "machine"


class Stopping(Silent):
    """Presses Ctrl-C when so many clips are done."""

    def __init__(self, after: int) -> None:
        self.left, self.total = after, 0

    def start(self, task: str, total: int, unit: str = "clip") -> None:
        self.total = total

    def advance(self, task: str, by: int = 1) -> None:
        self.left -= by
        if self.left < 0:
            raise KeyboardInterrupt


def test_what_was_heard_before_a_stop_is_kept_and_not_heard_again(
    videos: Path, tiny: Path, tmp_path: Path
) -> None:
    table = tmp_path / "t.csv"
    rows = [f"{k},my clips/{name}" for k, name in enumerate(("b.mp4", "a.mp4", "more/a.MP4"))]
    table.write_text("id,media\n" + "\n".join(rows) + "\n")
    ear, sheet = recogniser(tiny), Sheet.read(table)
    with pytest.raises(KeyboardInterrupt):
        transcribe(sheet, pieces(sheet, "none"), ear, 1, Stopping(2))
    kept = Sheet.read(table)
    assert [cells[3] for _, cells in kept.lines] == ["machine", "machine", ""]
    rest = Stopping(9)
    found = transcribe(kept, pieces(kept, "none"), ear, 1, rest)
    assert (rest.total, found.done, found.before) == (1, 1, 2)
    whole = Sheet.read(table)
    assert all(cells[3] == "machine" for _, cells in whole.lines)
    # in one go it is the same
    table.write_text("id,media\n" + "\n".join(rows) + "\n")
    at_once = Sheet.read(table)
    transcribe(at_once, pieces(at_once, "none"), ear, 8, Silent())
    assert [cells[2] for _, cells in at_once.lines] == [cells[2] for _, cells in whole.lines]
    clips = read_table(table, ("text", "audio"))
    assert [clip.text for clip in clips] == [cells[2].strip() for _, cells in whole.lines]


def test_a_table_that_somebody_else_changed_is_left_alone(
    videos: Path, tiny: Path, tmp_path: Path
) -> None:
    table = tmp_path / "t.csv"
    table.write_text("id,media\n1,my clips/b.mp4\n")
    sheet = Sheet.read(table)
    table.write_text("id,media\n1,my clips/b.mp4\n2,my clips/a.mp4\n")
    with pytest.raises(ManifestError, match="was changed by somebody else meanwhile"):
        transcribe(sheet, pieces(sheet, "none"), recogniser(tiny), 1, Silent())
    assert table.read_text().count("\n") == 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id,text\n1,\n", "no column 'media'"),
        ("id,media\n1\n", "line 2: 1 cells where the head line has 2"),
        ("id,media,start\n1,,\n2,a.mp4,soon\n", "line 2: media is empty.*line 3: start is 'soon'"),
        ("", "no column 'media'"),
    ],
)
def test_a_table_that_is_wrong_is_told_with_every_line(
    tmp_path: Path, text: str, told: str
) -> None:
    table = tmp_path / "t.csv"
    table.write_text(text)
    with pytest.raises(ManifestError, match=f"(?s){told}"):
        pieces(Sheet.read(table), "none")


def test_long_sound_is_heard_in_windows_and_times_go_on(tiny: Path) -> None:
    ear = recogniser(tiny)
    assert ear.longest == 2.0
    sound = np.random.default_rng(0).normal(0, 0.1, 5 * 16_000).astype("f4")
    cut = windows(sound, 16_000, 2.0)[0][1]
    [heard], [first] = ear.hear([sound], 2), ear.hear([sound[:cut]], 2)
    assert heard.text.startswith(first.text)
    assert len(heard.text) > len(first.text)
    starts = [float(w.start or 0) for w in heard.words]
    assert starts == sorted(starts)
    assert max(starts) <= 5.0
    assert max(float(w.end or 0) for w in heard.words) > 2.0
    silent = ear.hear([np.ones(1_000, np.float32)], 2)
    assert silent[0].text == ""


def test_tokens_become_words_at_their_spaces_with_their_moments(tiny: Path) -> None:
    ear = recogniser(tiny)
    end = ear.tokenizer.convert_tokens_to_ids("<|endoftext|>")
    ids = [*ear.tokenizer(" so what.", add_special_tokens=False)["input_ids"], end]
    ends = [0.1 * (k + 1) for k in range(len(ids))]  # of " ", "s", "o", " ", …, "t", "."
    words = [(w.text, w.start, w.end) for w in ear._words(ids, ends, 0.75)]
    assert words == [("so", 0.0, 0.3), ("what.", 0.3, 0.75)]  # of 0.8 seconds
    late = [(w.text, w.start) for w in ear._words(ids, [5 + e for e in ends], 9.0)]
    assert late == [("so", 4.3), ("what.", 5.3)]  # not with the silence before it
    han = ear.tokenizer("\u559c\u6b22", add_special_tokens=False)["input_ids"]  # 3 bytes each
    words = [(w.text, w.start, w.end) for w in ear._words([*han, end], ends, 9.0)]
    assert words == [("\u559c", 0.0, 0.3), ("\u6b22", 0.3, 0.6)]


def test_a_model_that_cannot_do_it_is_refused(
    tiny: Path, folders: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(EncoderError, match="model type is 'bert', not 'whisper'"):
        recogniser(folders["bert"])
    with pytest.raises(EncoderError, match="knows English alone"):
        recogniser(tiny, "de")
    assert recogniser(tiny, "English").settings == {}
    many = whisper(tmp_path / "many", many=True, timed=False)
    with pytest.raises(EncoderError, match="does not know it"):
        recogniser(many, "fr")
    ear = recogniser(many, "german")
    assert not ear.timed
    [heard] = ear.hear([np.random.default_rng(0).normal(0, 0.1, 16_000).astype("f4")], 1)
    assert heard.words == ()
    assert heard.text


@settings(max_examples=60)
@given(st.integers(0, 2000), st.floats(2.0, 9.0), st.integers(0, 9))
def test_windows_cover_the_sound_and_none_is_too_long(
    count: int, longest: float, seed: int
) -> None:
    sound = np.random.default_rng(seed).normal(size=count).astype("f4")
    found = windows(sound, 50, longest)
    assert [a for a, _ in found] == [0, *(b for _, b in found[:-1])] if count else found == []
    assert not count or found[-1][1] == count
    assert all(0 < b - a <= int(longest * 50) for a, b in found)
