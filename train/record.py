"""What is kept of a trained model: its record, its scores of every clip, its weights file."""

import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from ..cache.runs import OtherCriterion, Predictions, Run
from ..cache.runs.code import commit, packages_digest
from ..cache.runs.extraction import Extraction
from ..cache.runs.identity import code_version
from ..cache.runs.representations import MOST, Representations, halved
from ..cache.spec import SPLITS, Modality, Split
from ..config import Config
from .data.dataset import Selection
from .data.live_inputs import Reading, live_of
from .data.missing_features import undamaged
from .device import peak_memory
from .distributed.ranks import SINGLE_PROCESS, Ranks
from .fit.early_stopping import BestEpoch
from .fit.loop import predict
from .fit.scoring import metrics_of, said
from .models.shared.interface import FusionModel
from .plan import Plan

OUTPUTS = "outputs."
"""Begins the names of the tensors in a weights file that turn answers into the labels' units."""


def finished_run(
    plan: Plan,
    model: FusionModel,
    fitted: BestEpoch,
    data: Selection,
    config: Config,
    seconds: float,
    ranks: Ranks = SINGLE_PROCESS,
) -> tuple[Run, bytes]:
    """The record of a run whose training took `seconds`, and its weights file."""
    began = time.perf_counter()
    rivals = {}
    for name, rival in fitted.rivals.items():
        if rival.undefined:
            continue  # it has chosen nothing
        model.load_state_dict(rival.state)
        rivals[name] = OtherCriterion(
            rival.best_epoch, _final(model, data, config.evaluate.protocol, ranks)[2]
        )
    model.load_state_dict(fitted.state)
    predictions, outputs, metrics, kept = _final(model, data, config.evaluate.protocol, ranks)
    environment = _environment(data.labels.device, config.train.threads)
    if plan.stack:
        environment["stacked"] = " ".join(map(str, plan.stack))
    if ranks.count > 1:
        environment["processes"] = str(ranks.count)
    chosen_by = plan.settings.criterion
    criterion = chosen_by if chosen_by == "valid_loss" else f"valid_{chosen_by}"
    if fitted.undefined:
        criterion = f"valid_loss, as {criterion} was undefined in every epoch"
    run = Run(
        corpus=config.corpus.slug,
        model=plan.model,
        modalities=plan.modalities,
        seed=plan.seed,
        key=plan.key,
        identity=plan.identity,
        options=asdict(plan.options),
        config={
            **config.train.model_dump(mode="json"),
            **asdict(plan.settings),
            **({"words": config.words.model_dump(mode="json")} if config.train.aligned else {}),
            "encoders": {m: asdict(tuning) for m, tuning in plan.tuning.items()},
        },
        inputs=tuple(one.record for one in plan.inputs),
        environment=environment,
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        criterion=criterion,
        best_epoch=fitted.best_epoch,
        seconds=seconds + time.perf_counter() - began,
        coverage=data.coverage,
        history=tuple(fitted.history),
        metrics=metrics,
        predictions=predictions,
        outputs=outputs,
        representations=kept,
        memory=peak_memory(data.labels.device),
        rivals=rivals,
        protocol=config.evaluate.protocol,
        extraction=_extraction(plan, config),
    )
    return run, save(_weights(fitted, data))


def summary(run: Run) -> str:
    """``best epoch 12, valid MAE 0.7123``."""
    valid = run.metrics["valid"]
    name = "MAE" if "Corr" in valid else next(iter(valid))
    return f"best epoch {run.best_epoch}, valid {name} {run.metrics['valid'][name]:.4f}"


def _final(
    model: FusionModel, data: Selection, protocol: str, ranks: Ranks
) -> tuple[
    Predictions,
    Mapping[str, NDArray[np.float64]],
    Mapping[Split, Mapping[str, float]],
    Representations | None,
]:
    """What the best epoch says of every clip, in manifest order, all it says beside, how good that
    is on each split, and the vectors behind it."""
    rows = torch.cat([data.rows[split] for split in SPLITS]).sort().values
    scores, table = predict(model, data, rows, ranks, representations=True), data.table
    listed = rows.tolist()
    answers, truth = scores.values, table.labels[listed]
    splits = tuple(table.splits[row] for row in listed)
    predictions = Predictions(
        ids=tuple(table.ids[row] for row in listed),
        splits=splits,
        labels=truth,
        values=said(answers, table),
        classes=table.classes,
        probabilities=softmax(answers) if table.classes else None,
        several=table.several,
    )
    own = {name: value.cpu().double().numpy() for name, value in model.outputs().items()}
    metrics = {}
    for split in SPLITS:
        of_split = np.array([s == split for s in splits])
        metrics[split] = metrics_of(answers[of_split], truth[of_split], table, protocol)
    kept = representations_of(scores.representations, splits)
    return predictions, {**scores.extras, **own}, metrics, kept


def representations_of(
    vectors: Mapping[str, NDArray[np.float32]], splits: Sequence[Split]
) -> Representations | None:
    """What is kept of `vectors`, each (clips, width): at most `MOST` numbers.

    Every clip's where that is enough, else those of test clips, evenly over them if need be.
    """
    width = sum(vector.shape[1] for vector in vectors.values())
    if not width:
        return None
    rows = np.arange(len(splits))
    if len(rows) * width > MOST:
        rows = np.flatnonzero(np.array(splits) == "test")
        rows = rows[:: max(1, -(-len(rows) * width // MOST))]
    return Representations(rows, {name: halved(v[rows]) for name, v in vectors.items()})


def _extraction(plan: Plan, config: Config) -> dict[Modality, Extraction]:
    """How the features of each input are made, as far as the config says."""
    live = live_of(plan.inputs)
    return {
        one.modality: Extraction(
            table=table.model_dump(mode="json"),
            spec=one.spec,
            start=live[one.modality].start if one.modality in live else None,
        )
        for one in plan.inputs
        if (table := config.features_of(one.modality)) is not None
    }


def softmax(answers: NDArray[np.float64]) -> NDArray[np.float64]:
    """(clips, classes) logits -> probabilities."""
    raised = np.exp(answers - answers.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = raised / raised.sum(axis=1, keepdims=True)
    return shares


def _weights(fitted: BestEpoch, data: Selection) -> dict[str, Tensor]:
    scales = {m: s.scaling for m, s in data.sources.items() if s.scaling is not None}
    sources = {m: undamaged(source) for m, source in data.sources.items()}
    normed = [m for m, s in sources.items() if isinstance(s, Reading) and s.normed]
    scale = dict(zip(("mean", "deviation"), data.table.scale or (), strict=False))
    return {
        **{f"{OUTPUTS}{name}": torch.from_numpy(value) for name, value in scale.items()},
        **{name: value.contiguous() for name, value in fitted.state.items()},
        **{f"inputs.{m}.mean": scale.mean.cpu() for m, scale in scales.items()},
        **{f"inputs.{m}.deviation": scale.deviation.cpu() for m, scale in scales.items()},
        **{f"inputs.{m}.normed": torch.ones(1) for m in normed},
    }


def _environment(device: torch.device, threads: int) -> dict[str, str]:
    on_gpu = device.type == "cuda"
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "sedimental": code_version(),
        **({"commit": commit()} if commit() else {}),
        "packages": packages_digest(),
        "device": torch.cuda.get_device_name(device) if on_gpu else "cpu",
        "threads": str(threads),
        "platform": platform.platform(),
    }
