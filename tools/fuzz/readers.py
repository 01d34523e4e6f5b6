"""Every reader that is fuzzed: good files to begin with, and how they are read to the end."""

import json
import pickle
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .corpora import MINIATURES, corpus_reader
from .tables import odd_tables
from .words import read_words, words_seed

Read = Callable[[Path], None]


@dataclass(frozen=True)
class Reader:
    """One kind of file, or folder."""

    seed: Read
    """Writes good files into a folder."""
    read: Read
    """Reads them to the end; raises SedimentalError for what is wrong."""
    words: Sequence[bytes] = ()
    """Of the format, to be put in anywhere."""
    remake: Callable[[random.Random], bytes] | None = None
    """A well-formed file of odd content."""
    alone: bool = False
    """Whether the files have nothing to do with each other."""
    also: tuple[type[Exception], ...] = ()
    """Errors beside SedimentalError that its callers turn into words."""


def mmsa_table(count: int, first: int = 0) -> dict[str, Any]:
    """A split as MMSA's unaligned files have it."""
    by = np.random.default_rng(first)
    mask = np.arange(5) < by.integers(1, 6, (count, 1))
    return {
        "id": np.array([f"vid$_${first + k}" for k in range(count)]),
        "raw_text": np.array([f"said {k}" for k in range(count)], object),
        "text": by.normal(size=(count, 5, 4)).astype("f4") * mask[..., None],
        "text_bert": np.stack([mask * 7, mask, mask * 0], axis=1).astype("f4"),
        "audio": by.normal(size=(count, 8, 3)),
        "vision": by.normal(size=(count, 6, 2)).astype("f4"),
        "audio_lengths": [8, 2, 5, 1][:count],
        "vision_lengths": [6, 6, 3, 2][:count],
        "regression_labels": by.normal(size=count).astype("f4"),
        "annotations": np.array(["Positive", "Negative", "Neutral", "Positive"][:count]),
        "classification_labels": np.array([2, 0, 1, 2][:count]),
    }


def multibench_table(count: int, first: int = 0) -> dict[str, Any]:
    """A split as MultiBench's affect files have it."""
    by = np.random.default_rng(first)
    values = by.normal(size=(count, 6, 3)).astype("f4")
    values[0, :4] = 0
    return {
        "vision": values[..., :2].copy(),
        "audio": values,
        "text": values + 1,
        "labels": by.normal(size=(count, 1, 1)),
        "id": np.array([f"vid[{first + k}]".encode() for k in range(count)]),
    }


def _pickles(folder: Path, table: Callable[[int, int], dict[str, Any]]) -> None:
    splits = {"train": table(4, 0), "valid": table(2, 10), "test": table(1, 20)}
    for protocol in (0, 2, 4, 5):
        (folder / f"{protocol}.pkl").write_bytes(pickle.dumps(splits, protocol))


def _each(read: Read, pattern: str) -> Read:
    def every(folder: Path) -> None:
        for path in sorted(folder.glob(pattern)):
            read(path)

    return every


def _import(path: Path, names: Any = None) -> None:
    from sedimental.cache.exchange.open import open_foreign

    found = open_foreign(path, names or {})
    for modality in found.offers:
        for _ in found.take(modality):
            pass


def _odd(table: Callable[[int, int], dict[str, Any]]) -> Callable[[random.Random], bytes]:
    def remake(by: random.Random) -> bytes:
        splits = {"train": table(4, 0), "valid": table(2, 10), "test": table(1, 20)}
        odd_tables(splits, by)
        return pickle.dumps(splits, by.choice((2, 4, 5)))

    return remake


def _plain_seed(folder: Path) -> None:
    value = {
        "a": [1, 2.5, None, True, 2**70, "wörd", b"raw", (1, 2), {1, 2}, frozenset((3,))],
        "x": np.arange(6, dtype="f4").reshape(2, 3),
        "o": np.array(["a", None, [1]], object),
        "u": np.array(["ab", "c"]),
        "s": np.float64(2),
        "f": np.asfortranarray(np.ones((2, 3))),
    }
    for protocol in range(6):
        (folder / f"{protocol}.pkl").write_bytes(pickle.dumps(value, protocol))


def _plain(path: Path) -> None:
    from sedimental.cache.safe_pickle.load import load_plain

    load_plain(path)


def _npy_seed(folder: Path) -> None:
    np.save(folder / "a.npy", np.arange(6, dtype="f4").reshape(2, 3))
    np.save(folder / "o.npy", np.array({"a": {"emo": 1, "val": 0.5}}, object))
    np.save(folder / "u.npy", np.array(["ab", "c"]))


def _npy(path: Path) -> None:
    from sedimental.cache.safe_pickle.npy import load_npy

    load_npy(path)


def _npz_seed(folder: Path) -> None:
    label = np.array({"a$_$1": {"emo": 1, "val": 0.5}}, object)
    np.savez(folder / "a.npz", train_corpus=label, x=np.ones(3))
    np.savez_compressed(folder / "c.npz", train_corpus=label, x=np.ones((3, 4), "f2"))


def _npz(path: Path) -> None:
    from sedimental.cache.safe_pickle.npy import load_npz

    load_npz(path)


def _merbench_seed(folder: Path) -> None:
    labels = {
        f"{split}_corpus": np.array(
            {f"{split}_{k}": {"emo": k % 3, "val": k / 2} for k in range(3)}
        )
        for split in ("train", "val", "test")
    }
    np.savez(folder / "label.npz", **labels)  # type: ignore[arg-type]
    for name in ("x-FRA", "y-UTT"):
        (folder / "features" / name).mkdir(parents=True)
        for split in ("train", "val", "test"):
            for k in range(3):
                shape = (2 + k, 4) if name == "x-FRA" else (4,)
                np.save(folder / "features" / name / f"{split}_{k}.npy", np.ones(shape, "f4"))
    words = "name,chinese,english\n" + "".join(f"train_{k},,hello {k}\n" for k in range(3))
    (folder / "transcription-engchi-polish.csv").write_text(words, encoding="utf-8")


def _merbench(folder: Path) -> None:
    _import(folder, {"text": "x", "audio": "y"})


def _urfunny_seed(folder: Path) -> None:
    words = {k: {"punchline_sentence": f"w {k}", "context_sentences": ["a", "b"]} for k in range(4)}
    folds = {"train": [0, 1], "dev": [2], "test": [3]}
    for name, value in {
        "language_sdk": words,
        "humor_label_sdk": {k: k % 2 for k in range(4)},
        "data_folds": folds,
    }.items():
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(value, 2))
    (folder / "videos").mkdir()
    for k in range(4):
        (folder / "videos" / f"{k}.mp4").write_bytes(b"x")


def _urfunny(folder: Path) -> None:
    from sedimental.extract.corpora.urfunny import load

    load("urfunny", folder)


TABLE = (
    "id,video_id,clip_id,mode,text,label,start,end,media\n"
    'v$_$1,v,1,train,"a, ""b""",0.5,0,1.5,v.mp4\nv$_$2,v,2,valid,wörd,-1,1.5,2,v.mp4\n'
    "w$_$1,w,1,test,x,3,,,v.mp4\n"
)


def _csv_seed(folder: Path) -> None:
    (folder / "clips.csv").write_text(TABLE, encoding="utf-8-sig")
    (folder / "clips.tsv").write_text(TABLE.replace(",", "\t"), encoding="utf-8")
    (folder / "v.mp4").write_bytes(b"x")


def _csv(folder: Path) -> None:
    from sedimental.errors import SedimentalError
    from sedimental.extract.corpora.csv_table import load

    faults = []
    for name in ("clips.csv", "clips.tsv"):
        try:
            load("x", folder / name)
        except SedimentalError as fault:
            faults.append(fault)
    if faults:
        raise faults[0]


def _label_csv_seed(folder: Path) -> None:
    (folder / "label.csv").write_text(TABLE, encoding="utf-8-sig")
    for video, clip in (("v", 1), ("v", 2), ("w", 1)):
        (folder / "Raw" / video).mkdir(parents=True, exist_ok=True)
        (folder / "Raw" / video / f"{clip}.mp4").write_bytes(b"x")


def _label_csv(folder: Path) -> None:
    from sedimental.extract.corpora.mmsa import load

    load("x", folder)


def _meld_seed(folder: Path) -> None:
    head = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode"
    for split in ("train", "dev", "test"):
        rows = "".join(f'{k},"Oh, {k}",Ross,joy,positive,0,{k},2,1\n' for k in range(3))
        (folder / f"{split}_sent_emo.csv").write_text(f"{head}\n{rows}", encoding="utf-8")


def _meld(folder: Path) -> None:
    from sedimental.extract.corpora.meld import load

    load("meld", folder, "emotion")


def _mustard_seed(folder: Path) -> None:
    entry = {"utterance": "a", "speaker": "X", "context": ["b"], "context_speakers": ["Y"]}
    entries = {f"1_{k}": entry | {"show": "S", "sarcasm": bool(k % 2)} for k in range(20)}
    (folder / "sarcasm_data.json").write_text(json.dumps(entries, indent=1))


def _mustard(folder: Path) -> None:
    from sedimental.extract.corpora.mustard import load

    load("mustard", folder)


def _cherma_seed(folder: Path) -> None:
    rows = {f"c{k}": {"text": f"w {k}", "label": "fear"} for k in range(3)}
    (folder / "train.json").write_text(json.dumps(rows))
    (folder / "dev.csv").write_text("id,text,label\nd1,a,happy\n", encoding="utf-8")
    (folder / "test.json").write_text(json.dumps([{"id": "e1", "label": "anger"}]))


def _cherma(folder: Path) -> None:
    from sedimental.extract.corpora.cherma import load

    load("cherma", folder)


def _toml_seed(folder: Path) -> None:
    import sedimental

    good = Path(sedimental.__path__[0]) / "pipeline.toml"
    (folder / "pipeline.toml").write_bytes(good.read_bytes())


def _toml(folder: Path) -> None:
    from sedimental.config import load_config

    load_config(folder / "pipeline.toml")


def _manifest_seed(folder: Path) -> None:
    from sedimental.cache.manifest import Clip, Manifest, write_manifest

    clips = [
        Clip(f"v$_${k}", "v", str(k), "train", f"w {k}", "v.mp4", 0.5, 2.0, 1.0) for k in range(3)
    ]
    write_manifest(folder / "manifest.jsonl", Manifest("x", folder, tuple(clips)))


def _manifest(folder: Path) -> None:
    from sedimental.cache.manifest import read_manifest

    assert read_manifest(folder / "manifest.jsonl").digest


def _store_seed(folder: Path) -> None:
    from sedimental.cache.spec import FeatureSpec
    from sedimental.cache.store.clip_features import ClipFeatures
    from sedimental.cache.store.writer import StoreWriter

    for format in ("zarr", "hdf5"):
        spec = FeatureSpec("audio", f"toy-{format}", "toy", None, "hub", "00", ("0", "1"), 3)
        writer = StoreWriter.create(folder, spec, format)
        times, valid = np.arange(4, dtype="f4"), np.ones(4, bool)
        made = [
            ClipFeatures(f"v$_${k}", "s", np.ones((2, 4, 3), "f4") * k, times, times, valid, {})
            for k in range(3)
        ]
        writer.add(made)
        writer.finish({f"v$_${k}": "s" for k in range(3)}, {})


def _store(folder: Path) -> None:
    from sedimental.cache.store.store import list_stores, open_store
    from sedimental.cache.store.verify import verify
    from sedimental.cache.summary import brief, full
    from sedimental.errors import SedimentalError

    faults = []
    for path in list_stores(folder):
        for read in (brief, full, verify, lambda p: open_store(p).layer(-1)):
            try:
                read(path)
            except SedimentalError as fault:
                faults.append(fault)
    if faults:
        raise faults[0]


def _run_seed(folder: Path) -> None:
    from sedimental.cache.runs.folder import write_run
    from sedimental.cache.runs.run import Epoch, InputRecord, Predictions, Run

    ids = tuple(f"v$_${k}" for k in range(6))
    values = np.linspace(-1, 1, 6)
    run = Run(
        corpus="x",
        model="uegd",
        modalities=("text",),
        seed=1,
        key="k",
        options={"width": 8},
        config={"epochs": 3},
        environment={"python": "3"},
        inputs=(InputRecord("text", "tiny", ("2",), False, "ff", "hub"),),
        parameters=9,
        criterion="valid_loss",
        best_epoch=1,
        seconds=1.5,
        coverage={},
        metrics={"test": {"MAE": 1.0}},
        history=(Epoch(1, 1.0, 1.0, 1e-4, 0.1, {"MAE": 1.0}),),
        predictions=Predictions(ids, ("train", "test") * 3, values, values),
        outputs={"gate": np.ones((6, 3))},
    )
    write_run(folder / "uegd-T" / "seed-1", run, b"")


def _run(folder: Path) -> None:
    from sedimental.cache.runs.folder import damages, list_runs, read_run, read_scores, read_weights
    from sedimental.errors import SedimentalError

    faults = []
    for path in list_runs(folder):
        for read in (read_run, read_scores, read_weights, damages):
            try:
                read(path)
            except SedimentalError as fault:
                faults.append(fault)
    if faults:
        raise faults[0]


def _checkpoint_seed(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    tensors = {"model.w": torch.ones(3, 4), "best.w": torch.zeros(3, 4)}
    head = {"format": "sedimental-checkpoint-2", "key": "k", "history": [], "sums": {}}
    save_file(tensors, folder / "checkpoint.safetensors", {"sedimental": json.dumps(head)})


def _checkpoint(folder: Path) -> None:
    from sedimental.train.fit import checkpoint

    checkpoint._read(folder / "checkpoint.safetensors", "k")


def _faces_seed(folder: Path) -> None:
    from sedimental.cache.face_boxes import BoxStore, Found

    boxes = BoxStore(folder, {"detector": "x", "fps": 3.0})
    counts = np.array([1, 0, 2])
    boxes.add({source: Found(counts, np.ones((3, 5), "f4") * k) for k, source in enumerate("ab")})
    (kept,) = boxes.path.glob("faces-*.npz")
    # of an earlier version, whose name says nothing of its bytes
    (boxes.path / "faces-20260101T000000000000-0a0b0c0d.npz").write_bytes(kept.read_bytes())


def _faces(folder: Path) -> None:
    from sedimental.cache.face_boxes import BoxStore

    boxes = BoxStore(folder, {"detector": "x", "fps": 3.0})
    for source in "ab":
        found = boxes.get(source)
        assert found is None or len(found.frames) == len(found.counts)


def _sweep_seed(folder: Path) -> None:
    from sedimental.cache.sweeps import Encoder, Point, Recommendation, Sweep, write_sweep

    def point(choice: str, value: float) -> Point:
        scores: Any = {s: {"MAE": (value, value + 0.1)} for s in ("valid", "test")}
        layers: Any = {"text": choice}
        return Point("uegd", "uegd", "T", choice, layers, (1, 2), scores, {"x": 1}, "f", 1.0)

    best = Recommendation("T", "1", {"text": "1"}, 0.5, "2", 0.1, 0.01, 0.02, 9)
    points = point("1", 0.5), point("2", 0.6)
    for key, kind in (("k", "sweep"), ("l", "probe")):
        encoders: Any = {"text": Encoder("tiny", "hub", "ff", ("1", "2"), "2")}
        picks: Any = {"uegd": {"text": "1"}}
        kinds: Any = kind
        write_sweep(
            folder / kind,
            Sweep(
                kind=kinds,
                key=key,
                corpus="x",
                protocol="mosi",
                classes=(),
                criterion="MAE",
                manifest="mm",
                encoders=encoders,
                points=points,
                picks=picks,
                recommended={"uegd": best},
            ),
        )


def _sweep(folder: Path) -> None:
    """As it lies; and, where it is JSON still, with a checksum that fits it."""
    from sedimental.cache.sweeps import FILE, _text, is_earlier, read_sweep, read_sweeps
    from sedimental.errors import RunError
    from sedimental.evaluate.output.sweep_terminal import to_terminal

    faults = []
    for file in sorted(folder.glob(f"*/{FILE}")):
        try:
            is_earlier(file)
            to_terminal(read_sweeps(file.parent))
        except RunError as fault:
            faults.append(fault)
        try:
            found = json.loads(file.read_bytes())
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            own = {key: value for key, value in found.items() if key not in ("format", "blake2b")}
            file.write_text(_text(own), encoding="utf-8")
            try:
                read_sweep(file.parent)
            except RunError as fault:
                faults.append(fault)
    if faults:
        raise faults[0]


def _media_seed(folder: Path) -> None:
    from fractions import Fraction

    import av

    with av.open(str(folder / "v.mp4"), "w") as out:
        video = out.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        sound = out.add_stream("aac", rate=16_000)
        for k in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 20 * k, np.uint8))
            frame.pts, frame.time_base = k, Fraction(1, 10)
            for packet in video.encode(frame):
                out.mux(packet)
        samples = np.sin(np.arange(16_000) / 9).astype("f4")[None]
        wave = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        wave.sample_rate = 16_000
        for packet in (*sound.encode(wave), *sound.encode(None), *video.encode(None)):
            out.mux(packet)


def _media(folder: Path) -> None:
    from sedimental.extract.decode.header import read_header
    from sedimental.extract.decode.media import read_media

    read_header(folder / "v.mp4")
    read_media(folder / "v.mp4", 0.1, 0.9, fps=3)


def _media_errors() -> tuple[type[Exception], ...]:
    from sedimental.extract.decode.media import MediaError

    return (MediaError,)


def _csd_seed(folder: Path) -> None:
    import h5py

    def sequence(name: str, keys: dict[str, Any]) -> None:
        with h5py.File(folder / f"{name}.csd", "w") as file:
            for key, values in keys.items():
                times = np.arange(len(values), dtype="f8")
                place = f"{name}/data/{key}"
                file[f"{place}/features"] = values
                file[f"{place}/intervals"] = np.stack([times, times + 1], axis=1)
            file[f"{name}/metadata/root name"] = json.dumps(name)

    sequence("COVAREP", {"a": np.ones((6, 3), "f4"), "b": np.ones((4, 3), "f4")})
    sequence("Words", {"a": np.array([[b"x"]] * 6), "b": np.array([[b"sp"]] * 4)})
    sequence("Opinion Segment Labels", {"a": np.ones((2, 1)), "b": -np.ones((1, 1))})
    (folder / "splits.json").write_text(json.dumps({"train": ["a"], "test": ["b"]}))


def _csd(folder: Path) -> None:
    from sedimental.cache.exchange.csd.read import Aligned, open_folder

    for aligned in (None, Aligned("Words")):
        found = open_folder(folder, {}, aligned=aligned)
        for _ in found.take("audio"):
            pass


PICKLE_WORDS = (
    b"cos\nsystem\n",
    b"cnumpy\nndarray\n",
    b"r\xff\xff\xff\x7f",
    b"2",
    b"\x94",
    b"(",
    b"h\0",
)
JSON_WORDS = (b"null", b"[]", b"{}", b"true", b'"a"', b"[1]", b'{"a":1}')
READERS: dict[str, Reader] = {
    "words": Reader(words_seed, read_words, (b"1e999", b"null", b'"', b"<00:01.000>", b"-->")),
    "pickle": Reader(_plain_seed, _each(_plain, "*.pkl"), PICKLE_WORDS, alone=True),
    "npy": Reader(_npy_seed, _each(_npy, "*.npy"), (b"|O", b"<U9", b"(3, 3)", b"True"), alone=True),
    "npz": Reader(_npz_seed, _each(_npz, "*.npz"), PICKLE_WORDS, alone=True),
    "mmsa": Reader(
        lambda f: _pickles(f, mmsa_table),
        _each(_import, "*.pkl"),
        PICKLE_WORDS,
        _odd(mmsa_table),
        alone=True,
    ),
    "multibench": Reader(
        lambda f: _pickles(f, multibench_table),
        _each(_import, "*.pkl"),
        PICKLE_WORDS,
        _odd(multibench_table),
        alone=True,
    ),
    "merbench": Reader(_merbench_seed, _merbench, PICKLE_WORDS),
    "urfunny": Reader(_urfunny_seed, _urfunny, PICKLE_WORDS),
    "csd": Reader(_csd_seed, _csd, JSON_WORDS),
    "csv": Reader(_csv_seed, _csv, (b"train", b";", b"\t", b"\r\n", b'"\n')),
    "label-csv": Reader(_label_csv_seed, _label_csv, (b"train", b"label_T", b"\r\n")),
    "meld": Reader(_meld_seed, _meld, (b"joy", b"\r\n")),
    "mustard": Reader(_mustard_seed, _mustard, JSON_WORDS),
    "cherma": Reader(_cherma_seed, _cherma, JSON_WORDS),
    **{kind: Reader(MINIATURES[kind], corpus_reader(kind), JSON_WORDS) for kind in MINIATURES},
    "toml": Reader(
        _toml_seed, _toml, (b"[[", b"]]", b" = ", b"[train]", b"nan", b"1979-05-27", b"{")
    ),
    "manifest": Reader(_manifest_seed, _manifest, JSON_WORDS),
    "store": Reader(_store_seed, _store, JSON_WORDS),
    "run": Reader(_run_seed, _run, JSON_WORDS),
    "checkpoint": Reader(_checkpoint_seed, _checkpoint, JSON_WORDS),
    "faces": Reader(_faces_seed, _faces, (b"PK\x03\x04", b"|O", b"<U9", b"(3, 3)")),
    "sweep": Reader(_sweep_seed, _sweep, JSON_WORDS),
    "media": Reader(_media_seed, _media, (b"moov", b"stts", b"mdat"), also=_media_errors()),
}
