"""Multimodal sentiment from cached layers of frozen encoders: extract once, train in seconds.

The functions behind the commands: each takes the `Config` that `load_config` returns, gives back a
value and prints nothing; a `progress` is told how far it is. What they need loads when called.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from .extract.new_clip import NewClip

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .cache.exchange.export_features import ExportResult
    from .cache.exchange.import_features import Received
    from .cache.spec import Modality, StoredType
    from .cache.store.store import Store
    from .cache.sweeps import Sweep
    from .cache.trials import Search
    from .config import Config
    from .evaluate.compare import Comparison
    from .evaluate.prediction import Prediction
    from .evaluate.results import Drawing, Report
    from .evaluate.runs.listing import Listing
    from .extract.doctor import Diagnosis
    from .extract.result import ExtractResult
    from .progress import Progress
    from .train.catalogue import Catalogue
    from .train.result import TrainResult

__version__ = "0.2.0"
__all__ = [
    "NewClip",
    "__version__",
    "compare",
    "cross",
    "doctor",
    "evaluate",
    "export_features",
    "extract",
    "figures",
    "import_features",
    "load_config",
    "models",
    "open_store",
    "predict",
    "probe",
    "robustness",
    "runs",
    "sweep",
    "train",
    "tune",
]


def load_config(
    path: str | Path = "pipeline.toml", overrides: Mapping[str, Any] | None = None
) -> Config:
    """Read a pipeline.toml and check it as a whole: keys, encoders, layers, models, metrics.

    `overrides` are values that count instead of the file's: ``{"train.epochs": 5}``.
    Raises ConfigError, which lists every fault of the file and of these.
    """
    from .checks import load_config
    from .config import from_mapping

    return load_config(path, overrides=from_mapping(overrides or {}))


def doctor(
    config: Config, probe: bool = True, check: Literal["stat", "full"] = "stat"
) -> Diagnosis:
    """Look at corpus, media, weights, disk and device, and write nothing.

    With `probe` the encoders are loaded and tried on a clip, to tell how long extraction takes.
    `check` is how media are compared with what they were: ``full`` reads every byte of them.
    Raises ConfigError, ManifestError, EncoderError or StoreError as `extract` does.
    """
    from .extract.doctor import examine

    return examine(config, probe, check=check)


def extract(
    config: Config, progress: Progress | None = None, check: Literal["stat", "full"] = "stat"
) -> ExtractResult:
    """Store every layer's hidden states of every clip; what is stored already is kept.

    `check` is how media are compared with what they were: ``stat`` reads a file as a whole where
    its size or times moved, ``full`` every one.
    Clips that fail are in the result's ``failures`` with stage and reason. Raises ConfigError,
    ManifestError, EncoderError or StoreError where nothing can be extracted at all.
    """
    from .extract.run import extract

    return extract(config, progress, check=check)


def models(config: Config | None = None) -> Catalogue:
    """Every fusion model there is: its paper, what it needs, its size on the inputs of `config`.

    Reads no features; where `config` has no stores yet, sizes are None and the reason is told.
    """
    from .extract.finetune.find import live_input
    from .train.catalogue import catalogue

    return catalogue(config, live_input)


def train(config: Config, progress: Progress | None = None, fresh: bool = False) -> TrainResult:
    """Train a run for each model, modality subset and seed of [train]; finished ones are kept.

    Nothing is overwritten: runs of other settings lie beside each other, and `fresh`, which trains
    finished ones again, keeps those that were there. Raises ConfigError, ManifestError, StoreError
    or RunError; Preempted on SIGTERM, when all is kept.
    """
    from .checks import news
    from .extract.finetune.encoder_size import encoder_size
    from .extract.finetune.find import live_input
    from .train.result import TrainResult
    from .train.run import train

    return TrainResult(train(config, progress, fresh, live_input, encoder_size, news))


def tune(
    config: Config, trials: int | None = None, progress: Progress | None = None
) -> tuple[Search, ...]:
    """Random search over the settings of each model and subset of [train], on validation alone.

    `trials` goes before [train] `tune`. Test clips are neither read nor scored. Every trial is kept
    and not trained again; a search that was stopped goes on. Raises as `train` does.
    """
    from .extract.finetune.find import live_input
    from .train.sweep.tune import tune

    return tune(config, trials, progress, live_input)


def sweep(config: Config, progress: Progress | None = None, fresh: bool = False) -> Sweep:
    """Train [sweep]'s models on every layer of every modality, then fusions on the best layers.

    What changed in the corpus since it was extracted is noted, and taken in where it can be.
    Raises ConfigError, ManifestError, StoreError or RunError; Preempted on SIGTERM.
    """
    from .checks import take_in_news
    from .train.sweep.sweep import sweep

    take_in_news(config, progress)
    return sweep(config, progress, fresh)


def probe(config: Config, progress: Progress | None = None, fresh: bool = False) -> Sweep:
    """Fit a linear probe on every layer of every modality: an answer in seconds.

    Looks at the corpus first, as `sweep` does. Raises ManifestError, StoreError or RunError.
    """
    from .checks import take_in_news
    from .train.sweep.probe import probe

    take_in_news(config, progress)
    return probe(config, progress, fresh)


def robustness(
    config: Config,
    rates: Sequence[float],
    masks: int = 1,
    incomplete: bool = False,
    progress: Progress | None = None,
    fresh: bool = False,
    names: Sequence[str] = (),
) -> tuple[Path, ...]:
    """Score the trained runs with a share of their frames missing, at each of `rates` (0 to 1).

    `masks` is the number of random masks a run and rate. `incomplete` also trains every run anew
    at each rate. `names` limits it to some runs. Returns the files written, none without a run.
    """
    from .extract.finetune.find import live_input
    from .train.robustness import robustness, train_incomplete

    files = robustness(config, rates, masks, progress, fresh, live_input, names)
    if files and incomplete:
        train_incomplete(config, rates, progress, fresh, live_input)
    return files


def cross(
    config: Config,
    others: Sequence[Config] = (),
    progress: Progress | None = None,
    fresh: bool = False,
    names: Sequence[str] = (),
) -> tuple[Path, ...]:
    """Test the trained runs on other corpora, whose pipelines are `others`, or [evaluate] also.

    Their features must be cached, made as those that the runs were trained on; answers are mapped
    linearly to their scale of labels. `report` shows the scores. Returns the files that were
    written. Raises ConfigError, RunError, StoreError or ManifestError.
    """
    from .checks import load_config
    from .extract.finetune.find import live_input
    from .train.cross_corpus import cross_corpus

    known = others or [load_config(path) for path in config.evaluate.also]
    return cross_corpus(config, known, progress, fresh, live_input, names)


def evaluate(config: Config, names: Sequence[str] = (), everything: bool = False) -> Report:
    """Score the pipeline's runs from their predictions: what `report` shows.

    In it are the runs of the settings and the corpus table that the pipeline has now; `everything`
    adds those of other settings as rows of their own, `names` takes just some. Raises RunError
    where there is no such run, or one cannot be read.
    """
    from .checks import news, planned
    from .evaluate.report import evaluate

    return evaluate(config, names, everything, planned, news)


def figures(report: Report) -> tuple[Drawing, ...]:
    """The figures of a report; a notebook shows each, and its ``svg`` is the drawing."""
    from .evaluate.figures.all import figures

    return figures(report)


def runs(config: Config) -> Listing:
    """Every configuration that was trained: what `runs ls` shows."""
    from .checks import planned
    from .evaluate.runs.listing import listed

    return listed(config, planned)


def compare(first: str, second: str, config: Config) -> Comparison:
    """Test whether one result is better than another on the clips that both answered.

    `first` and `second` are rows (``uegd TAV``), runs or folders of runs. Raises RunError.
    """
    from .checks import planned
    from .evaluate.compare import compare_of_pipeline

    return compare_of_pipeline(first, second, config, planned)


def predict(
    run: str | Path,
    clips: Sequence[NewClip | str | Path] | NewClip | str | Path = (),
    *,
    table: str | Path | None = None,
    experiment: str | Path = "runs",
    device: str = "auto",
    progress: Progress | None = None,
) -> Prediction:
    """Apply a trained run to new clips (files, or `NewClip` with words and cuts) or a `table`.

    `run` is a seed's folder, a folder of seeds, or a row's name in the folder `experiment`; of
    several seeds the predictions are averaged. A clip that lacks a modality is predicted from the
    others, and the result says so. Raises RunError, EncoderError or ManifestError.
    """
    from .predicting import predict

    return predict(run, clips, table=table, experiment=experiment, device=device, progress=progress)


def open_store(path: str | Path) -> Store:
    """Open a feature store: ``store.clips``, ``store.read(layers, clips)``, ``store.layer(n)``.

    Raises StoreError for what is no store, or one that is damaged.
    """
    from .cache.store.store import open_store

    return open_store(path)


def import_features(
    source: str | Path,
    config: Config,
    names: Mapping[Modality, str] | None = None,
    dtype: StoredType = "float32",
    progress: Progress | None = None,
    labels: Literal["scores", "classes"] | None = None,
    language: Literal["chinese", "english"] | None = None,
    align: tuple[str, str] | None = None,
) -> Received:
    """Take features that others have made into the cache of `config`, as its corpus.

    `source` is a feature file of MMSA or MultiBench, a folder as MERBench has it, or .csd
    sequences; `names` says what the features of a modality are called here. `labels` and `language`
    (of MERBench's transcripts) say what the data leave open; `align` names the sequence onto whose
    steps the others are put, and how rows are collapsed: ``("words", "mean")``. Raises
    ExchangeError for what cannot be read, or contradicts the clips that are there.
    """
    from .cache.exchange.csd.read import Aligned
    from .cache.exchange.import_features import receive
    from .cache.exchange.open import open_foreign

    named, aligned = names or {}, align and Aligned(*align)
    file = open_foreign(Path(source), named, labels, language, aligned)
    return receive(file, config.corpus_cache, named, dtype, config.cache.format, progress=progress)


def export_features(
    path: str | Path,
    config: Config,
    to: str = "mmsa",
    layers: Mapping[Modality, str] | None = None,
    progress: Progress | None = None,
) -> ExportResult:
    """Write cached layers as files that other tools of the field load.

    `to`: ``mmsa`` is the feature pickle of MMSA, ``npz`` the same columns as plain arrays, ``fra``
    and ``utt`` MERBench's folder with a file a clip, of its frames or of their mean, ``csd`` a
    folder of computational sequences, ``parquet`` a row a clip, ``webdataset`` tar shards, or what
    an installed package adds. `layers` names ``ENCODER:LAYER`` by modality; without it those of
    [train.inputs] are written. Raises ExchangeError or StoreError.
    """
    from .cache.corpus.corpus_table import cached_manifest
    from .cache.exchange.export import export
    from .cache.exchange.export_features import choose

    chosen = choose(config, layers or {})
    return export(to, Path(path), cached_manifest(config), chosen, progress)


class _Package(ModuleType):
    """A package whose folders `extract`, `train` and `evaluate` are called as functions.

    Importing anything in a folder makes Python bind the folder to its name here, where the
    function of that name is. The function stays, and carries the folder's attributes, so that
    ``sedimental.train(config)`` and ``sedimental.train.models`` both work.
    """

    def __setattr__(self, name: str, value: object) -> None:
        function = vars(self).get(name)
        if isinstance(value, ModuleType) and callable(function):
            function.__dict__ = vars(value)
        else:
            super().__setattr__(name, value)


extract.__dict__ = vars(sys.modules[f"{__name__}.extract"])  # `NewClip` has loaded it
sys.modules[__name__].__class__ = _Package
