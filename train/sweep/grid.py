"""What a sweep goes through: modalities, their layers, fusions, and variants of the options."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from typing import Any

from ...cache.runs.identity import digest_of
from ...cache.spec import LETTERS, MODALITIES, Modality
from ...cache.sweeps import Encoder
from ...config import Config, ConfigError, SweepConfig
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
