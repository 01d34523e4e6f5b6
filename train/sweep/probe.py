"""The first answer to "which layer?": a linear probe on every stored layer, in seconds.

Ridge regression (softmax regression where there are classes) on the mean over each clip's real
frames. Layers are picked by grouped folds of the training and validation clips, which say more than
one small validation split; what is scored on test is fitted on the training clips. Needs no torch.
"""

import os
import platform
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save
from threadpoolctl import threadpool_limits

from ...cache.corpus.corpus_table import cached_manifest
from ...cache.manifest import Manifest
from ...cache.runs import Predictions, Run, folder_of, write_run
from ...cache.runs.identity import code_version, digest_of, identity_of
from ...cache.spec import LETTERS, SPLITS, Modality
from ...cache.sweeps import Point, Sweep, read_sweep, settled, write_sweep
from ...config import Config, SweepConfig
from ...errors import RunError
from ...progress import Progress, Silent
from ..data.inputs import Input
from ..parts import fold_of, per_fold
from .cross_validation import cross_validated, grouped_folds
from .grid import default_criterion, encoder_of, swept_inputs
from .linear_fits import PENALTIES
from .linear_probe import Labelled, Probe, fit_probe, labelled_parts
from .pooling import pool_layer

TASK = "probing"
"""The one task whose progress is told: layers of all modalities."""
SEED = 0
"""A probe has no randomness; its run folder still needs a number."""
RECIPE = 2
"""Version of everything between features and a probe's numbers."""


def probe(config: Config, progress: Progress | None = None, fresh: bool = False) -> Sweep:
    """Probe every stored layer of every modality of [train.inputs].

    The result lies in ``probe`` below the experiment.

    There are kept: the scores of every layer, and as run folders the best layer of each modality
    and the best layers of all modalities joined. Equal features, labels and settings are not
    probed again unless `fresh`. Raises StoreError, ManifestError or RunError with a remedy.
    """
    told, config = progress or Silent(), config.frozen
    # a probe is cheap: it goes through everything, whatever a sweep is limited to
    limits = {"layers": "all", "modalities": None}
    section = (config.sweep or SweepConfig()).model_copy(update=limits)
    manifest = cached_manifest(config)
    parts = labelled_parts(config, manifest)
    clips = parts[0]
    inputs = _known(swept_inputs(config, section), clips, told)
    criterion = section.criterion or default_criterion(clips.classes)
    folder = config.experiment / "probe"
    key = _key(manifest, parts, inputs, section, config, criterion)
    kept = read_sweep(folder)
    if kept is not None and kept.key == key and not fresh:
        told.note("probe: nothing changed, the finished one stands")
        return kept
    encoders = {one.modality: encoder_of(one, config, section) for one in inputs}
    valid = {one.modality: one.store.side("valid") for one in inputs}
    jobs = [(one, layer) for one in inputs for layer in encoders[one.modality].layers]
    told.start(TASK, len(jobs), "layer")

    held = [_held(own) for own in parts]

    def fitted_of(pooled: Sequence[NDArray[np.float32]]) -> tuple[list[Probe], list[Folds]]:
        fits = [fit_probe(pooled, own) for own in parts]
        return fits, [cross_validated(pooled, *own) for own in zip(parts, held, strict=True)]

    def work(job: tuple[Input, str]) -> tuple[list[Probe], list[Folds], float]:
        one, layer = job
        began = time.perf_counter()
        pooled = pool_layer(one.store, layer, clips.ids, valid[one.modality])
        fits, folds = fitted_of([pooled])
        told.advance(TASK)
        return fits, folds, time.perf_counter() - began

    # one BLAS thread a Python thread: on a busy machine two of each are ten times slower than one
    with (
        threadpool_limits(1, "blas"),
        ThreadPoolExecutor(os.cpu_count(), "sedimental-probe") as pool,
    ):
        done = dict(zip(jobs, pool.map(work, jobs), strict=True))
    model = "softmax" if clips.classes else "ridge"
    points = [
        _point(model, {one.modality: layer}, fits, folds, criterion, seconds)
        for (one, layer), (fits, folds, seconds) in done.items()
    ]
    picks: dict[Modality, str] = {}
    for one in inputs:
        own = [p for p in points if p.letters == LETTERS[one.modality]]
        picks[one.modality] = settled(own, criterion).choice
    tested_on = [fold_of(part, manifest) for part in per_fold(config, manifest)]

    def keep(used: Sequence[tuple[Input, str]], fits: Sequence[Probe], seconds: float) -> None:
        for own, fold, fitted in zip(parts, tested_on, fits, strict=True):
            _keep(config, own, manifest, fold, used, fitted, seconds / len(fits), fresh)

    for one in inputs:
        fits, _, seconds = done[one, picks[one.modality]]
        keep([(one, picks[one.modality])], fits, seconds)
    if len(inputs) > 1:
        began = time.perf_counter()
        chosen = [(one, picks[one.modality]) for one in inputs]
        pooled = [pool_layer(o.store, layer, clips.ids, valid[o.modality]) for o, layer in chosen]
        fits, folds = fitted_of(pooled)
        seconds = time.perf_counter() - began
        points.append(_point(model, picks, fits, folds, criterion, seconds))
        keep(chosen, fits, seconds)
    found = Sweep(
        kind="probe",
        key=key,
        corpus=config.corpus.slug,
        protocol=config.evaluate.protocol,
        classes=clips.classes,
        criterion=criterion,
        manifest=manifest.digest,
        encoders=encoders,
        points=tuple(points),
        picks={model: picks},
    )
    write_sweep(folder, found)
    return found


def _known(inputs: Sequence[Input], clips: Labelled, told: Progress) -> tuple[Input, ...]:
    """Those that a training clip has; raises RunError if there is none."""
    train = {clips.ids[k] for k in clips.rows("train")}
    found = []
    for one in inputs:
        frames = dict(zip(one.store.clips, one.store.frames.tolist(), strict=True))
        if any(frames.get(clip, 0) for clip in train):
            found.append(one)
        else:
            told.note(f"warning: {one.modality} is left out of the probe: no training clip has any")
    if not found:
        raise RunError(
            f"No training clip has features of {' or '.join(one.modality for one in inputs)}. "
            "`sedimental extract` makes them; failures.csv in each store says what failed."
        )
    return tuple(found)


Folds = Mapping[str, tuple[float, ...]]


def _point(
    model: str,
    layers: Mapping[Modality, str],
    fits: Sequence[Probe],
    by_part: Sequence[Folds],
    criterion: str,
    seconds: float,
) -> Point:
    """Of one fit, or of one for each part of a cross-validated corpus."""
    errors = []
    for own in by_part:
        known = [value for value in own[criterion] if value == value]
        if len(known) > 1:
            errors.append(float(np.std(known, ddof=1) / np.sqrt(len(known))))
    # the parts share most of their clips: their mean is hardly surer than each of them
    error = sum(errors) / len(errors) if errors else None
    first = fits[0]
    return Point(
        arm=model,
        model=model,
        letters="".join(LETTERS[m] for m in layers),
        choice=next(iter(layers.values())) if len(layers) == 1 else "picked",
        layers=layers,
        seeds=(SEED,),
        scores={
            split: {k: tuple(one.scores[split][k] for one in fits) for k in first.scores[split]}
            for split in ("valid", "test")
        },
        settings={"penalty": first.linear.penalty},
        folder="",
        seconds=seconds,
        folds={k: tuple(v for own in by_part for v in own[k]) for k in by_part[0]},
        error=error,
        parts=len(fits) if len(fits) > 1 else 0,
    )


def _keep(
    config: Config,
    clips: Labelled,
    manifest: Manifest,
    fold: int | None,
    used: Sequence[tuple[Input, str]],
    fitted: Probe,
    seconds: float,
    again: bool,
) -> None:
    """Write a probe as a run folder, so that whatever reads runs reads it.

    `fold` is the part of a cross-validated corpus that it is tested on; `used` are its inputs, each
    with the layer that was read.
    """
    held = {one.modality: set(one.store.clips) for one, _ in used}
    ids = {split: [clips.ids[k] for k in clips.rows(split)] for split in SPLITS}
    coverage = {
        split: {"clips": len(own)} | {m: sum(id in have for id in own) for m, have in held.items()}
        for split, own in ids.items()
    }
    model = "softmax" if clips.classes else "ridge"
    modalities = tuple(one.modality for one, _ in used)
    values = fitted.answers.argmax(axis=1) if clips.classes else fitted.answers[:, 0]
    identity = identity_of(
        {
            "code": f"{code_version()} probe {RECIPE}",
            "table": dict(manifest.digests),
            "inputs": {one.modality: _input_identity(one, layer) for one, layer in used},
            "model": model,
            "settings": {"penalties": PENALTIES},
            "protocol": clips.protocol,
        },
        SEED,
        fold,
    )
    run = Run(
        corpus=config.corpus.slug,
        model=model,
        modalities=modalities,
        seed=SEED,
        key=identity.key,
        identity=identity,
        options={"penalty": fitted.linear.penalty},
        config={"input_scaling": "standardize"},
        inputs=tuple(
            replace(one, layers=(layer,), weighted=False, align="").record for one, layer in used
        ),
        environment={
            "python": platform.python_version(),
            "numpy": np.__version__,
            "sedimental": code_version(),
            "device": "cpu",
            "platform": platform.platform(),
        },
        parameters=fitted.linear.weights.size + fitted.linear.offset.size,
        criterion="validation loss",
        best_epoch=0,
        seconds=seconds,
        coverage=coverage,
        history=(),
        metrics=fitted.scores,
        predictions=Predictions(
            ids=clips.ids,
            splits=clips.splits,
            labels=clips.labels,
            values=values.astype(np.float64),
            classes=clips.classes,
            probabilities=fitted.answers if clips.classes else None,
        ),
        outputs={},
    )
    weights: dict[str, NDArray[np.floating]] = {
        "weights": fitted.linear.weights,
        "offset": fitted.linear.offset,
    }
    for modality, scale in zip(modalities, fitted.scales, strict=True):
        weights[f"inputs.{modality}.mean"] = scale.mean
        weights[f"inputs.{modality}.deviation"] = scale.deviation
    whole = {name: np.ascontiguousarray(values) for name, values in weights.items()}
    write_run(folder_of(config.experiment / "probe", run), run, save(whole), again)


def _input_identity(one: Input, layer: str) -> dict[str, object]:
    return {
        "encoder": one.spec.encoder,
        "layers": [layer],
        "fingerprint": one.spec.fingerprint,
        "settings": dict(one.spec.preprocessing),
        "clips": digest_of(dict(one.store.sources)),
    }


def _held(clips: Labelled) -> NDArray[np.int64]:
    """(clips,) fold of each training and validation clip, -1 of others."""
    held = np.full(len(clips.ids), -1, dtype=np.int64)
    learned = np.concatenate([clips.rows("train"), clips.rows("valid")])
    held[learned] = grouped_folds([clips.groups[k] for k in learned])
    return held


def _key(
    manifest: Manifest,
    parts: Sequence[Labelled],
    inputs: Sequence[Input],
    section: SweepConfig,
    config: Config,
    criterion: str,
) -> str:
    clips = parts[0]
    decides = {
        "recipe": RECIPE,
        "manifest": manifest.digest,
        **({"splits": [own.splits for own in parts]} if manifest.folds else {}),
        "classes": clips.classes,
        "protocol": clips.protocol,
        "criterion": criterion,
        "penalties": PENALTIES,
        "groups": clips.groups,
        "encoders": [asdict(encoder_of(one, config, section)) for one in inputs],
        "clips": [dict(one.store.sources) for one in inputs],
    }
    return digest_of(decides)
