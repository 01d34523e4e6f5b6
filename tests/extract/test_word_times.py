"""Word times: from tables and files, by forced alignment, and models that read a row a word."""

import csv
import json
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import transformers

import sedimental
from sedimental.cache.alignment.word_times import read_words
from sedimental.cache.manifest import Clip, read_manifest
from sedimental.cache.store.find import store_of
from sedimental.checks import news
from sedimental.config import Config, ConfigError, load_config
from sedimental.errors import ManifestError, RunError
from sedimental.extract.corpora.reading.word_times import read_cell
from sedimental.extract.encoders.loading import EncoderError
from sedimental.extract.encoders.made_tokenizers import made_tokenizer
from sedimental.extract.finetune.find import live_input
from sedimental.extract.new_clip import NewClip
from sedimental.extract.word_times.aligner import Aligner
from sedimental.extract.word_times.files import WordFiles
from sedimental.extract.word_times.letters import ids_of, word_frames
from sedimental.extract.word_times.textgrid import read_textgrid
from sedimental.extract.word_times.webvtt import read_webvtt
from sedimental.train.data.inputs import find_inputs

CLIP = Clip("v$_$1", "v", "1", "train", "so what", "v.mp4", 10.0, 12.0)


def triples(words: Any) -> list[tuple[str, Any, Any]]:
    return [(w.text, w.start, w.end) for w in words]


LONG = '''File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 2
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 2
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 2
            text = "s"
    item [2]:
        class = "IntervalTier"
        name = "Words"
        xmin = 0
        xmax = 2
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = "so ""so"""
        intervals [2]:
            xmin = 0.5
            xmax = 1
            text = ""
        intervals [3]:
            xmin = 1
            xmax = 2
            text = "what"
'''
SHORT = (
    'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n2\n<exists>\n2\n'
    '"TextTier"\n"taps"\n0\n2\n1\n0.5\n"tap"\n"IntervalTier"\n"Words"\n0\n2\n3\n0\n0.5\n'
    '"so ""so"""\n0.5\n1\n""\n1\n2\n"what"\n'
)


@pytest.mark.parametrize("text", [LONG, SHORT])
def test_textgrid_long_and_short(text: str) -> None:
    found = [t for t in triples(read_textgrid(text, "f")) if t[0]]
    assert found == [('so "so"', 0.0, 0.5), ("what", 1.0, 2.0)]


@pytest.mark.parametrize("text", ["", "hello", LONG[:-20], SHORT[:-12]])
def test_a_textgrid_that_is_none_is_told(text: str) -> None:
    with pytest.raises(ManifestError, match=r"^f: "):
        read_textgrid(text, "f")


def test_webvtt_with_stamps_and_with_a_word_a_cue() -> None:
    rolling = (
        "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\n \nwell<00:00:00.500><c> I</c>"
        "<00:00:01.000><c> see</c>\n\n00:02.000 --> 00:02.010\nwell I see\n"
    )
    assert triples(read_webvtt(rolling)) == [("well", 0, 0.5), ("I", 0.5, 1.0), ("see", 1.0, 2.0)]
    single = "WEBVTT\n\n00:01.000 --> 00:01.400\nso\n\n00:02.000 --> 00:03.000\nwhat then\n"
    assert triples(read_webvtt(single)) == [
        ("so", 1.0, 1.4),
        ("what", None, None),
        ("then", None, None),
    ]


def test_a_cell_is_json_or_words_with_colons() -> None:
    assert triples(read_cell('[["a:b", 0.5, 1], ["c", null, null]]')) == [
        ("a:b", 0.5, 1.0),
        ("c", None, None),
    ]
    assert triples(read_cell("a:b:0.5:1 c::")) == [("a:b", 0.5, 1.0), ("c", None, None)]
    assert read_cell("") == ()
    for wrong in ("[1]", "[[", "so:1", "so:1:x", "so:2:1", "so:-1:1", "so:1:", '[["a", 0, true]]'):
        with pytest.raises(ValueError, match=r"is no JSON|has "):
            read_cell(wrong)
    with pytest.raises(ValueError, match="no number of seconds"):
        read_cell('[["a", 0, 1e999]]')


def test_files_are_found_by_the_names_of_clip_file_and_video(tmp_path: Path) -> None:
    (tmp_path / "all.ctm").write_text(
        ";; by hand\nv A 10.5 0.5 so 0.9\nv A 11 0.5 what\nv A 13 1 x\n"
    )
    other = Clip("w$_$1", "w", "1", "train", "so what", "media/w.mp4")
    (tmp_path / "media").mkdir()
    (tmp_path / "media/w.TextGrid").write_text(LONG)
    with ExitStack() as stack:
        files = WordFiles.below(tmp_path, stack)
        # of the whole video: cut, and counted from the cut
        assert triples(files.of(CLIP)) == [("so", 0.5, 1.0), ("what", 1.0, 1.5)]
        assert [w.text for w in files.of(other) or () if w.text] == ['so "so"', "what"]
        assert files.of(Clip("z", "z", "", "train")) is None
    (tmp_path / "all.ctm").write_text("v A ten 1 so\n")
    with pytest.raises(ManifestError, match="line 1: not `recording"), ExitStack() as stack:
        WordFiles.below(tmp_path, stack)
    with pytest.raises(ManifestError, match="no such folder"), ExitStack() as stack:
        WordFiles.below(tmp_path / "none", stack)


def test_words_of_a_computational_sequence(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "words.csd", "w") as file:
        file["words/data/v/features"] = np.array([[b"sp"], [b"so"], [b"what"]])
        file["words/data/v/intervals"] = np.array([[0, 10], [10.2, 10.4], [10.4, 11.0]])
    with ExitStack() as stack:
        files = WordFiles.below(tmp_path, stack)
        found = triples(files.of(CLIP))
    assert [w for w, _, _ in found] == ["so", "what"]
    np.testing.assert_allclose([t for _, *t in found], [[0.2, 0.4], [0.4, 1.0]])


def test_the_path_of_a_known_emission_is_found() -> None:
    """ "ab b": frames say - a - b b - | b -, where the b of the second word is a repeat."""
    a, b, bar = 1, 2, 3
    said = [0, a, 0, b, b, 0, bar, b, 0]
    emission = torch.full((len(said), 4), 0.01)
    emission[range(len(said)), said] = 0.97
    found = word_frames(emission.log(), [[a, b], [], [b]], 0, bar)
    assert found == [(1, 5), None, (7, 8)]
    # without a letter between words a blank has to part the two b's
    said = [0, a, b, b, 0, b, 0]
    emission = torch.full((len(said), 4), 0.01)
    emission[range(len(said)), said] = 0.97
    assert word_frames(emission.log(), [[a, b], [b]], 0, None) == [(1, 4), (5, 6)]
    with pytest.raises(ValueError, match="more words than sound"):
        word_frames(emission.log(), [[a, b]] * 9, 0, bar)
    assert word_frames(emission.log(), [[], []], 0, bar) == [None, None]


def test_letters_are_those_the_encoder_knows() -> None:
    upper = {c: k for k, c in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZ'")}
    assert ids_of("Don\u2019t,", upper) == [upper[c] for c in "DON'T"]
    assert ids_of("1984", upper) == []


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random CTC encoder with an alphabet, as `save_pretrained` leaves it."""
    folder = tmp_path_factory.mktemp("ctc")
    alphabet = ["<pad>", "<s>", "</s>", "<unk>", "|", "'", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
    (folder / "vocab.json").write_text(json.dumps({c: k for k, c in enumerate(alphabet)}))
    transformers.Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(
        vocab_size=len(alphabet),
        pad_token_id=0,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=12,
        num_conv_pos_embedding_groups=4,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        conv_bias=True,
    )
    transformers.Wav2Vec2ForCTC(config).save_pretrained(folder)
    return folder


def aligner_of(folder: Path) -> Aligner:
    from sedimental.config import ExtractConfig
    from sedimental.extract.encoders.device import ComputeDevice

    return Aligner(str(folder), None, ComputeDevice.of(ExtractConfig(device="cpu")))


def test_words_of_an_alignment_lie_in_the_sound_in_order(letters: Path) -> None:
    aligner = aligner_of(letters)
    sound = np.random.default_rng(0).normal(0, 0.1, 32_000).astype("f4")
    words = aligner.align("Well, 7 it's so", sound)
    assert [w.text for w in words] == ["Well,", "7", "it's", "so"]
    assert words[1].start is None
    edges = [t for w in words if w.start is not None for t in (w.start, w.end)]
    assert edges == sorted(edges)  # type: ignore[type-var]
    assert edges[0] >= 0  # type: ignore[operator]
    assert edges[-1] <= 2.0  # type: ignore[operator]


def test_long_sound_is_heard_in_windows_that_fit_together(
    letters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aligner = aligner_of(letters)
    sound = np.random.default_rng(0).normal(0, 0.1, 50_000).astype("f4")
    whole = aligner.emission(sound)
    assert len(whole) == (50_000 - 400) // 320 + 1
    monkeypatch.setattr("sedimental.extract.word_times.aligner.WINDOW", 1.0)
    monkeypatch.setattr("sedimental.extract.word_times.aligner.MARGIN", 0.5)
    parts = aligner.emission(sound)
    assert parts.shape == whole.shape
    torch.testing.assert_close(parts.exp().sum(-1), torch.ones(len(whole)))


def test_an_encoder_without_letters_and_a_missing_torchaudio_are_refused(
    letters: Path, folders: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EncoderError, match=r"words.aligner .*CTC encoder|trained to write letters"):
        aligner_of(folders["wavlm"])
    monkeypatch.setitem(sys.modules, "torchaudio.functional", None)
    with pytest.raises(EncoderError, match="needs torchaudio, which does not load here"):
        aligner_of(letters)


MakeTable = Callable[..., Config]


@pytest.fixture
def table(tmp_path: Path, demo_rows: list[dict[str, str]]) -> MakeTable:
    """A csv corpus of the first clips of the demo, with a word a third of a second."""
    demo = Path(sedimental.__path__[0]) / "extract/corpora/demo/Raw"

    def make(more: str, times: bool = True, features: str = "", count: int = 8) -> Config:
        with (tmp_path / "clips.csv").open("w", newline="", encoding="utf-8") as file:
            out = csv.writer(file)
            out.writerow(["id", "split", "label", "text", "media", "word_times"])
            for k, row in enumerate(demo_rows[:count]):
                words = row["text"].split()
                cell = json.dumps([[w, n / 3, (n + 1) / 3] for n, w in enumerate(words)])
                media = demo / row["video_id"] / f"{row['clip_id']}.mp4"
                split = ("train", "train", "valid", "test")[k % 4]
                own = [f"{row['video_id']}$_${row['clip_id']}", split, row["label"], row["text"]]
                out.writerow([*own, media, cell if times else ""])
        tables = features or "".join(
            f'[[features]]\nmodality = "{m}"\nencoder = "{e}"\n'
            for m, e in (("text", "tiny-bert"), ("audio", "tiny-wavlm"), ("vision", "tiny-clip"))
        )
        file_ = tmp_path / "pipeline.toml"
        file_.write_text(
            f'[corpus]\nkind = "csv"\npath = "clips.csv"\n[cache]\ndtype = "float32"\n'
            f"{tables}{more}",
            encoding="utf-8",
        )
        return load_config(file_)

    return make


ALIGNED = """[train]
models = ["ef_lstm"]
seeds = [1]
epochs = 2
batch_size = 3
[train.inputs]
text = { encoder = "tiny-bert", align = "words" }
audio = { encoder = "tiny-wavlm", align = "words" }
vision = { encoder = "tiny-clip", align = "words", collapse = "max" }
[train.ef_lstm]
hidden = 8
"""


def test_a_model_is_trained_and_asked_word_by_word(table: MakeTable) -> None:
    config = table(ALIGNED)
    assert not sedimental.extract(config).failures
    words = read_words(config.corpus_cache)
    text, audio, vision = find_inputs(config)
    for one in (text, audio, vision):
        for clip, own in words.items():
            assert len(one.store.read([-1], [clip]).values[0]) == len(own.words)
    # the first word of the first clip: its tokens by hand
    clip = audio.store.clips[0]
    told = " ".join(w.text for w in words[clip].words)
    pieces = made_tokenizer(False, "latin").encode(told.split()[0], add_special_tokens=False)
    frames = store_of(config, "text", "tiny-bert").read([-1], [clip]).values[0]
    found = text.store.read([-1], [clip]).values[0, 0]
    np.testing.assert_allclose(found, frames[1 : 1 + len(pieces)].mean(axis=0), atol=1e-5)
    runs = sedimental.train(config)
    assert [i.align for i in runs[0].inputs] == ["words mean", "words mean", "words max"]
    rows = read_manifest(config.corpus_cache / "manifest.jsonl").split("test")
    row = rows[0]
    given = [(w.text, w.start, w.end) for w in words[row.id].words]
    new = NewClip(row.media, row.text, id=row.id, words=given)
    answered = sedimental.predict(str(next(config.experiment.glob("ef_lstm*"))), new)
    known = dict(zip(runs[0].predictions.ids, runs[0].predictions.values, strict=True))
    assert answered.clips[0].score is not None
    assert answered.clips[0].score.mean == pytest.approx(known[row.id], abs=1e-4)


def test_other_word_times_are_another_run(table: MakeTable, tmp_path: Path) -> None:
    config = table(ALIGNED)
    sedimental.extract(config)
    first = sedimental.train(config)[0].identity
    text = (tmp_path / "clips.csv").read_text()
    assert not list(news(config, False))
    (tmp_path / "clips.csv").write_text(text.replace("0.3333333333333333", "0.3"))
    assert "the word times of 8 clips" in " ".join(news(config, False))
    sedimental.extract(config)
    assert not list(news(config, False))
    second = sedimental.train(config)[0].identity
    assert first is not None
    assert second is not None
    assert first.digest != second.digest


def test_a_clip_without_times_is_told_where_times_are_asked_for(
    table: MakeTable, tmp_path: Path
) -> None:
    text = '[[features]]\nmodality = "text"\nencoder = "tiny-bert"\n'
    config = table("", features=text, count=4)
    file = tmp_path / "clips.csv"
    head, first, *rest = file.read_text().splitlines()
    bare = first[: first.index(',"[[')] + ","
    file.write_text("\n".join([head, bare, *rest]) + "\n")
    assert not sedimental.extract(config).failures
    assert len(read_words(config.corpus_cache)) == 3
    line = '[train.inputs]\ntext = { encoder = "tiny-bert", align = "words" }\n'
    aligned = table(line, features=text, count=4)
    file.write_text("\n".join([head, bare, *rest]) + "\n")
    [failure] = sedimental.extract(aligned).failures
    assert failure.reason == "no word times"


def test_without_times_it_is_said_before_anything_is_done(table: MakeTable) -> None:
    config = table(ALIGNED, times=False)
    with pytest.raises(ConfigError, match="needs to know when each word was said"):
        sedimental.extract(config)
    assert not config.corpus_cache.exists() or not list(config.corpus_cache.glob("text-*/part*"))


def test_an_alignment_is_computed_once_and_again_for_another_text(
    table: MakeTable, letters: Path, tmp_path: Path
) -> None:
    text = '[[features]]\nmodality = "text"\nencoder = "tiny-bert"\n'
    config = table(f'[words]\naligner = "{letters}"\n', False, text, count=3)
    assert not sedimental.extract(config, Counted()).failures
    words = read_words(config.corpus_cache)
    assert all(any(w.start is not None for w in own.words) for own in words.values())
    counted = Counted()
    sedimental.extract(config, counted)
    assert "words" not in counted.totals
    table_ = tmp_path / "clips.csv"
    lines = table_.read_text().splitlines()
    table_.write_text("\n".join([lines[0], lines[1].replace(" the ", " a "), *lines[2:]]) + "\n")
    changed = lines[1] != lines[1].replace(" the ", " a ")
    sedimental.extract(config, counted)
    assert counted.totals.get("words", 0) == int(changed)


class Counted:
    """Counts what is begun."""

    def __init__(self) -> None:
        self.totals: dict[str, int] = {}

    def start(self, task: str, total: int, unit: str = "clip") -> None:
        self.totals[task] = total

    def advance(self, task: str, by: int = 1) -> None: ...

    def note(self, message: str) -> None: ...


LIVE = """[train]
mode = "finetune"
models = ["{model}"]
seeds = [1]
epochs = 1
batch_size = 3
[train.inputs]
text = {{ encoder = "{bert}", live = true, align = "words" }}
audio = {{ encoder = "tiny-wavlm", align = "words" }}
"""


def test_mag_bert_shows_each_token_what_was_heard_during_its_word(
    table: MakeTable, folders: Mapping[str, Path]
) -> None:
    from sedimental.progress import Silent
    from sedimental.train.models.mag_gate import of_words
    from sedimental.train.session import TrainSession

    bert = folders["bert"]
    tables = (
        f'[[features]]\nmodality = "text"\nencoder = "{bert}"\n'
        '[[features]]\nmodality = "audio"\nencoder = "tiny-wavlm"\n'
    )
    config = table(LIVE.format(model="mag_bert", bert=bert), features=tables)
    assert not sedimental.extract(config).failures
    shop = TrainSession(config, Silent(), live_input)
    [plan] = shop.plans
    data = shop.open([plan]).select(plan.modalities)
    batch = data.batch(torch.arange(3))
    times = read_words(config.corpus_cache)
    own = batch.words["text"]
    assert own.shape == batch.masks["text"].shape
    for row, clip in zip(own.tolist(), data.table.ids, strict=False):
        numbers = [n for n in row if n >= 0]
        assert row[0] == -1  # [CLS]
        assert sorted(set(numbers)) == list(range(len(times[clip].words)))
        assert numbers == sorted(numbers)
    laid = of_words(batch.features["audio"], batch.masks["audio"], own)
    for k, row in enumerate(own.tolist()):
        for t, number in enumerate(row):
            there = number >= 0 and bool(batch.masks["audio"][k, number])
            expected = batch.features["audio"][k, number] if there else torch.zeros(laid.shape[2])
            torch.testing.assert_close(laid[k, t], expected)
    assert sedimental.train(config)[0].row == "mag_bert finetuned TA"
    uegd = table(LIVE.format(model="uegd", bert=bert), features=tables)
    with pytest.raises(RunError, match="reads live text token by token"):
        sedimental.train(uegd)
