"""What of [train], [sweep] and [evaluate] does not fit: known before anything is read."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from importlib.util import find_spec

from ..cache.spec import LETTERS, MODALITIES
from ..config import Config, ConfigError, SweepConfig, nearest
from ..evaluate.metrics import score, score_classes
from .models import MODELS, has_classes, model_options, several_faults

OF_CLASSES = ("meld", "mustard", "urfunny", "cherma", "crema-d", "ravdess", "emobox")
OF_SCORES = ("demo", "mmsa", "sims-v2")
"""Kinds of corpus by what their clips are rated with; any other may have either."""
SEVERAL = ("dimensions", "emotions")
"""Tasks with several labels a clip."""


def train_faults(config: Config) -> Iterator[str]:
    """Every fault, ``key.path: what is wrong``; model tables are checked by `option_faults`."""
    tracker = config.train.tracker
    if tracker is not None and find_spec(tracker) is None:
        yield (
            f"train.tracker: {tracker} is not installed. "
            f"`pip install {tracker}`, or take the key away."
        )
    yield from _criterion_faults(config)
    yield from _subset_faults(config)
    yield from _class_faults(config)
    if config.sweep is not None:
        yield from _sweep_faults(config.sweep)


def tasks(config: Config) -> tuple[bool, bool]:
    """Whether the pipeline may predict (scores, classes), as far as it says so itself."""
    task, kind = config.train.task, config.corpus.kind
    if task != "auto":
        return task == "regression", task == "classification"
    return kind not in OF_CLASSES, kind not in OF_SCORES


def _criterion_faults(config: Config) -> Iterator[str]:
    scores, classes = tasks(config)
    task, kind = config.train.task, config.corpus.kind
    several = task in SEVERAL or (task == "auto" and kind not in (*OF_CLASSES, *OF_SCORES))
    known = ["valid_loss"]
    known += list(score([], [], config.evaluate.protocol)) if scores else []
    known += list(score_classes([], [], ())) if classes else []
    wanted = [("train.criterion", config.train.criterion)]
    wanted += [(f"train.also[{k}]", name) for k, name in enumerate(config.train.also)]
    if config.sweep is not None and config.sweep.criterion is not None:
        wanted.append(("sweep.criterion", config.sweep.criterion))
    for where, name in wanted:
        of_a_class = classes and name.startswith("F1_")  # which classes there are, the table says
        of_several = several and name.partition("_")[0] in ("CCC", "Corr", "MAE", "Weighted", "F1")
        lossy = where.startswith("sweep") and name == "valid_loss"
        if lossy or not (name in known or of_a_class or of_several):
            measured = known[1:] if where.startswith("sweep") else known
            hint = nearest(name, measured) or f" Known: {', '.join(measured)}."
            yield f'{where}: "{name}" is not measured here.{hint}'


def _subset_faults(config: Config) -> Iterator[str]:
    """Models' own modalities, and those of the sweep, that no input gives."""
    given = [LETTERS[m] for m in MODALITIES if getattr(config.train.inputs, m) is not None]
    wanted: list[tuple[str, str]] = []
    for name in MODELS:
        table = getattr(config.train, name)
        subsets = table.get("modalities", ()) if isinstance(table, Mapping) else ()
        listed = subsets if isinstance(subsets, (list, tuple)) else ()
        wanted += [(f"train.{name}.modalities", s) for s in listed if isinstance(s, str)]
    sweep = config.sweep
    if sweep is not None:
        wanted += [("sweep.modalities", letter) for letter in sweep.modalities or ()]
        tried = sweep.modalities or given
        for subset in sweep.fusions or ():
            if not subset or set(subset) - set("TAV") or len(set(subset)) < len(subset):
                yield f'sweep.fusions: "{subset}" is no subset of "TAV".'
            elif lost := [x for x in subset if x not in tried]:
                yield (
                    f'sweep.fusions: "{subset}" needs layers of {", ".join(lost)}, which are not '
                    f"tried. Tried are: {', '.join(tried) or 'none'}."
                )
    for where, subset in wanted:
        if set(subset) <= set("TAV") and (lost := [x for x in subset if x not in given]):
            names = [m for m in MODALITIES if LETTERS[m] in lost]
            yield f'{where}: "{subset}" needs {" and ".join(names)} in [train.inputs].'


def _class_faults(config: Config) -> Iterator[str]:
    """Models that predict scores alone, of a corpus that has classes alone."""
    scores, classes = tasks(config)
    if config.train.task in SEVERAL:
        yield from several_faults(dict.fromkeys(config.train.models), config.train.task)
        if config.sweep is not None:
            yield "sweep: tries layers on one label a clip. Take [sweep] out, or train.task."
    if scores or not classes:
        return
    for name in dict.fromkeys(
        (*config.train.models, *(config.sweep.model if config.sweep else ()))
    ):
        if not has_classes(name):
            yield (
                f"train.models: {name} predicts scores only, and the corpus has classes. Take it "
                'out, or say train.task = "regression" if the clips have scores too.'
            )


def _sweep_faults(sweep: SweepConfig) -> Iterator[str]:
    """Options that no swept model has, and values that none of those which have them takes."""
    own = {model: {f.name for f in fields(model_options(model, {}))} for model in sweep.model}
    for key, values in sweep.options.items():
        takers = [model for model, known in own.items() if key in known]
        if not takers:
            hint = nearest(key, set().union(*own.values()))
            yield (
                f"sweep.options: {key} is no option of {' or '.join(sweep.model)}.{hint} "
                "An option is a key of the model's own table, [train.<model>]."
            )
        for model in takers:
            for value in values if isinstance(values, (list, tuple)) else [values]:
                try:
                    model_options(model, {key: value})
                except ConfigError as found:
                    yield from (
                        fault.replace(f"train.{model}", f"sweep.options ({model})", 1)
                        for fault in str(found).split("\n")
                    )
