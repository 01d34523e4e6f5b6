"""`train`: every model on every modality subset with every seed, a run folder each."""

import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from ..cache.errors import RunError
from ..cache.manifest import read_manifest
from ..cache.progress import Progress, Silent
from ..cache.runs import Predictions, Run, write_run
from ..cache.spec import SPLITS
from ..config import Config
from ..evaluate.metrics import score
from .data import Selection, Table
from .loading import load
from .loop import CRITERION, Fit, fit, predict
from .models import build
from .models.base import FusionModel
from .plan import Plan, plan_runs
from .seeding import stream

TASK = "training"
"""The one task whose progress is told: epochs of all runs."""


def train(config: Config, progress: Progress | None = None, fresh: bool = False) -> tuple[Run, ...]:
    """Train what [train] asks for; a run whose key did not change is read, not repeated.

    Each run is written to its folder as soon as it is done, so that a killed `train` loses only
    the run in flight; `fresh` repeats all. Features are read once, and only if a run needs them.
    Raises ConfigError, ManifestError, StoreError or RunError, each with its remedy.
    """
    told = progress or Silent()
    manifest = read_manifest(config.corpus_cache / "manifest.jsonl")
    table = Table.of(manifest)
    device = find_device(config.train.device)
    plans = plan_runs(config, manifest)
    told.start(TASK, config.train.epochs * len(plans), "epoch")
    done: dict[str, Run] = {}
    for plan in plans:
        if not fresh and (run := plan.finished()) is not None:
            done[plan.title] = run
            told.advance(TASK, config.train.epochs)
            told.note(f"{plan.title}: nothing changed, the finished run stands")
    waiting = [plan for plan in plans if plan.title not in done]
    needed = {one.modality: one for plan in waiting for one in plan.inputs}
    with _threads(config.train.threads):
        corpus = load(table, list(needed.values()), config.train.input_scaling, device)
        for plan in waiting:
            run, weights = train_one(plan, corpus.select(plan.modalities), config, told)
            write_run(plan.folder, run, weights)
            done[plan.title] = run
            mae = run.metrics["valid"]["MAE"]
            told.note(f"{plan.title}: best epoch {run.best_epoch}, valid MAE {mae:.4f}")
    return tuple(done[plan.title] for plan in plans)


def train_one(plan: Plan, data: Selection, config: Config, progress: Progress) -> tuple[Run, bytes]:
    """One run from first weights to scores, and its weights file (safetensors).

    Beside the model's weights the file holds ``inputs.<modality>.mean`` and ``.deviation``, by
    which features were scaled: enough to score a new clip.
    """
    began = time.perf_counter()
    shapes = {m: source.shape for m, source in data.sources.items()}
    model = build(plan.model, plan.options, shapes, stream(plan.seed, "init"))
    model.to(data.labels.device)
    protocol = config.evaluate.protocol
    try:
        fitted = fit(model, data, config.train, plan.seed, protocol, lambda: progress.advance(TASK))
    except RunError as fault:
        raise RunError(f"{plan.title}: {fault}") from fault
    progress.advance(TASK, config.train.epochs - len(fitted.history))  # if it stopped early
    model.load_state_dict(fitted.state)
    predictions, outputs = _final(model, data)
    run = Run(
        corpus=config.corpus.slug,
        model=plan.model,
        modalities=plan.modalities,
        seed=plan.seed,
        key=plan.key,
        options=asdict(plan.options),
        config=config.train.model_dump(mode="json"),
        inputs=tuple(one.record for one in plan.inputs),
        environment=_environment(data.labels.device, config.train.threads),
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        criterion=CRITERION,
        best_epoch=fitted.best_epoch,
        seconds=time.perf_counter() - began,
        coverage=data.coverage,
        history=fitted.history,
        metrics={split: score(*predictions.of(split), protocol) for split in SPLITS},
        predictions=predictions,
        outputs=outputs,
    )
    return run, save(_weights(fitted, data))


def find_device(name: str) -> torch.device:
    """The device that `train.device` means; raises RunError if there is none such."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    found = torch.device(name)
    if found.type != "cuda":
        return found
    number = found.index or 0
    if number >= torch.cuda.device_count():
        raise RunError(
            f'train.device: "{name}" is not there; PyTorch sees {torch.cuda.device_count()} GPUs. '
            'device = "auto" takes what there is.'
        )
    return torch.device("cuda", number)


def _final(
    model: FusionModel, data: Selection
) -> tuple[Predictions, Mapping[str, NDArray[np.float64]]]:
    """What the best epoch says of every clip, in manifest order, and all it says beside."""
    rows = torch.cat([data.rows[split] for split in SPLITS]).sort().values
    scores = predict(model, data, rows)
    kept = rows.tolist()
    predictions = Predictions(
        ids=tuple(data.table.ids[row] for row in kept),
        splits=tuple(data.table.splits[row] for row in kept),
        labels=data.table.labels[kept],
        values=scores.values,
    )
    own = {name: value.cpu().double().numpy() for name, value in model.outputs().items()}
    return predictions, {**scores.extras, **own}


def _weights(fitted: Fit, data: Selection) -> dict[str, Tensor]:
    scales = {m: s.scaling for m, s in data.sources.items() if s.scaling is not None}
    return {
        **{name: value.contiguous() for name, value in fitted.state.items()},
        **{f"inputs.{m}.mean": scale.mean.cpu() for m, scale in scales.items()},
        **{f"inputs.{m}.deviation": scale.deviation.cpu() for m, scale in scales.items()},
    }


def _environment(device: torch.device, threads: int) -> dict[str, str]:
    on_gpu = device.type == "cuda"
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "sedimental": version("sedimental"),
        "device": torch.cuda.get_device_name(device) if on_gpu else "cpu",
        "threads": str(threads),
        "platform": platform.platform(),
    }


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """PyTorch on `count` CPU threads within, as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
