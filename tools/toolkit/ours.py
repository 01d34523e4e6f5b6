"""Our side of the comparison: the generated clips in memory, and models of the presets."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from sedimental.cache.spec import MODALITIES, Split
from sedimental.cache.store.store import Ragged
from sedimental.config import TrainConfig
from sedimental.train.data.dataset import Corpus, Selection, Source, Table
from sedimental.train.data.load import arrange
from sedimental.train.fit.seeding import stream
from sedimental.train.fit.settings import Settings, resolve
from sedimental.train.models import build, model_options, model_recipe
from sedimental.train.models.shared.interface import Batch, FusionModel, InputShape

from .generated_file import SPLITS, WIDTHS, split
from .weights import WEIGHTS

PRESET = "mmsa-mosi"


def corpus(clips: Sequence[int], frames: Mapping[str, int], uneven: bool = True) -> Selection:
    """What `generated_file.write` has written of so many clips, in memory."""
    parts = [split(count, 100 + k, frames, uneven) for k, count in enumerate(clips)]
    names: list[Split] = [n for n, c in zip(SPLITS, clips, strict=True) for _ in range(c)]  # type: ignore[misc]
    ids = tuple(str(one) for part in parts for one in part["id"])
    labels = np.concatenate([part["regression_labels"] for part in parts]).astype(np.float64)
    table = Table(ids, tuple(names), labels, dict.fromkeys(names, 0))
    sources = dict[Any, Source]()
    for m in MODALITIES:
        rows = [
            values[:length]
            for part in parts
            for values, length in zip(
                part[m],
                part["text_bert"][:, 1].sum(axis=1).astype(int)
                if m == "text"
                else part[f"{m}_lengths"],
                strict=True,
            )
        ]
        offsets = np.concatenate([[0], np.cumsum([len(r) for r in rows])])
        ragged = Ragged(np.concatenate(rows)[None].astype(np.float32), offsets, ids)
        known = np.ones(offsets[-1], np.bool_)
        sources[m] = arrange(table, ragged, known, False, "none", torch.device("cpu"))
    return Corpus(table, sources, torch.from_numpy(labels).float()).select(MODALITIES)


def model_of(name: str, seed: int) -> FusionModel:
    """A model of the preset."""
    shapes = {m: InputShape(WIDTHS[m]) for m in MODALITIES}
    return build(name, model_options(name, {}, PRESET), shapes, stream(seed, "init"), 0)


def settings_of(name: str, epochs: int, batch: int | None) -> Settings:
    """Its recipe in the preset, for so many `epochs`, whatever the validation loss does."""
    recipe = replace(model_recipe(name, {}, PRESET), epochs=epochs, patience=None)
    return resolve(replace(recipe, batch_size=batch or recipe.batch_size), TrainConfig())


def distance(name: str, file: Path) -> tuple[int, float]:
    """Our weights, and the largest difference of scores with the reference's weights in ours."""
    tensors = load_file(file)
    given = {k.removeprefix("weight."): v for k, v in tensors.items() if k.startswith("weight.")}
    model = model_of(name, 0)
    unknown = model.load_state_dict(WEIGHTS[name](given), strict=False).unexpected_keys  # type: ignore[call-arg]
    if unknown:
        raise ValueError(f"{name}: {', '.join(unknown)} are not ours.")
    model.eval()
    features = {m: tensors[f"input.{m}"] for m in MODALITIES}
    masks = {m: torch.ones(x.shape[:2], dtype=torch.bool) for m, x in features.items()}
    clips = len(tensors["scores"])
    with torch.no_grad():
        found = model(Batch(features, masks, torch.zeros(clips), torch.arange(clips)))
    count = sum(p.numel() for p in model.parameters())
    return count, float((found.prediction - tensors["scores"]).abs().max())
