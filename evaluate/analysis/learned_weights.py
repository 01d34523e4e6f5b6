"""Weights that models give to modalities and to layers, as their runs have kept them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...cache.runs import Run
from ...cache.spec import MODALITIES, Modality
from ..metrics import Scores

GATES = ("gate", "weights_global")
"""Outputs (clips, modalities) that weigh modalities: UEGD's gate (Eq. 4), and how GLoMo weighs
global representations (Eq. 10)."""


@dataclass(frozen=True)
class Gates:
    """How one row weighs its modalities, clip by clip."""

    row: str
    output: str
    """One of `GATES`."""
    weights: Mapping[Modality, Scores]
    """Of test clips, all seeds together."""


@dataclass(frozen=True)
class LayerWeights:
    """What a learned mixture of layers settled on."""

    names: tuple[str, ...]
    weights: Scores
    """(seeds, layers)."""


@dataclass(frozen=True)
class Mixtures:
    """The learned mixtures of one row."""

    row: str
    weights: Mapping[Modality, LayerWeights]


def gates_of(rows: Mapping[str, Sequence[Run]]) -> tuple[Gates, ...]:
    """Of each model the first row (name -> its runs) with gates over most modalities."""
    found: dict[str, Gates] = {}
    for row, runs in rows.items():
        for output in GATES:
            weights = _weights(runs, output)
            best = found.get(runs[0].label)
            if weights and (best is None or len(weights) > len(best.weights)):
                found[runs[0].label] = Gates(row, output, weights)
    return tuple(found.values())


def _weights(runs: Sequence[Run], output: str) -> dict[Modality, Scores]:
    columns: dict[Modality, list[Scores]] = {}
    for run in runs:
        gate = run.outputs.get(output)
        if gate is None or gate.ndim != 2 or len(gate) != len(run.predictions.ids):
            continue
        kept = gate[[split == "test" for split in run.predictions.splits]]
        for modality, column in gate_columns(kept, run.modalities).items():
            columns.setdefault(modality, []).append(column[np.isfinite(column)])
    joined = {m: np.concatenate(columns[m]) for m in MODALITIES if m in columns}
    return {m: values for m, values in joined.items() if values.size}


def gate_columns(gate: Scores, modalities: Sequence[Modality]) -> dict[Modality, Scores]:
    """The weights (clips,) of each of a run's `modalities`, from an output (clips, columns)."""
    # a model keeps either a column a modality it was given, or always all three
    names = modalities if gate.shape[1] == len(modalities) else MODALITIES
    return {m: column for m, column in zip(names, gate.T, strict=False) if m in modalities}


def mixtures_of(rows: Mapping[str, Sequence[Run]]) -> Mixtures | None:
    """Of the first row that mixes layers."""
    for row, runs in rows.items():
        if weights := _layers(runs):
            return Mixtures(row, weights)
    return None


def _layers(runs: Sequence[Run]) -> dict[Modality, LayerWeights]:
    found: dict[Modality, LayerWeights] = {}
    for modality in MODALITIES:
        names = {i.layers for r in runs for i in r.inputs if i.modality == modality and i.weighted}
        weights = [r.outputs[k] for r in runs if (k := f"layers_{modality}") in r.outputs]
        if len(names) == 1 and weights:
            [layers] = names
            if all(w.shape == (len(layers),) for w in weights):
                found[modality] = LayerWeights(layers, np.stack(weights))
    return found
