"""`sweep`: every layer of every modality trained, the best picked on validation, then fused."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ...cache.corpus.corpus_table import cached_manifest
from ...cache.runs import Scored
from ...cache.runs.identity import digest_of
from ...cache.spec import LETTERS, Modality
from ...cache.sweeps import Point, Recommendation, Sweep, settled, write_sweep
from ...config import Config, SweepConfig
from ...errors import RunError, RunsFailedError
from ...progress import Progress, Silent
from ..data.load import bytes_of
from ..data.streaming import free_memory
from ..device import find_device
from ..distributed.sigterm import Notice, catch_sigterm
from ..fit.settings import check_criterion
from ..parts import per_fold
from ..plan import Plan, plan_runs
from ..processes.jobs import Job, Share
from ..processes.pool import Pool, cores
from ..processes.worker import make_jobs
from ..unfit import refuse_unfit
from .grid import (
    Arm,
    Cell,
    arms,
    cell_of,
    default_criterion,
    encoder_of,
    fusions,
    swept_inputs,
)
from .linear_probe import labelled_parts
from .recommend import Scores, drawn, error_of, recommend

TASK = "sweep"
"""The one task whose progress is told: epochs of all runs."""
ROOM = 0.6
"""Share of the free memory that the layers in work may take."""


def sweep(config: Config, progress: Progress | None = None, fresh: bool = False) -> Sweep:
    """Train [sweep]'s grid; the result lies in ``sweep`` below the experiment.

    First each modality alone, on every layer and on the learned weighted sum; each layer is read
    once for all models and seeds. Then, on the layers that validation picked, on the last and on
    weighted layers, the fusions. Every run has a folder of its own and is not trained again while
    its key stands (unless `fresh`), so a sweep that was killed goes on where it was. Raises
    ConfigError, ManifestError, StoreError or RunError, each with its remedy; Preempted, when all is
    kept, if the system asks to end by SIGTERM.
    """
    told = progress or Silent()  # an input that is live elsewhere is read from the cache here
    with (
        catch_sigterm() as notice,
        Pool(TASK, SilentProgress(told), config.train.threads, notice) as pool,
    ):
        return _Sweeping(config.frozen, told, fresh, pool, notice).all()


Cells = tuple[Cell, ...]
"""Cells that read the same layers: they are read once for all of them."""


class SilentProgress(Silent):
    """Passes on what is done, and no word of single runs: there are hundreds."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def advance(self, task: str, by: int = 1) -> None:
        """Pass on."""
        self._progress.advance(task, by)


class _Sweeping:
    def __init__(
        self, config: Config, progress: Progress, fresh: bool, pool: Pool, notice: Notice
    ) -> None:
        self.config, self.progress, self.fresh = config, progress, fresh
        self.pool, self.notice = pool, notice
        self.section = config.sweep or SweepConfig()
        self.manifest = cached_manifest(config)
        self.parts = labelled_parts(config, self.manifest)
        self.labelled = self.parts[0]
        self.arms = arms(config, self.section)
        self.inputs = swept_inputs(config, self.section)
        self.fusions = fusions(self.inputs, self.section)
        self.criterion = self.section.criterion or default_criterion(self.labelled.classes)
        scheme = self.labelled.classes or self.labelled.protocol
        check_criterion(self.criterion, scheme, "sweep.criterion")
        self.encoders = {i.modality: encoder_of(i, config, self.section) for i in self.inputs}
        self.points: dict[tuple[str, str, str], Point] = {}
        self.drawn: dict[tuple[str, str, str], Scores] = {}
        self.failures: list[str] = []
        self.done: dict[Path, Scored] = {}
        self.planned: dict[tuple[str, ...], list[tuple[Config, list[Plan]]]] = {}

    def all(self) -> Sweep:
        """The whole of it."""
        alone = [cells for one in self.inputs for cells in self.single(one.modality)]
        mixed = [self.cells({m: "weighted"}, "weighted") for m in self.encoders]
        mixed = mixed if self.section.weighted else []
        fusions = len(self.fusions) * (3 if self.section.weighted else 2)
        whole = [*alone, *mixed, *alone[:1] * fusions]  # a fusion has as many epochs as any other
        self.refuse_unfit(mixed)
        self.progress.start(TASK, sum(self.epochs(cells) for cells in whole), "epoch")
        self.train(alone)
        self.train(mixed)
        picks = {arm.name: self.picks(arm) for arm in self.arms}
        rest = [cells for subset in self.fusions for cells in self.fused(subset, picks)]
        plans = [plan for cells in rest for cell in cells for plan in self.plans(cell)]
        if self.fresh or any(plan.scored() is None for plan in plans):
            self.write(picks)  # what is known so far, should the rest be interrupted
        self.train(rest)
        return self.write(picks)

    def refuse_unfit(self, mixed: Sequence[Cells]) -> None:
        """Raises RunError for models that fit no layer: all layers of an encoder are alike."""
        last = {m: encoder.last for m, encoder in self.encoders.items()}
        picks = {arm.name: last for arm in self.arms}
        fused = [cells for subset in self.fusions for cells in self.fused(subset, picks)]
        tried = [self.single(modality)[0] for modality in self.encoders]
        cells = [cell for cells in (*tried, *mixed, *fused) for cell in cells]
        plans = [plan for cell in cells for plan in self.plans(cell)]
        refuse_unfit(plans, len(self.labelled.classes))

    def single(self, modality: Modality) -> list[Cells]:
        """The cells of each layer of `modality`; the last block is always among them, to compare
        with."""
        encoder = self.encoders[modality]
        names = dict.fromkeys([*encoder.layers, encoder.last])
        return [self.cells({modality: name}, name) for name in names]

    def cells(self, layers: Mapping[Modality, str], choice: str) -> Cells:
        """All arms on the same layers."""
        return tuple(cell_of(self.config, self.section, arm, choice, layers) for arm in self.arms)

    def fused(
        self, subset: Sequence[Modality], picks: Mapping[str, Mapping[Modality, str]]
    ) -> list[Cells]:
        """The cells of several modalities together."""
        found: list[Cells] = []
        for arm in self.arms:
            choices: dict[str, dict[Modality, str]] = {
                "picked": {m: picks[arm.name][m] for m in subset},
                "last": {m: self.encoders[m].last for m in subset},
            }
            if self.section.weighted:
                choices["weighted"] = dict.fromkeys(subset, "weighted")
            found += [
                (cell_of(self.config, self.section, arm, choice, layers),)
                for choice, layers in choices.items()
            ]
        return found

    def picks(self, arm: Arm) -> dict[Modality, str]:
        """The layer of each modality that is best on validation, or amid those as good as it."""
        found = {}
        for modality, encoder in self.encoders.items():
            keys = [(arm.name, LETTERS[modality], name) for name in encoder.layers]
            own = [self.points[key] for key in keys if key in self.points]
            if not own:
                raise RunsFailedError(self.failures)
            found[modality] = settled(own, self.criterion).choice
        return found

    def recommended(self, arm: Arm, picks: Mapping[Modality, str]) -> Recommendation:
        """The best of all that was tried with most modalities together."""
        subsets = {"".join(LETTERS[m] for m in subset) for subset in self.fusions}
        fused = [p for p in self.points.values() if p.arm == arm.name and p.letters in subsets]
        if fused:
            most = max((p.letters for p in fused), key=len)
            own = [p for p in fused if p.letters == most]
        else:
            modality, encoder = next(iter(self.encoders.items()))
            names = dict.fromkeys([picks[modality], encoder.last, "weighted"])
            found = (self.points.get((arm.name, LETTERS[modality], name)) for name in names)
            own = [point for point in found if point is not None]
        return recommend(
            own,
            lambda p: self.drawn[p.arm, p.letters, p.choice],
            self.criterion,
            sum(len(own.rows("valid")) for own in self.parts),
        )

    def train(self, whole: Sequence[Cells]) -> None:
        """Train what is not done of all these cells, then keep their points."""
        missing = [(job, cells) for cells in whole for job in self.missing(cells)]
        if missing:
            own = partial(make_jobs, notice=self.notice, failed=self.failures.append)
            jobs = [job for job, _ in missing]
            self.failures += self.pool.run(jobs, self.processes(missing), own)
        for cell in (cell for cells in whole for cell in cells):
            if not self.read(cell):
                continue
            point, key = cell.point(self.read(cell)), (cell.arm.name, cell.letters, cell.choice)
            self.drawn[key] = self.drawn_of(cell)
            error = error_of(point, self.drawn[key], self.criterion)
            self.points[key] = replace(point, error=error)

    def drawn_of(self, cell: Cell) -> Scores:
        """What chance among the validation clips makes of `cell`; the mean over parts."""
        found = []
        for clips, (_, plans) in zip(self.parts, self.by_part(cell), strict=True):
            runs = [run for plan in plans if (run := plan.finished()) is not None]
            found += [drawn(clips, runs, self.criterion)] if runs else []
        whole: Scores = np.mean(found, axis=0)
        return whole

    def missing(self, cells: Cells) -> list[Job]:
        """What is still to be trained of `cells`; a job for each part, whose clips are its own."""
        shares: dict[int, list[Share]] = {}
        for cell in cells:
            for number, (config, plans) in enumerate(self.by_part(cell)):
                for plan in plans:
                    run = None if self.fresh else plan.scored()
                    if run is not None:
                        self.done[plan.folder] = run
                        self.progress.advance(TASK, plan.settings.epochs)
                left = [plan for plan in plans if plan.folder not in self.done]
                if any(plan.stack for plan in left):  # a stack is made as a whole or not at all
                    left = plans
                if left:
                    titles = tuple(plan.title for plan in left)
                    shares.setdefault(number, []).append(Share(config, titles, again=self.fresh))
        return [Job(tuple(own)) for own in shares.values()]

    def read(self, cell: Cell) -> list[Scored]:
        """The scores of the finished runs of `cell`; none if all of them failed."""
        found = []
        for plan in self.plans(cell):
            run = self.done.get(plan.folder) or plan.scored()
            if run is None and self.failures:
                continue  # it is listed
            if run is None:
                raise RunError(
                    f"{plan.folder}: this run should be finished by now and is not. Is another "
                    "`sedimental` writing there? `sedimental sweep` goes on from what is done."
                )
            self.done[plan.folder] = run
            found.append(run)
        return found

    def plans(self, cell: Cell) -> list[Plan]:
        """The runs of `cell`, of all parts."""
        return [plan for _, plans in self.by_part(cell) for plan in plans]

    def by_part(self, cell: Cell) -> list[tuple[Config, list[Plan]]]:
        """The runs of each part that is to be gone through, with the pipeline of that part."""
        name = (cell.arm.name, *cell.layers, *cell.layers.values(), cell.choice)
        if name not in self.planned:
            device = find_device(cell.config.train.device).type
            parts = per_fold(cell.config, self.manifest)
            self.planned[name] = [(part, plan_runs(part, self.manifest, device)) for part in parts]
        return self.planned[name]

    def epochs(self, cells: Cells) -> int:
        """Of all their runs."""
        return sum(plan.settings.epochs for cell in cells for plan in self.plans(cell))

    def processes(self, missing: Sequence[tuple[Job, Cells]]) -> int:
        """How many processes to train on: fewer than cores if there is no memory for more."""
        if find_device(self.config.train.device).type != "cpu":
            return 1  # a GPU is shared best by one process
        plans = [plan for _, cells in missing for cell in cells for plan in self.plans(cell)]
        if any(plan.stack for plan in plans):
            return 1  # whose jobs could not be split
        wanted = self.section.processes or cores()
        runs = sum(job.runs for job, _ in missing)
        # of one cell and the next, while they are read and made float32
        largest = max(3 * sum(map(bytes_of, plan.inputs)) for plan in plans)
        fitting = int(ROOM * free_memory() / max(largest, 1))
        # a process takes seconds to start: not worth it for a run or two
        return max(1, min(wanted, runs // 2, fitting))

    def write(self, picks: Mapping[str, Mapping[Modality, str]]) -> Sweep:
        """Keep what is known."""
        found = Sweep(
            kind="sweep",
            key=digest_of(
                [
                    self.manifest.digest,
                    list(self.encoders),
                    sorted(run.key for run in self.done.values()),
                ]
            ),
            corpus=self.config.corpus.slug,
            protocol=self.config.evaluate.protocol,
            classes=self.labelled.classes,
            criterion=self.criterion,
            manifest=self.manifest.digest,
            encoders=self.encoders,
            points=tuple(self.points.values()),
            picks=picks,
            recommended={arm.name: self.recommended(arm, picks[arm.name]) for arm in self.arms},
            failures=tuple(self.failures),
        )
        write_sweep(self.config.experiment / "sweep", found)
        return found
