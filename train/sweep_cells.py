"""One choice of layers with its seeds: how a sweep trains it, and what it reads of the result.

The one place where a sweep touches the training loop.
"""

import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..cache.manifest import Manifest
from ..cache.progress import Progress
from ..cache.runs import Run
from ..cache.spec import LETTERS, Modality
from ..cache.sweeps import Point
from ..config import Config, InputConfig, Inputs, LayerChoice, RunsConfig, SweepConfig
from .plan import Plan, plan_runs
from .sweep_grid import Arm

if TYPE_CHECKING:
    from .run import Workshop

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

    @property
    def seeds(self) -> tuple[int, ...]:
        """Those of its config."""
        return self.config.train.seeds

    def of(self, seeds: tuple[int, ...]) -> "Cell":
        """The same with some of the seeds."""
        train = self.config.train.model_copy(update={"seeds": seeds})
        return replace(self, config=self.config.model_copy(update={"train": train}))

    def plans(self, manifest: Manifest) -> list[Plan]:
        """Its runs, a seed each."""
        from .run import find_device

        return plan_runs(self.config, manifest, find_device(self.config.train.device).type)

    def point(self, runs: Iterable[Run]) -> Point:
        """What its finished runs come to."""
        kept = list(runs)
        return Point(
            arm=self.arm.name,
            model=self.arm.model,
            letters=self.letters,
            choice=self.choice,
            layers=self.layers,
            seeds=tuple(run.seed for run in kept),
            scores={
                split: {
                    key: tuple(run.metrics[split][key] for run in kept)
                    for key in kept[0].metrics[split]
                }
                for split in ("valid", "test")
            },
            settings=self.arm.varied,
            folder=self.config.experiment.name,
            seconds=sum(run.seconds for run in kept),
        )


@dataclass(frozen=True)
class Job:
    """Cells that read the same layers: they are read once for all of them."""

    cells: tuple[Cell, ...]

    @property
    def runs(self) -> int:
        """How many runs it trains."""
        return sum(len(cell.seeds) for cell in self.cells)

    def split(self, parts: int) -> "list[Job]":
        """Up to `parts` jobs with about equally many seeds of every cell."""
        pieces = [
            tuple(cell.of(own) for cell in self.cells if (own := cell.seeds[k::parts]))
            for k in range(parts)
        ]
        return [Job(cells) for cells in pieces if cells]


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
            arm.model: table,
        }
    )
    name = f"{arm.name}.{''.join(LETTERS[m] for m in layers)}.{choice}"
    runs = RunsConfig(root=config.experiment / "sweep", name=re.sub(r"[^\w.-]+", "-", name))
    own = config.model_copy(update={"train": train, "runs": runs})
    return Cell(arm, choice, layers, own)


def train_jobs(jobs: Iterable[Job], progress: Progress) -> Iterable[Job]:
    """Train each of `jobs` and give it back; the next one's layers are read meanwhile."""
    iterator = iter(jobs)
    with ThreadPoolExecutor(1, thread_name_prefix="sedimental-ahead") as ahead:
        waiting = ahead.submit(_prepare, next(iterator, None), progress)
        while (ready := waiting.result()) is not None:
            waiting = ahead.submit(lambda: _prepare(next(iterator, None), progress))
            _train(ready)
            yield ready.job


@dataclass(frozen=True)
class _Ready:
    job: Job
    shops: "tuple[Workshop, ...]"
    """One a cell, all on the same features."""


def _prepare(job: Job | None, progress: Progress) -> _Ready | None:
    """Read what `job` needs."""
    if job is None:
        return None
    from .run import Workshop

    told = _Renamed(progress)
    shops = tuple(Workshop(cell.config, told) for cell in job.cells)
    corpus = shops[0].open(shops[0].plans)
    for shop in shops[1:]:
        shop._corpus = corpus  # read once for all cells
    return _Ready(job, shops)


def _train(ready: _Ready) -> None:
    for shop in ready.shops:
        waiting = list(shop.plans)
        while waiting:
            first = waiting[0]
            group = [p for p in waiting if first.stack and p.company == first.company] or [first]
            shop.make(group)
            waiting = [plan for plan in waiting if plan not in group]


@dataclass(frozen=True)
class _Renamed:
    """Passes the advance of any task on as that of the sweep."""

    progress: Progress

    def start(self, task: str, total: int, unit: str = "clip") -> None:
        """Said already, by the sweep."""

    def advance(self, task: str, by: int = 1) -> None:
        """Pass on."""
        self.progress.advance(TASK, by)

    def note(self, message: str) -> None:
        """Say nothing of single runs: there are hundreds."""


def _choice(layer: str) -> LayerChoice:
    return int(layer) if layer.isdigit() else "final" if layer == "final" else "weighted"
