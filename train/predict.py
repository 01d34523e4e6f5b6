"""What a finished run says of other clips: its model from its folder, features from a cache."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from ..cache.answers import ClipPredictions
from ..cache.manifest import Manifest
from ..cache.runs import InputRecord, Run, read_weights
from ..cache.runs.identity import identity_of
from ..cache.spec import Modality
from ..cache.store.find import store_of
from ..cache.store.store import open_store
from ..config import Config, ConfigError
from ..errors import RunError
from .data.dataset import Selection, Table
from .data.inputs import Input, aligned
from .data.live_inputs import FindLive, LiveInput
from .data.load import Wanted, load
from .data.standardize import Scaling
from .device import find_device
from .fit.loop import begin, predict
from .fit.scoring import said
from .fit.settings import settings_of
from .live_model import LiveModel, Tuning
from .models import model_options
from .models.shared.hooks import Forgets
from .models.shared.interface import FusionModel
from .models.shared.missing_frames import without_own_masking
from .plan import Plan
from .record import OUTPUTS, softmax
from .session import built

LabelScale = tuple[NDArray[np.float64], NDArray[np.float64]]
"""`Table.scale`."""
SCALINGS = "inputs."
"""Begins the names of the tensors in a weights file that are no weights."""


def answer(
    run: Run, folder: Path, config: Config, manifest: Manifest, live: FindLive | None = None
) -> ClipPredictions:
    """Ask the `run` in `folder` about every clip of `manifest`, whose features `config` caches.

    Nothing is hidden from it, whatever it was trained on. `live` finds inputs whose encoders were
    trained along. Raises RunError for a folder whose weights are gone or of another model,
    StoreError where features are not cached as the run read them.
    """
    weights, scalings, scale = weights_in(folder)
    inputs = tuple(_input(record, run, config, live) for record in run.inputs)
    own = run.predictions
    table = Table.unrated(manifest.clips, own.classes, own.several, scale)
    corpus = load(table, inputs, scalings, find_device(config.train.device))
    every = torch.arange(len(table.ids))
    data = Selection(table, corpus.sources, corpus.labels, rows={"test": every})
    model = _model(run, folder, config, inputs, data, weights)
    present = {m: source.present for m, source in data.sources.items()}
    asked = torch.from_numpy(np.flatnonzero(np.logical_or.reduce(list(present.values()))))
    if not len(asked):
        return _answers(table, asked, np.zeros((0, table.heads or 1)), present, {})
    with without_own_masking(model.fusion if isinstance(model, LiveModel) else model):
        scores = predict(model, data, asked)
    return _answers(table, asked, scores.values, present, scores.extras)


def _input(
    record: InputRecord, run: Run, config: Config, live: FindLive | None
) -> Input | LiveInput:
    made = run.extraction[record.modality]
    if not record.live:
        if made.spec.weights.startswith("imported"):  # another file has a fingerprint of its own
            store = store_of(config, record.modality, record.encoder)
        else:
            store = open_store(config.corpus_cache / made.spec.folder_name)
        store = aligned(config, record.modality, store, record.align)
        return Input(record.modality, store, record.layers, record.weighted, record.align)
    if live is None:
        raise RunError(f"{run.row}: nobody handed over its {record.modality} encoder.")
    found = live(config, record.modality, made.start is None)
    if found.start != made.start:  # names of weights count from there
        raise RunError(
            f"{run.row}: {record.encoder} was trained with everything up to block "
            f"{made.start or 0} read from a cache, and now that would be block {found.start or 0}. "
            "`sedimental train --fresh` makes it anew."
        )
    return found


def _model(
    run: Run,
    folder: Path,
    config: Config,
    inputs: tuple[Input | LiveInput, ...],
    data: Selection,
    weights: Mapping[str, Tensor],
) -> FusionModel:
    """The run's model with its best weights, on the device of `data`."""
    try:
        plan = Plan(
            model=run.model,
            options=model_options(run.model, run.options),
            settings=settings_of(config.train, run.model),
            modalities=run.modalities,
            seed=run.seed,
            inputs=inputs,
            identity=run.identity or identity_of({}, run.seed),
            folder=folder,
            tuning={m: Tuning(**one) for m, one in run.config["encoders"].items()},
        )
        model = built(plan, data)
        model.load_state_dict(weights)
    except (ConfigError, RuntimeError, TypeError) as fault:
        made = run.environment.get("sedimental", "another version")
        raise RunError(
            f"{folder}: its weights do not fit {run.model} as it is now; the run is of sedimental "
            f"{made}. `sedimental train --fresh` makes it anew. ({shorten(str(fault), 300)})"
        ) from fault
    if isinstance(model, Forgets):
        model.forget()
    return model


def _answers(
    table: Table,
    asked: Tensor,
    values: NDArray[np.float64],
    present: Mapping[Modality, NDArray[np.bool_]],
    extras: Mapping[str, NDArray[np.float64]],
) -> ClipPredictions:
    """`values` and `extras` of the clips `asked`, with NaN for all others."""

    def spread(own: NDArray[np.float64]) -> NDArray[np.float64]:
        whole = np.full((len(table.ids), *own.shape[1:]), np.nan)
        whole[asked.numpy()] = own
        return whole

    best = said(values, table) if table.heads else values.reshape(-1)
    shares = spread(softmax(values)) if table.classes else spread(best) if table.several else None
    own = {name: spread(extra) for name, extra in extras.items()}
    return ClipPredictions(table.ids, spread(best), shares, present, own)


def weights_in(
    folder: Path,
) -> tuple[dict[str, Tensor], dict[Modality, Wanted], LabelScale | None]:
    """What the weights file of a run holds: the model's weights by name, how each modality is
    scaled, and how the model's answers are. Raises RunError if it cannot be read."""
    try:
        tensors = load_tensors(read_weights(folder))
    except SafetensorError as fault:
        raise RunError(
            f"{folder}: its weights cannot be read ({fault}). `sedimental train --fresh` makes the "
            "run anew."
        ) from fault
    scaled: set[Any] = {name.split(".")[1] for name in tensors if name.startswith(SCALINGS)}
    scalings: dict[Modality, Wanted] = {
        m: "standardize"  # frames of a live encoder, one by one
        if f"{SCALINGS}{m}.normed" in tensors
        else Scaling(tensors[f"{SCALINGS}{m}.mean"], tensors[f"{SCALINGS}{m}.deviation"])
        for m in scaled
    }
    model = {k: v for k, v in tensors.items() if not k.startswith((SCALINGS, OUTPUTS))}
    scale = [tensors[OUTPUTS + k].numpy() for k in ("mean", "deviation") if OUTPUTS + k in tensors]
    return model, scalings, (scale[0], scale[1]) if scale else None


def restore(plan: Plan, data: Selection) -> FusionModel:
    """The model of a finished run with its best weights, on the device of `data`.

    Raises RunError if the weights are those of another version of the model.
    """
    model = built(plan, data)
    begin(model, data, plan.seed)  # makes room for what it remembers of each clip
    try:
        model.load_state_dict(weights_in(plan.folder)[0])
    except RuntimeError as fault:
        raise RunError(
            f"{plan.folder}: its weights do not fit {plan.model} as it is now. "
            f"`sedimental train --fresh` makes the run anew. ({shorten(str(fault), 300)})"
        ) from None
    return model
