"""Real media and real pipelines, small: what several test files share."""

import csv
import os
import shutil
import struct
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray

# Before torch is imported, and for subprocesses too: tiny models on several threads of a busy
# machine spend their time waiting for one another, ten to twenty times what the work takes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import sedimental
from sedimental.config import Config, load_config


class RootIsNoPackage:
    """The root's `__init__.py` is the package's own, not a test's; a clone may have any name."""

    def pytest_collect_directory(self, path: Path, parent: pytest.Collector) -> pytest.Dir | None:
        is_root = path == Path(__file__).parent.parent
        return pytest.Dir.from_parent(parent, path=path) if is_root else None


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(RootIsNoPackage())
    # How long an example takes says how busy the machine is, not whether the code is right.
    settings.register_profile(
        "untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("untimed")


DEMO = Path(sedimental.__path__[0]) / "extract/corpora/demo"


class WriteVideo(Protocol):
    """Writes an mp4: frames (RGB) shown at `times` seconds, sound (channels, samples) at `rate`."""

    def __call__(
        self,
        path: Path,
        frames: Sequence[NDArray[np.uint8]] = (),
        times: Sequence[float] | None = None,
        sound: NDArray[np.float32] | None = None,
        rate: int = 16_000,
    ) -> Path: ...


@pytest.fixture(scope="session")
def write_video() -> WriteVideo:
    def write(
        path: Path,
        frames: Sequence[NDArray[np.uint8]] = (),
        times: Sequence[float] | None = None,
        sound: NDArray[np.float32] | None = None,
        rate: int = 16_000,
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        base = Fraction(1, 12_800)
        with av.open(str(path), "w") as container:
            video: Any = None
            if len(frames):
                video = container.add_stream("libx264", rate=25, options={"crf": "10", "bf": "0"})
                video.height, video.width = frames[0].shape[:2]
                video.pix_fmt = "yuv420p"
                video.codec_context.time_base = video.time_base = base
            voice: Any = None
            if sound is not None:
                voice = container.add_stream("aac", rate=rate)
                voice.layout = {1: "mono", 2: "stereo"}[len(sound)]
            for index, image in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                moment = times[index] if times is not None else index / 25
                frame.pts, frame.time_base = round(moment / base), base
                container.mux(video.encode(frame))
            if video is not None:
                container.mux(video.encode(None))
            if voice is not None and sound is not None:
                layout = {1: "mono", 2: "stereo"}[len(sound)]
                block = av.AudioFrame.from_ndarray(
                    np.ascontiguousarray(sound, np.float32), format="fltp", layout=layout
                )
                block.sample_rate, block.pts = rate, 0
                container.mux(voice.encode(block))
                container.mux(voice.encode(None))
        return path

    return write


@pytest.fixture(scope="session")
def turned() -> Callable[[Path, int], Path]:
    """Gives a file a display matrix that asks for so many quarter turns clockwise."""

    def turn(path: Path, quarter: int) -> Path:
        one = 0x10000
        matrices = [(one, 0, 0, one), (0, one, -one, 0), (-one, 0, 0, -one), (0, -one, one, 0)]
        a, b, c, d = matrices[quarter]
        data = bytearray(path.read_bytes())
        upright = struct.pack(">9i", one, 0, 0, 0, one, 0, 0, 0, 0x40000000)
        at = data.index(upright, data.index(b"tkhd"))
        data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 0x40000000)
        path.write_bytes(data)
        return path

    return turn


def _rows() -> list[dict[str, str]]:
    with (DEMO / "label.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="session")
def demo_rows() -> list[dict[str, str]]:
    """Lines of the demo corpus's label.csv."""
    return _rows()


MakeCorpus = Callable[..., Path]


@pytest.fixture
def make_corpus(tmp_path: Path) -> MakeCorpus:
    """A folder in the mmsa layout with copies of the first demo clips: `make_corpus(count=6)`.

    The splits go round train, train, valid, test, so that every split has clips.
    """

    def make(count: int = 6, name: str = "little") -> Path:
        folder = tmp_path / name
        rows = _rows()[:count]
        for row, split in zip(rows, ("train", "train", "valid", "test") * count, strict=False):
            row["mode"] = split
            own = Path("Raw", row["video_id"], f"{row['clip_id']}.mp4")
            (folder / own).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(DEMO / own, folder / own)
        with (folder / "label.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, rows[0])
            table.writeheader()
            table.writerows(rows)
        return folder

    return make


MakePipeline = Callable[..., Path]
_FEATURES = {
    "vision": '[[features]]\nmodality = "vision"\nencoder = "tiny-clip"\n',
    "audio": '[[features]]\nmodality = "audio"\nencoder = "tiny-wavlm"\n',
    "text": '[[features]]\nmodality = "text"\nencoder = "tiny-bert"\n',
}


@pytest.fixture
def make_pipeline(tmp_path: Path) -> MakePipeline:
    """A pipeline.toml over a corpus: `make_pipeline(folder, modalities=("text",), more="…")`."""

    def make(
        corpus: Path,
        modalities: Sequence[str] = ("vision", "audio", "text"),
        kind: str = "mmsa",
        cache: str = "",
        more: str = "",
        name: str = "pipeline.toml",
    ) -> Path:
        text = f'[corpus]\nkind = "{kind}"\npath = "{corpus}"\n[cache]\n{cache}\n'
        text += "".join(_FEATURES[m] for m in modalities) + more
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return make


MakeFeatures = Callable[..., Path]
_PREPROCESSING: dict[str, dict[str, Any]] = {
    "text": {"max_length": 512},
    "audio": {"rate": 5.0, "pool": "stride"},
    "vision": {"fps": 3.0, "face_size": 256, "margin": 0, "no_face": "zero", "detect_size": 640},
}


@pytest.fixture
def make_features(tmp_path: Path) -> MakeFeatures:
    """A folder with a pipeline.toml, a manifest and finished stores of all modalities, to train on:
    `make_features("[train]…", clips=60)`. Half of the clips are for training; two lack audio."""
    from sedimental.cache.manifest import Clip, Manifest, write_manifest
    from sedimental.cache.spec import MODALITIES, FeatureSpec
    from sedimental.cache.store.clip_features import ClipFeatures
    from sedimental.cache.store.writer import StoreWriter

    def make(train: str, clips: int = 60, name: str = "made") -> Path:
        root, random = tmp_path / name, np.random.default_rng(0)
        folder = root / "features" / "toy"
        splits = ["train"] * (clips // 2) + ["valid"] * (clips // 4)
        splits += ["test"] * (clips - len(splits))
        labels = random.uniform(-3, 3, clips)
        rows = tuple(
            Clip(f"v{k % 3}$_${k}", f"v{k % 3}", str(k), split, label=float(label))  # type: ignore[arg-type]
            for k, (split, label) in enumerate(zip(splits, labels, strict=True))
        )
        write_manifest(folder / "manifest.jsonl", Manifest("toy", root, rows))
        for modality in MODALITIES:
            spec = FeatureSpec(
                modality=modality,
                encoder=f"tiny-{modality}",
                source=f"maker/tiny-{modality}",
                revision=None,
                weights="random:0",
                weights_digest="00",
                layers=("0", "1"),
                width=6,
                preprocessing=_PREPROCESSING[modality],
            )
            missing = [row.id for row in rows[1:3]] if modality == "audio" else []
            made = []
            for row in rows:
                frames = int(random.integers(2, 9))
                values = random.normal(0, 1, (2, frames, 6)) + 0.3 * (row.label or 0)
                times = np.arange(frames, dtype=np.float32)
                side = times, times * 0 + 1, np.arange(frames) % 4 < 3
                if row.id not in missing:
                    made.append(ClipFeatures(row.id, "s", values.astype(np.float32), *side, {}))
            writer = StoreWriter.create(folder, spec, "zarr")
            writer.add(made)
            writer.finish({row.id: "s" for row in rows}, dict.fromkeys(missing, "no audio"))
        features = "".join(
            f'[[features]]\nmodality = "{m}"\nencoder = "tiny-{m}"\n' for m in MODALITIES
        )
        inputs = "".join(f'{m} = {{ encoder = "tiny-{m}", layers = 1 }}\n' for m in MODALITIES)
        text = (
            f'[corpus]\nkind = "csv"\npath = "toy.csv"\n{features}{train}\n[train.inputs]\n{inputs}'
        )
        (root / "pipeline.toml").write_text(text, encoding="utf-8")
        return root / "pipeline.toml"

    return make


_SIZE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
}
_SPEECH = _SIZE | {"conv_dim": (16,) * 7, "num_conv_pos_embedding_groups": 4}
_STABLE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
_POSITIONS = {"num_conv_pos_embeddings": 12}
ENCODERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "bert": ("Bert", _SIZE | {"vocab_size": 1000}),
    "roberta": ("Roberta", _SIZE | {"vocab_size": 1000, "max_position_embeddings": 120}),
    "wavlm": ("WavLM", _SPEECH | _POSITIONS | _STABLE | {"num_buckets": 32}),
    "wavlm-base": ("WavLM", _SPEECH | _POSITIONS | {"num_buckets": 32}),
    "hubert": ("Hubert", _SPEECH | _POSITIONS | _STABLE),
    "hubert-base": ("Hubert", _SPEECH | _POSITIONS),
    "data2vec": ("Data2VecAudio", _SPEECH | {"num_conv_pos_embeddings": 5}),
}


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Tiny encoders with three blocks, by kind, as `save_pretrained` leaves them; no bias is zero
    and no norm plain, as in life."""
    import torch
    import transformers

    from sedimental.extract.encoders.made_tokenizers import made_tokenizer

    root = tmp_path_factory.mktemp("kinds")
    for number, (name, (base, config)) in enumerate(ENCODERS.items()):
        torch.manual_seed(number)
        own = getattr(transformers, f"{base}Config")(**config)
        model = getattr(transformers, f"{base}Model")(own)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 1:
                    parameter.add_(0.1 * torch.randn(parameter.shape))
        model.save_pretrained(root / name)
        if name in ("bert", "roberta"):
            made_tokenizer(name == "roberta", "latin").save_pretrained(root / name)
        else:
            normal = "base" not in name
            transformers.Wav2Vec2FeatureExtractor(do_normalize=normal).save_pretrained(root / name)
    return {name: root / name for name in ENCODERS}


@pytest.fixture(scope="module")
def made(
    folders: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Config]:
    """`made(text="bert", audio="wavlm", live="TA")`: a pipeline over 16 clips of the demo corpus,
    extracted; keys of [train] and of its inputs can be added."""
    root = tmp_path_factory.mktemp("live")
    corpus = _sixteen_clips(root)

    def make(
        text: str = "bert",
        audio: str = "wavlm",
        live: str = "TA",
        train: str = "",
        text_line: str = "",
        audio_line: str = "",
        rate: int = 10,
        name: str = "",
        tables: str = "",
    ) -> Config:
        lines = [
            ("text", text, text_line or "layers = -1", "T" in live),
            ("audio", audio, audio_line or 'layers = "weighted"', "A" in live),
        ]
        inputs = "".join(
            f'{m} = {{ encoder = "{folders[e]}", {line}{", live = true" if on else ""} }}\n'
            for m, e, line, on in lines
            if e
        )
        features = ""
        if text:
            features += f'[[features]]\nmodality = "text"\nencoder = "{folders[text]}"\n'
        if audio:
            features += f'[[features]]\nmodality = "audio"\nencoder = "{folders[audio]}"\n'
            features += f'rate = {rate}\npool = "mean"\n'
        mode = "finetune" if live else "frozen"
        file = root / f"pipeline-{len(list(root.glob('*.toml')))}.toml"
        file.write_text(
            f'[corpus]\nkind = "mmsa"\npath = "{corpus}"\n[cache]\ndtype = "float32"\n{features}'
            f'[runs]\nname = "{name or file.stem}"\n[evaluate]\nbootstrap = 0\n'
            f'[train]\nmode = "{mode}"\nseeds = [1]\nepochs = 2\nbatch_size = 3\n{train}\n'
            f"[train.inputs]\n{inputs}[train.uegd]\nhidden = 16\nembedding = 8\ndropout = 0.0\n"
            f"{tables}",
            encoding="utf-8",
        )
        config = load_config(file)
        assert not sedimental.extract(config).failures
        return config

    return make


def _sixteen_clips(root: Path) -> Path:
    with (DEMO / "label.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:16]
    for row, split in zip(rows, ("train", "train", "valid", "test") * 4, strict=True):
        row["mode"] = split
        own = Path("Raw", row["video_id"], f"{row['clip_id']}.mp4")
        (root / "little" / own).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(DEMO / own, root / "little" / own)
    with (root / "little/label.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    return root / "little"
