"""One choice of layers with its seeds: how a sweep trains it, and what it reads of the result."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ...cache.runs import Scored
from ...cache.spec import LETTERS, Modality
from ...cache.sweeps import Point
from ...config import Config, InputConfig, Inputs, LayerChoice, RunsConfig, SweepConfig
from ...progress import Progress, Silent
from .grid import Arm

TASK = "sweep"
"""The one task whose progress is told: epochs of all runs."""


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


class SilentProgress(Silent):
    """Passes on what is done, and no word of single runs: there are hundreds."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def advance(self, task: str, by: int = 1) -> None:
        """Pass on."""
        self._progress.advance(task, by)


def _choice(layer: str) -> LayerChoice:
    return int(layer) if layer.isdigit() else "final" if layer == "final" else "weighted"
