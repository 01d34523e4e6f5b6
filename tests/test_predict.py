"""New clips through trained runs: the very numbers of training, from file to score."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import sedimental
from sedimental.cache.checksums import write_checksums
from sedimental.cache.manifest import read_manifest
from sedimental.cache.runs import read_run
from sedimental.cache.runs.extraction import Extraction
from sedimental.cache.runs.names import find_folders, row_of
from sedimental.cache.runs.pack import pack, unpack
from sedimental.cache.spec import FeatureSpec
from sedimental.cli import app
from sedimental.config import Config, ConfigError, load_config
from sedimental.errors import ManifestError, RunError
from sedimental.evaluate.output.prediction_files import write_new_predictions
from sedimental.evaluate.prediction import Prediction
from sedimental.extract.corpora.reading.subtitles import read_text
from sedimental.extract.encoders.loading import EncoderError
from sedimental.extract.same_features import refuse_others
from sedimental.extract.windows import sliding
from sedimental.predicting import predict as predict_clips
from sedimental.progress import Silent
from sedimental.train.data.missing_features import MissingCase, damaged
from sedimental.train.fit.loop import predict as score
from sedimental.train.predict import restore
from sedimental.train.session import TrainSession

RUNNER = CliRunner()
MakeConfig = Callable[..., Config]

SMALL = """
[train.uegd]
modalities = ["TAV", "T", "V", "AV"]
hidden = 8
embedding = 4
[train.emt_dlfr]
width = 8
heads = 2
depth = 1
[train.glomo]
width = 8
heads = 2
encoder_layers = 1
fusion_feedforward = 16
[train.sugrm]
width = 8
heads = 2
rounds = 1
labels_from = 2
"""
MMML = """
[train.mmml]
modalities = ["TA"]
heads = 2
layers = 1
head = 8
context = "separate"
"""
ROWS = ("uegd-TAV", "uegd-T", "uegd-V", "uegd-AV", "emt_dlfr-TAV", "glomo-TAV", "sugrm-TAV")


@pytest.fixture(scope="module")
def config(made: MakeConfig, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Sixteen clips of the demo corpus, every model on them with two seeds."""
    corpus = made(live="").corpus.path
    file = tmp_path_factory.mktemp("predict") / "pipeline.toml"
    tables = "".join(
        f'[[features]]\nmodality = "{m}"\nencoder = "tiny-{name}"\n'
        for m, name in (("text", "bert"), ("audio", "wavlm"), ("vision", "clip"))
    )
    file.write_text(
        f'[corpus]\nkind = "mmsa"\npath = "{corpus}"\n{tables}fps = 1.5\n'
        "[train]\nseeds = [1, 2]\nepochs = 3\nbatch_size = 4\nlearning_rate = 3e-3\n"
        'models = ["uegd", "emt_dlfr", "glomo", "sugrm", "mmml"]\n'
        "[train.inputs]\n"
        'text = { encoder = "tiny-bert", layers = -1 }\n'
        'audio = { encoder = "tiny-wavlm", layers = "weighted" }\n'
        f'vision = {{ encoder = "tiny-clip", layers = [-1, 1] }}\n{SMALL}{MMML}',
        encoding="utf-8",
    )
    found = load_config(file)
    assert not sedimental.extract(found).failures
    sedimental.train(found)
    return found


def asked(config: Config, count: int) -> list[Any]:
    """The first test clips, as a user would name them."""
    corpus = read_manifest(config.corpus_cache / "manifest.jsonl")
    return [
        sedimental.NewClip(
            corpus.root / str(c.media), c.text, None, None, c.id, c.video_id, c.clip_id
        )
        for c in corpus.split("test")[:count]
    ]


def agree(found: Prediction, folder: Path, atol: float) -> None:
    """Each seed says of each clip what its predictions.csv does."""
    runs = [read_run(path) for path in find_folders(str(folder), folder.parent)]
    assert found.seeds == tuple(run.seed for run in runs)
    for place, run in enumerate(runs):
        own = dict(zip(run.predictions.ids, run.predictions.values, strict=True))
        for clip in found.clips:
            assert clip.score is not None
            assert clip.score.values[place] == pytest.approx(own[clip.id], abs=atol)
            assert not clip.missing
    assert np.ptp([c.score.mean for c in found.clips if c.score]) > 10 * atol  # they differ


@pytest.mark.parametrize("row", ROWS)
def test_a_clip_of_the_corpus_scores_as_in_training(config: Config, row: str) -> None:
    folder = config.experiment / row
    found = sedimental.predict(folder, asked(config, 2))
    agree(found, folder, 1e-5)
    runs = [read_run(path) for path in find_folders(str(folder), folder.parent)]
    for clip in found.clips:
        at = runs[0].predictions.ids.index(clip.id)
        if row.startswith(("uegd", "glomo")):
            name = "gate" if row.startswith("uegd") else "weights_global"
            gates = np.mean([run.outputs[name][at] for run in runs], axis=0)
            assert list(clip.weights) == list(found.modalities)
            assert list(clip.weights.values()) == pytest.approx(gates, abs=1e-5)
        if row.startswith("sugrm"):
            heads = [np.mean([r.outputs[f"score_{m}"][at] for r in runs]) for m in found.modalities]
            assert list(clip.alone) == list(found.modalities)
            assert list(clip.alone.values()) == pytest.approx(heads, abs=1e-5)


def test_a_packed_run_predicts_the_same_elsewhere(config: Config, tmp_path: Path) -> None:
    folders = find_folders("uegd TAV", config.experiment)
    file = pack(folders, "# a card", tmp_path / "run.zip")
    made = unpack(file, tmp_path / "elsewhere")
    clips = asked(config, 2)
    ours, theirs = (sedimental.predict(each[0].parent, clips) for each in (folders, made))
    assert ours == theirs


def test_windows_of_a_video_are_predicted_in_one_go(config: Config, tmp_path: Path) -> None:
    """The last window is that part of the video, as if it had been cut by hand."""
    folder, [clip] = config.experiment / "uegd-TAV", asked(config, 1)
    windows = sliding(clip.media, 1.0)
    found = predict_clips(folder, windows, faces=True)
    assert [one.id for one in found.clips] == [window.id for window in windows]
    assert len({one.score.mean for one in found.clips if one.score}) == len(windows) > 1
    last = windows[-1]
    alone = sedimental.predict(folder, sedimental.NewClip(clip.media, "", last.start, last.end))
    ours, theirs = found.clips[-1].score, alone.clips[0].score
    assert ours is not None
    assert theirs is not None
    assert ours.values == pytest.approx(theirs.values, abs=1e-5)
    assert set(found.faces) <= {window.id for window in windows}
    assert all(data.startswith(b"\xff\xd8") for data in found.faces.values())
    assert "faces" not in found.to_json()


def test_clips_of_one_video_are_read_in_their_order(config: Config, tmp_path: Path) -> None:
    """MMML reads the two clips before each, which a shuffled table names by its ids."""
    folder, clips = config.experiment / "mmml-TA", asked(config, 4)
    table = tmp_path / "clips.csv"
    rows = [f'{clip.id},{clip.media},"{clip.text}"' for clip in reversed(clips)]
    table.write_text("\n".join(["id,media,text", *rows]), encoding="utf-8")
    agree(sedimental.predict(folder, table=table), folder, 1e-5)
    alone = sedimental.predict(folder, clips[3:]).clips[0].score
    among = sedimental.predict(folder, clips).clips[3].score
    assert alone is not None
    assert among is not None
    assert abs(alone.mean - among.mean) > 1e-5  # without those before, it is another answer


@pytest.mark.parametrize("row", ["uegd-TAV", "emt_dlfr-TAV", "glomo-TAV", "sugrm-TAV", "mmml-TA"])
def test_what_a_clip_lacks_is_missing_as_in_training(
    config: Config, tmp_path: Path, row: str
) -> None:
    """The words of a test clip with an empty file: as when the other modalities are taken away."""
    [clip] = asked(config, 1)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    found = sedimental.predict(config.experiment / row, sedimental.NewClip(empty, clip.text))
    [answer] = found.clips
    assert answer.used == ("text",)
    others = [m for m in found.modalities if m != "text"]
    assert list(answer.missing) == others
    assert all("empty file" in reason for reason in answer.missing.values())
    assert set(answer.weights) <= {"text"}
    letters = row.rpartition("-")[2]
    shop = TrainSession(config, Silent())
    for place, seed in enumerate(found.seeds):
        [plan] = [p for p in shop.plans if row_of(p.folder.parent.name) == row and p.seed == seed]
        data = shop.open([plan]).select(plan.modalities)
        lossy = data
        for letter in letters.replace("T", ""):
            lossy = damaged(lossy, MissingCase("drop", letter, 1.0), seed)
        expected = score(restore(plan, data), lossy, data.rows["test"][:1]).values[0]
        assert answer.score is not None
        assert answer.score.values[place] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("model", "live", "lines"),
    [
        ("uegd", "TA", {}),
        ("uegd", "T", {"text_line": "layers = [-1, 1], top = 1"}),  # begins at cached states
        ("sugrm", "T", {"tables": "[train.sugrm]\nwidth = 8\nheads = 2\nrounds = 1\n"}),
        ("mmml", "A", {"audio_line": "layers = -1, seconds = 1.5", "tables": MMML}),
    ],
)
def test_encoders_that_were_trained_along(
    made: MakeConfig, model: str, live: str, lines: dict[str, str], tmp_path: Path
) -> None:
    how = f'models = ["{model}"]\nlearning_rate = 1e-2\nwarmup = 0.0'
    config = made(live=live, train=how, **lines)
    sedimental.train(config)
    [folder] = config.experiment.glob(f"{model}-*")
    found = sedimental.predict(folder, asked(config, 4))
    agree(found, folder, 1e-4)
    assert found.row == f"{model} finetuned TA"
    silent = sedimental.NewClip(tmp_path / "nothing.mp4", "Well, no.")
    lacking = sedimental.predict(folder, silent).clips[0]
    assert (lacking.used, list(lacking.missing)) == (("text",), ["audio"])


def test_classes_have_probabilities(tmp_path: Path) -> None:
    words = ("good", "bad", "fine", "awful")
    splits = ("train",) * 12 + ("valid",) * 4 + ("test",) * 4
    rows = [
        f"c{k},{s},{words[k % 4]} day {k},{'no' if k % 2 else 'yes'}" for k, s in enumerate(splits)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["id,split,text,class", *rows]))
    (tmp_path / "pipeline.toml").write_text(
        '[corpus]\nkind = "csv"\npath = "t.csv"\n'
        '[[features]]\nmodality = "text"\nencoder = "tiny-bert"\n'
        "[train]\nseeds = [1, 2]\nepochs = 2\n"
        '[train.inputs]\ntext = { encoder = "tiny-bert", layers = "weighted" }\n'
        "[train.uegd]\nhidden = 8\nembedding = 4\n"
    )
    config = load_config(tmp_path / "pipeline.toml")
    sedimental.extract(config)
    runs = sedimental.train(config)
    clips = [sedimental.NewClip(text=f"{words[k % 4]} day {k}", id=f"c{k}") for k in (16, 17)]
    clips.append(sedimental.NewClip(text=" "))
    found = sedimental.predict("uegd T", clips, experiment=config.experiment)
    assert found.classes == ("no", "yes")
    for clip in found.clips[:2]:
        at = runs[0].predictions.ids.index(clip.id)
        for number, name in enumerate(found.classes):
            own = [r.predictions.probabilities[at, number] for r in runs]  # type: ignore[index]
            assert clip.probabilities[name].values == pytest.approx(own, abs=1e-6)
        assert clip.word == max(found.classes, key=lambda name: clip.probabilities[name].mean)
        assert clip.score is None
    assert [clip.id for clip in found.failed] == ["no words"]
    write_new_predictions(tmp_path / "new.csv", found)
    with (tmp_path / "new.csv").open(encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file))
    assert list(written[0])[-3:] == ["answer", "no", "yes"]
    for row, clip in zip(written[:2], found.clips, strict=False):
        assert float(row["no"]) + float(row["yes"]) == pytest.approx(1, abs=1e-6)
        assert float(row[row["answer"]]) == clip.probabilities[row["answer"]].mean


def test_scores_have_the_words_of_their_protocol(config: Config, tmp_path: Path) -> None:
    folder = tmp_path / "seed-1"
    [trained] = find_folders("uegd-T/seed-1", config.experiment)
    shutil.copytree(trained, folder)
    head = json.loads((folder / "run.json").read_text())
    assert head["protocol"] == "mosi"
    clips = asked(config, 4)
    for clip in sedimental.predict(folder, clips).clips:
        assert clip.score is not None
        assert clip.level == str(round(clip.score.mean))
        assert clip.word == ("negative", "neutral", "positive")[int(np.sign(int(clip.level))) + 1]
    (folder / "run.json").write_text(json.dumps(head | {"protocol": "sims"}))
    write_checksums(folder)
    for clip in sedimental.predict(folder, clips).clips:
        assert clip.score is not None
        value = clip.score.mean
        bins = ((-0.7, "<= -0.7"), (-0.1, "<= -0.1"), (0.1, "<= 0.1"), (0.7, "<= 0.7"))
        assert clip.level == next((name for edge, name in bins if value <= edge), "> 0.7")
        word = "negative" if value <= -0.1 else "neutral" if value <= 0.1 else "positive"
        assert clip.word == word


def test_what_is_no_run_or_no_more_one_that_predicts(config: Config, tmp_path: Path) -> None:
    words = sedimental.NewClip(text="Well, no.")
    with pytest.raises(RunError, match=r"no folder of runs\. Rows here: .*uegd T,"):
        sedimental.predict("nothing of it", words, experiment=config.experiment)
    with pytest.raises(RunError, match="holds several rows"):
        sedimental.predict(config.experiment, words)
    row = tmp_path / "uegd-T"
    shutil.copytree(find_folders("uegd-T", config.experiment)[0].parent, row)
    head = json.loads((row / "seed-2/run.json").read_text())

    def altered(message: str, fault: type[Exception] = RunError, **changes: Any) -> None:
        (row / "seed-2/run.json").write_text(json.dumps(head | changes))
        write_checksums(row / "seed-2")
        with pytest.raises(fault, match=message):
            sedimental.predict(row, words)

    altered("does not say how its features were made.*--fresh", extraction={})
    spec = head["extraction"]["text"]["spec"]
    other = {"text": head["extraction"]["text"] | {"spec": spec | {"width": 9}}}
    altered("trained on other features than seed-1", extraction=other)
    altered("do not fit uegd as it is now", options=head["options"] | {"hidden": 9})
    altered("do not fit uegd as it is now", options=head["options"] | {"hiden": 8})
    with pytest.raises(ConfigError, match=r'device: should be auto, cpu, .*not "tpu"'):
        sedimental.predict(config.experiment / "uegd-T", words, device="tpu")
    (row / "seed-2/run.json").write_text(json.dumps(head))
    write_checksums(row / "seed-2")
    (row / "seed-2/weights.safetensors").write_bytes(b"torn")
    with pytest.raises(RunError, match=r"weights\.safetensors: is damaged\. `sedimental runs rm"):
        sedimental.predict(row, words)


def test_an_encoder_that_is_gone_or_another(made: MakeConfig, folders: Any, tmp_path: Path) -> None:
    bert = tmp_path / "bert"
    shutil.copytree(folders["bert"], bert)
    config = made(audio="", live="", text_line="layers = -1")
    line, table = config.train.inputs.text, config.features[0]
    assert line is not None
    inputs = config.train.inputs.model_copy(
        update={"text": line.model_copy(update={"encoder": str(bert)})}
    )
    config = config.model_copy(
        update={
            "features": (table.model_copy(update={"encoder": str(bert)}),),
            "train": config.train.model_copy(update={"inputs": inputs}),
        }
    )
    sedimental.extract(config)
    sedimental.train(config)
    [clip] = asked(config, 1)
    agree_with = config.experiment / "uegd-T"
    [before] = sedimental.predict(agree_with, clip).clips
    bert.rename(tmp_path / "elsewhere")
    with pytest.raises(EncoderError, match=f"the folder {bert}, is gone"):
        sedimental.predict(agree_with, clip)
    shutil.copytree(folders["roberta"], bert)
    with pytest.raises(EncoderError, match=r"other numbers .*weights_digest was"):
        sedimental.predict(agree_with, clip)
    shutil.rmtree(bert)
    (tmp_path / "elsewhere").rename(bert)
    assert sedimental.predict(agree_with, clip).clips == (before,)


def test_faults_of_clips_are_told_at_once(config: Config) -> None:
    clips = [sedimental.NewClip("a.mp4"), sedimental.NewClip(text="b", start=2.0, end=1.0)]
    with pytest.raises(ManifestError) as fault:
        sedimental.predict(config.experiment / "uegd-TAV", clips)
    first, second, third = str(fault.value).splitlines()
    assert "clip 1 (a.mp4): the run reads what is said" in first
    assert "--text-file" in first
    assert "clip 2 (b): its audio and vision are read, and no file is given" in second
    assert "clip 2 (b): end 1.0 is not after start 2.0" in third


def test_the_command(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(config.experiment.parent.parent)
    [clip] = asked(config, 1)
    subtitles = tmp_path / "words.srt"
    subtitles.write_text(f"1\n00:00:00,000 --> 00:00:09,000\n<i>{clip.text}</i>\n")
    empty = tmp_path / "empty.mp4"
    empty.touch()

    def told(*arguments: object, code: int = 0) -> Any:
        shown = RUNNER.invoke(app, ["predict", *map(str, arguments)])
        assert shown.exit_code == code, shown.stderr
        return shown

    whole = json.loads(told("uegd TAV", clip.media, "--text-file", subtitles, "--json").stdout)
    [expected] = sedimental.predict(config.experiment / "uegd-TAV", clip).clips
    assert expected.score is not None
    [got] = whole["clips"]
    assert got["score"]["seeds"] == pytest.approx(expected.score.values)
    assert got["score"]["mean"] == pytest.approx(np.mean(expected.score.values))
    assert got["score"]["std"] == pytest.approx(np.std(expected.score.values))
    assert got["word"] == expected.word
    assert got["used"] == ["text", "audio", "vision"]
    assert [c["kind"] for c in whole["cautions"]] == ["untrained"]
    shown = told("uegd T", "--text", "What a day", "--text", "", code=3)
    assert "What a day" in shown.stdout
    assert "no words: no text: read: empty text" in shown.stdout
    assert "untrained" in shown.stdout
    assert "1 of 2 clips could not be predicted: no words" in shown.stderr.replace("\n", " ")
    seed = config.experiment / "uegd-AV/seed-2"
    assert "uegd AV, seed 2" in told(seed, empty, code=3).stdout
    assert "--text" in told("uegd TAV", clip.media, code=2).stderr
    two = (clip.media, clip.media)
    assert "1 given for 2 videos" in told("uegd TAV", *two, "--text", "a", code=2).stderr
    assert "cut one video" in told("uegd V", *two, "--start", "1", code=2).stderr
    assert "not in both" in told("uegd T", "--text", "a", "--text-file", subtitles, code=2).stderr
    assert "none are given" in told("uegd T", code=2).stderr
    assert "Rows here" in told("no such row", "--text", "a", code=1).stderr


def test_predictions_in_a_file_are_those_of_training(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--predictions`: a row a clip, mean and deviation over the seeds as predictions.csv has."""
    monkeypatch.chdir(config.experiment.parent.parent)
    clips = asked(config, 3)
    (tmp_path / "empty.mp4").touch()
    table, file = tmp_path / "new.csv", tmp_path / "out" / "scores.csv"
    lines = [f'{c.id},{c.media},"{c.text}"' for c in clips]
    table.write_text("\n".join(["id,media,text", *lines, "=lost,empty.mp4,"]), encoding="utf-8")
    file.parent.mkdir()
    command = ["predict", "uegd TAV", "--table", str(table), "--predictions", str(file)]
    shown = RUNNER.invoke(app, command)
    assert shown.exit_code == 3, shown.output  # one clip has nothing to read
    with file.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    head = ["row", "id", "media", "start", "end", "text", "from", "score", "deviation", "answer"]
    assert list(rows[0]) == head
    assert [row["id"] for row in rows] == [*(c.id for c in clips), "'=lost"]  # no formula
    assert rows[-1] | {"row": "", "id": "", "media": ""} == dict.fromkeys(head, "")
    seeds = list(config.experiment.glob("uegd-TAV-*/seed-*"))
    runs = [read_run(folder).predictions for folder in seeds]
    assert len(runs) == 2
    for row, clip in zip(rows[:-1], clips, strict=True):
        own = [run.values[run.ids.index(clip.id)] for run in runs]
        assert float(row["score"]) == pytest.approx(np.mean(own), abs=1e-5)
        assert float(row["deviation"]) == pytest.approx(np.std(own), abs=1e-5)
        assert (row["row"], row["text"], row["from"]) == (
            "uegd TAV",
            clip.text,
            "text,audio,vision",
        )
        assert row["answer"] in ("negative", "neutral", "positive")
    before = file.read_bytes()
    refused = RUNNER.invoke(app, [*command[:-1], str(tmp_path / "scores.txt")])
    assert refused.exit_code == 2
    assert "should end in .csv or .parquet" in refused.stderr
    assert RUNNER.invoke(app, command).exit_code == 3
    assert file.read_bytes() == before  # the same again


def test_a_cut_is_what_is_seen_and_heard_between(config: Config) -> None:
    """Cut from its middle, a clip is another; cut where it ends anyway, it is the same."""
    [clip] = asked(config, 1)
    cuts = [
        replace(clip, id=str(k), start=a, end=b)
        for k, (a, b) in enumerate(((0.0, 60.0), (1.0, 2.0)))
    ]
    whole, same, part = sedimental.predict(config.experiment / "uegd-AV", [clip, *cuts]).clips
    assert whole.score is not None
    assert same.score is not None
    assert part.score is not None
    assert same.score.values == pytest.approx(whole.score.values, abs=1e-5)
    assert abs(part.score.mean - whole.score.mean) > 1e-3
    assert (part.start, part.end) == (1.0, 2.0)


def test_words_of_subtitles_in_the_cut(tmp_path: Path) -> None:
    file = tmp_path / "a.vtt"
    file.write_text(
        "\ufeffWEBVTT\n\nNOTE no words\n\nfirst\n00:01.000 --> 00:02.5\n<v Ann>One\ntwo\n\n"
        "01:00:00.000 --> 01:00:01.000 align:start\nthree\n"
    )
    assert read_text(file) == "One two three"
    assert read_text(file, 2.4, 3.0) == "One two"
    assert read_text(file, 2.5, 3600.0) == ""
    assert read_text(file, 3600.9) == "three"
    (tmp_path / "b.txt").write_text(" One\n two ")
    assert read_text(tmp_path / "b.txt", 5.0) == "One two"
    with pytest.raises(ManifestError, match="cannot be read as text: No such file"):
        read_text(tmp_path / "c.txt")


def test_imported_features_cannot_be_made_of_another_clip() -> None:
    spec = FeatureSpec(
        "text", "mmsa-text-4", "MMSA features", None, "imported", "sha256:00", ("1",), 4
    )
    made = Extraction({"modality": "text", "weights": "imported"}, spec)
    with pytest.raises(EncoderError, match=r"mmsa-text-4 were imported .*sedimental extract"):
        refuse_others("uegd T", {"text": made})
