"""What a sweep goes through: layers of modalities, fusions, variants of options; a cell of each."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from typing import Any

from ...cache.runs import Scored
from ...cache.runs.identity import digest_of
from ...cache.spec import LETTERS, MODALITIES, Modality
from ...cache.sweeps import Encoder, Point
from ...config import Config, ConfigError, InputConfig, Inputs, LayerChoice, RunsConfig, SweepConfig
from ...errors import RunError
from ..data.inputs import Input, find_cached
from ..models import model_options


@dataclass(frozen=True)
class Arm:
    """One model with one set of options: a curve of its own."""

    model: str
    table: Mapping[str, Any]
    """The model's own table of [train], with what is varied."""
    varied: Mapping[str, Any]

    @property
    def name(self) -> str:
        """``uegd dropout=0.1``."""
        return " ".join([self.model, *(f"{k}={v}" for k, v in self.varied.items())])


def arms(config: Config, section: SweepConfig) -> tuple[Arm, ...]:
    """Every model of [sweep] under every combination of its options.

    An option is tried with the models that have it. Raises ConfigError for one that none has, and
    for values that a model refuses.
    """
    found, taken = list[Arm](), set[str]()
    for model in section.model:
        base = dict(getattr(config.train, model))
        own = {k: v for k, v in section.options.items() if _has(model, k)}
        taken |= own.keys()
        lists = [v if isinstance(v, list | tuple) else [v] for v in own.values()]
        for values in product(*lists):
            varied = dict(zip(own, values, strict=True))
            table = base | varied
            model_options(model, table, getattr(config.train, "preset", None))
            found.append(Arm(model, table, varied))
    if lost := [key for key in section.options if key not in taken]:
        raise ConfigError(
            f"sweep.options: {', '.join(lost)} is no option of {' or '.join(section.model)}. "
            "An option is a key of the model's own table, [train.<model>]."
        )
    return tuple(found)


def _has(model: str, key: str) -> bool:
    return key in {f.name for f in fields(model_options(model, {}))}


def swept_inputs(config: Config, section: SweepConfig) -> tuple[Input, ...]:
    """The inputs whose layers are tried, in the order T, A, V.

    Raises RunError if there is none, and as `find_inputs` does.
    """
    lines = [(m, getattr(config.train.inputs, m)) for m in MODALITIES]
    inputs = [find_cached(config, m, line) for m, line in lines if line is not None]
    wanted = section.modalities
    kept = tuple(i for i in inputs if wanted is None or LETTERS[i.modality] in wanted)
    if not kept:
        raise RunError(
            "[sweep] has no modality to try: it takes those of [train.inputs], "
            "and of them those that sweep.modalities names."
        )
    return kept


def fusions(inputs: Sequence[Input], section: SweepConfig) -> tuple[tuple[Modality, ...], ...]:
    """Subsets of several modalities to train on the layers picked.

    Raises RunError for a letter whose layers are not tried.
    """
    letters = {LETTERS[one.modality]: one.modality for one in inputs}
    wanted = section.fusions
    if wanted is None:
        wanted = ("".join(letters),) if len(letters) > 1 else ()
    for subset in wanted:
        if unknown := [letter for letter in subset if letter not in letters]:
            raise RunError(
                f'sweep.fusions: "{subset}" needs layers of {", ".join(unknown)}, which are not '
                f"tried. Tried are: {', '.join(letters)}."
            )
    return tuple(tuple(m for m in MODALITIES if LETTERS[m] in subset) for subset in wanted)


def encoder_of(one: Input, config: Config, section: SweepConfig) -> Encoder:
    """Which layers of this input are tried; raises StoreError for one that is not stored."""
    spec = one.store.spec
    if section.layers == "all":
        names = spec.layers
    else:
        names = tuple(spec.layers[k] for k in sorted(set(spec.positions(section.layers))))
    return Encoder(
        name=getattr(config.train.inputs, one.modality).encoder,
        weights=spec.weights,
        fingerprint=spec.fingerprint,
        layers=names,
        last=spec.layers[spec.positions([-1])[0]],
        clips=digest_of(dict(one.store.sources)),
    )


def default_criterion(classes: Sequence[str]) -> str:
    """By what a layer is picked on validation: as in the UEGD paper, or for classes."""
    return "Weighted_F1" if classes else "Corr"


@dataclass(frozen=True)
class Cell:
    """One arm on one choice of layers, with some seeds."""

    arm: Arm
    choice: str
    """A layer's name, ``weighted``, ``last`` or ``picked``."""
    layers: Mapping[Modality, str]
    config: Config
    """The pipeline that trains just this."""

    @property
    def letters(self) -> str:
        """Modalities in short."""
        return "".join(LETTERS[m] for m in self.layers)

    def point(self, runs: Iterable[Scored]) -> Point:
        """What its finished runs come to."""
        kept = list(runs)
        folds = [run.identity.fold if run.identity else None for run in kept]
        several = None not in folds and len(set(folds)) > 1
        parts: dict[int | None, list[Scored]] = {}
        for number, (run, fold) in enumerate(zip(kept, folds, strict=True)):
            parts.setdefault(fold if several else number, []).append(run)
        return Point(
            arm=self.arm.name,
            model=self.arm.model,
            letters=self.letters,
            choice=self.choice,
            layers=self.layers,
            seeds=tuple(dict.fromkeys(run.seed for run in kept)),
            scores={
                split: {
                    key: tuple(
                        sum(run.metrics[split][key] for run in own) / len(own)
                        for own in parts.values()
                    )
                    for key in kept[0].metrics[split]
                }
                for split in ("valid", "test")
            },
            parts=len(parts) if several else 0,
            settings=self.arm.varied,
            folder=self.config.experiment.name,
            seconds=sum(run.seconds for run in kept),
        )


def cell_of(
    config: Config,
    section: SweepConfig,
    arm: Arm,
    choice: str,
    layers: Mapping[Modality, str],
) -> Cell:
    """The cell of `arm` on `layers` (a layer's name or ``weighted``, a modality each)."""
    inputs = {
        m: InputConfig(encoder=getattr(config.train.inputs, m).encoder, layers=_choice(layer))
        for m, layer in layers.items()
    }
    # a cell has the modalities of its layers, whatever the model is trained on elsewhere
    table = {key: value for key, value in arm.table.items() if key != "modalities"}
    if section.epochs:
        table["epochs"] = section.epochs
    train = config.train.model_copy(
        update={
            "models": (arm.model,),
            "modalities": None,
            "seeds": section.seeds or config.train.seeds,
            "inputs": Inputs.model_validate(inputs),
            "tracker": None,  # there would be hundreds
            arm.model: table,
        }
    )
    name = f"{arm.name}.{''.join(LETTERS[m] for m in layers)}.{choice}"
    runs = RunsConfig(root=config.experiment / "sweep", name=re.sub(r"[^\w.-]+", "-", name))
    own = config.model_copy(update={"train": train, "runs": runs})
    return Cell(arm, choice, layers, own)


def _choice(layer: str) -> LayerChoice:
    return int(layer) if layer.isdigit() else "final" if layer == "final" else "weighted"
