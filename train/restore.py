"""A finished run's model from its folder, with its best weights and all that scales its inputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from ..cache.runs import read_weights
from ..cache.spec import Modality
from ..errors import RunError
from .data.dataset import Selection
from .data.load import Wanted
from .data.standardize import Scaling
from .models.shared.hooks import Remembers, Training
from .models.shared.interface import FusionModel
from .plan import Plan
from .record import OUTPUTS
from .train_model import built

SCALINGS = "inputs."
"""Begins the names of the tensors in a weights file that are no weights."""


@dataclass(frozen=True)
class Weights:
    """What the weights file of a run holds."""

    model: Mapping[str, Tensor]
    """By name, as in `state_dict`."""
    scalings: Mapping[Modality, Wanted]
    """How each modality is scaled."""
    scale: tuple[NDArray[np.float64], NDArray[np.float64]] | None
    """Of dimensions: what turns the model's answers into the labels' units, see `Table.scale`."""


def weights_in(folder: Path) -> Weights:
    """Those of the run in `folder`; raises RunError if they cannot be read."""
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
    return Weights(model, scalings, (scale[0], scale[1]) if scale else None)


def restore(plan: Plan, data: Selection) -> FusionModel:
    """The model of a finished run with its best weights, on the device of `data`.

    Raises RunError if the weights are those of another version of the model.
    """
    model = built(plan, data)
    rows = data.rows["train"].to(data.labels.device)
    if isinstance(model, Remembers):  # makes room for what it remembers of each clip
        with torch.no_grad():
            model.begin(Training(len(data.table.ids), rows, data.labels[rows], plan.seed))
    try:
        model.load_state_dict(weights_in(plan.folder).model)
    except RuntimeError as fault:
        raise RunError(
            f"{plan.folder}: its weights do not fit {plan.model} as it is now. "
            f"`sedimental train --fresh` makes the run anew. ({shorten(str(fault), 300)})"
        ) from None
    return model
