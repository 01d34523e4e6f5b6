"""Corpora as they are released, in miniature: what their readers begin with, here and in tests."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

EMOTIONS = "IEO_ANG", "TIE_DIS", "DFA_HAP"


def _touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


def _text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def crema_d(folder: Path) -> None:
    """Four actors, each with three files."""
    for actor in range(1001, 1005):
        for code in EMOTIONS:
            _touch(folder / "VideoFlash" / f"{actor}_{code}_HI.flv")


def ravdess(folder: Path) -> None:
    """Four actors: speech with pictures, the same pictures alone, sound alone, and a song."""
    for actor in range(1, 5):
        place = folder / f"Actor_{actor:02}"
        for code in ("01-01-06-01-02-01", "02-01-06-01-02-01", "03-01-03-02-01-02"):
            _touch(place / f"{code}-{actor:02}.mp4")
        _touch(place / f"01-02-03-01-01-01-{actor:02}.mp4")


def iemocap(folder: Path) -> None:
    """A dialogue of three turns in each session."""
    for session in range(1, 6):
        dialogue = f"Ses{session:02}F_impro01"
        rated, said = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""], []
        for k, (emotion, scores) in enumerate(
            (("neu", "2.5000, 2.5000, 2.5000"), ("exc", "4.5000, 3.0, 2"), ("xxx", "2, 3.5, 3"))
        ):
            turn = f"{dialogue}_{'FMF'[k]}{k:03}"
            rated += [f"[{k}.2901 - {k + 1}.2357]\t{turn}\t{emotion}\t[{scores}]"]
            rated += ["C-E2:\tNeutral;\t()", ""]
            said += [f"{turn} [00{k}.2901-00{k + 1}.2357]: Excuse me, {k}."]
            _touch(folder / f"Session{session}/sentences/wav/{dialogue}/{turn}.wav")
        place = folder / f"Session{session}" / "dialog"
        _text(place / "EmoEvaluation" / f"{dialogue}.txt", "\n".join(rated))
        _text(place / "transcriptions" / f"{dialogue}.txt", "\n".join(said))


def msp_podcast(folder: Path) -> None:
    """Turns of every set, one of a speaker who is not known."""
    head = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set\n"
    rows = ""
    for k, own in enumerate(("Train", "Train", "Development", "Test1", "Test2", "Test1")):
        file = f"MSP-PODCAST_0001_{k:04}"
        rows += f"{file}.wav,{'AHNXSU'[k]},{3 + k / 5},{2 + k / 5},4,{k or 'Unknown'},Male,{own}\n"
        _touch(folder / "Audios" / f"{file}.wav")
        _text(folder / "Transcripts" / f"{file}.txt", f"What {k} said.\n")
    _text(folder / "Labels" / "labels_consensus.csv", head + rows)


def mer2023(folder: Path) -> None:
    """Labelled clips for training and two tests, and two without a label."""
    head, emotions = "name,discrete,valence\n", ("neutral", "angry", "happy", "sad", "worried")
    for which, place, count in (
        ("train", "mer2023train", 24),
        ("test1", "test-labels", 3),
        ("test2", "test-labels", 2),
    ):
        names = [f"sample_{which}_{k}" for k in range(count)]
        rows = "".join(f"{n},{emotions[k % 5]},{k - 3}.5\n" for k, n in enumerate(names))
        _text(folder / place / f"{which}-label.csv", head + rows)
        inside = folder / ("mer2023train/train" if which == "train" else which)
        for name in names:
            _touch(inside / f"{name}.avi")
    words = "name,chinese,english\nsample_train_0,你好,hello\nsample_test1_0,再见,bye\n"
    _text(folder / "transcription-engchi-polish.csv", words)
    for k in range(2):
        _touch(folder / "test3" / f"sample_test3_{k}.avi")


def sims_v2(folder: Path) -> None:
    """Labelled clips of every split, and two without a label."""
    head = "video_id,clip_id,text,label,label_T,label_A,label_V,annotation,mode\n"
    rows = "".join(
        f"aqgy3_{k},0000{k},说 {k},0.{k},0.2,-0.4,,Positive,{mode}\n"
        for k, mode in enumerate(("train", "train", "valid", "test"))
    )
    _text(folder / "ch-simsv2s" / "meta.csv", head + rows)
    for k in range(4):
        _touch(folder / f"ch-simsv2s/Raw/aqgy3_{k}/0000{k}.mp4")
    bare = "".join(f"u_{k},0000{k},未标 {k}\n" for k in range(2))
    _text(folder / "ch-simsv2u" / "meta.csv", f"video_id,clip_id,text\n{bare}")
    for k in range(2):
        _touch(folder / f"ch-simsv2u/Raw/u_{k}/0000{k}.mp4")


def mosei(folder: Path) -> None:
    """Clips of every split with six intensities beside the score."""
    head = "video_id,clip_id,text,label,mode,happy,sad,anger,surprise,disgust,fear\n"
    rows = "".join(
        f"-3g5yACwYnA,{k},so {k},{k - 1}.0,{mode},{k}.333,0,{k % 2},0.0,0,0\n"
        for k, mode in enumerate(("train", "train", "valid", "test"))
    )
    _text(folder / "label.csv", head + rows)
    for k in range(4):
        _touch(folder / f"Raw/-3g5yACwYnA/{k}.mp4")


def emobox(folder: Path) -> None:
    """A fold without a file for validation, and the sound a folder above it."""
    fold = folder / "fold_1"
    for split, count in (("train", 24), ("test", 3)):
        lines = [
            {
                "key": f"emodb-{split}{k}",
                "dataset": "emodb",
                "wav": f"downloads/{split}{k}.wav",
                "sample_rate": 16000,
                "length": 1.9,
                "task": "category",
                "emo": ("anger", "neutral")[k % 2],
            }
            for k in range(count)
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        _text(fold / f"emodb_{split}_fold_1.jsonl", text)
        for line in lines:
            _touch(folder / str(line["wav"]))


MINIATURES: Mapping[str, Callable[[Path], None]] = {
    "crema-d": crema_d,
    "ravdess": ravdess,
    "iemocap": iemocap,
    "msp-podcast": msp_podcast,
    "mer2023": mer2023,
    "sims-v2": sims_v2,
    "mosei": mosei,
    "emobox": emobox,
}
"""By `corpus.kind`: writes the corpus into a folder."""


def corpus_reader(kind: str) -> Callable[[Path], None]:
    """Reads a folder as a corpus of that kind, all that there is of it."""

    def reader(folder: Path) -> None:
        from sedimental.config import CorpusConfig
        from sedimental.extract.corpora import load_manifest

        more = {"unlabelled": True} if kind in ("mer2023", "sims-v2") else {}
        place = folder / "fold_1" if kind == "emobox" else folder
        load_manifest(CorpusConfig.model_validate({"kind": kind, "path": place, **more}))

    return reader
