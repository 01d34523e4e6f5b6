"""Encoders trained along: untouched they give what the cache holds, and they learn as they should."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor

import sedimental
from sedimental.cache.errors import RunError, SedimentalError
from sedimental.cache.manifest import read_manifest
from sedimental.cache.runs import Run, list_runs, read_run
from sedimental.cache.store import open_store
from sedimental.config import Config, ConfigError, InputConfig, load_config
from sedimental.extract.encoders.live import LiveEncoder, LiveSound, LiveText
from sedimental.extract.encoders.loading import EncoderError, resolve
from sedimental.extract.encoders.made_tokenizers import made_tokenizer
from sedimental.extract.live import live_input
from sedimental.train.data import Selection
from sedimental.train.live_model import LiveModel
from sedimental.train.loop import predict
from sedimental.train.optimising import groups_of
from sedimental.train.plan import Plan
from sedimental.train.run import Workshop, built
from sedimental.train.run import train as plain_train

SIZE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
}
SPEECH = SIZE | {"conv_dim": (16,) * 7, "num_conv_pos_embedding_groups": 4}
STABLE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
POSITIONS = {"num_conv_pos_embeddings": 12}
KINDS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "bert": ("Bert", SIZE | {"vocab_size": 1000}),
    "roberta": ("Roberta", SIZE | {"vocab_size": 1000, "max_position_embeddings": 120}),
    "wavlm": ("WavLM", SPEECH | POSITIONS | STABLE | {"num_buckets": 32}),
    "wavlm-base": ("WavLM", SPEECH | POSITIONS | {"num_buckets": 32}),
    "hubert": ("Hubert", SPEECH | POSITIONS | STABLE),
    "hubert-base": ("Hubert", SPEECH | POSITIONS),
    "data2vec": ("Data2VecAudio", SPEECH | {"num_conv_pos_embeddings": 5}),
}
TEXT = ("bert", "roberta")
AUDIO = tuple(name for name in KINDS if name not in TEXT)
LAYERS = 3


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Each kind as `save_pretrained` leaves it; no bias is zero and no norm plain, as in life."""
    root = tmp_path_factory.mktemp("kinds")
    for number, (name, (base, config)) in enumerate(KINDS.items()):
        torch.manual_seed(number)
        own = getattr(transformers, f"{base}Config")(**config)
        model = getattr(transformers, f"{base}Model")(own)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 1:
                    parameter.add_(0.1 * torch.randn(parameter.shape))
        model.save_pretrained(root / name)
        if name in TEXT:
            made_tokenizer(name == "roberta", "latin").save_pretrained(root / name)
        else:
            normal = "base" not in name
            transformers.Wav2Vec2FeatureExtractor(do_normalize=normal).save_pretrained(root / name)
    return {name: root / name for name in KINDS}


MakeConfig = Callable[..., Config]


@pytest.fixture(scope="module")
def made(folders: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> MakeConfig:
    """`made(text="bert", audio="wavlm", live="TA")`: a pipeline over 16 clips of the demo corpus,
    extracted; keys of [train] and of its inputs can be added."""
    root = tmp_path_factory.mktemp("live")
    corpus = sixteen_clips(root)

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
            "mask_time = 0.0\nmask_width = 0.0\n"
            f"{tables}",
            encoding="utf-8",
        )
        config = load_config(file)
        assert not sedimental.extract(config).failures
        return config

    return make


def sixteen_clips(root: Path) -> Path:
    import csv
    import shutil

    demo = Path(sedimental.__path__[0]) / "extract/corpora/demo"
    with (demo / "label.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:16]
    for row, split in zip(rows, ("train", "train", "valid", "test") * 4, strict=True):
        row["mode"] = split
        own = Path("Raw", row["video_id"], f"{row['clip_id']}.mp4")
        (root / "little" / own).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(demo / own, root / "little" / own)
    with (root / "little/label.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    return root / "little"


def trained(config: Config) -> Run:
    [run] = sedimental.train(config)
    return run


STILL = "learning_rate = 0.0, weight_decay = 0.0, dropout = 0.0"


@pytest.mark.parametrize("audio", AUDIO)
@pytest.mark.parametrize("text", TEXT)
def test_untouched_live_encoders_predict_what_cached_layers_do(
    made: MakeConfig, text: str, audio: str
) -> None:
    """At rate 0 and without dropout, for every combination of live and cached."""
    lines = {"text_line": "layers = [-1, 1]", "audio_line": 'layers = "weighted"'}
    expected = trained(made(text, audio, live="", **lines)).predictions.values
    assert np.ptp(expected) > 0.01
    for live in ("T", "A", "TA"):
        still = {
            key: f"{line}, {STILL}" if key[0].upper() in live else line
            for key, line in lines.items()
        }
        run = trained(made(text, audio, live=live, **still))
        assert run.finetuned
        np.testing.assert_allclose(run.predictions.values, expected, atol=1e-4)
