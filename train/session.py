"""What the runs of one config share: its plans, its features, and how a run is made and kept."""

import time
from collections.abc import Sequence
from functools import partial

from ..cache.corpus.corpus_table import cached_manifest
from ..cache.corpus.leaks import leaks
from ..cache.manifest import Manifest
from ..cache.runs import Epoch, Run, write_run
from ..cache.runs.run_warnings import run_warnings
from ..cache.spec import SPLITS, Split
from ..config import Config
from ..errors import RunError, SedimentalError, StoreError
from ..progress import Progress
from .cost_estimate import Sizes, tell
from .data.dataset import Corpus, Selection, Table
from .data.live_inputs import FindLive, Reading, live_of
from .data.load import HELD, load
from .data.missing_features import MissingCase, damaged, undamaged
from .data.streaming import free_memory
from .device import find_device, forget_peak, threads
from .distributed.launcher import launched
from .distributed.ranks import SINGLE_PROCESS, Ranks
from .distributed.sigterm import Notice, Preempted
from .fit.checkpoint import Checkpoint
from .fit.loop import fit
from .fit.seeding import stream
from .fit.settings import check_criterion
from .fit.stacked_seeds import fit_stacked
from .live_model import LiveModel
from .models import build
from .models.shared.interface import FusionModel
from .parts import divided
from .plan import Plan, masks_internally, plan_runs
from .record import finished_run, summary
from .trackers import Tracking

TASK = "training"
"""The one task whose progress is told: epochs of all runs."""


class TrainSession:
    """Everything that the runs of one config share, and how they are made."""

    def __init__(
        self,
        config: Config,
        progress: Progress,
        live: FindLive | None = None,
        manifest: Manifest | None = None,
        notice: Notice | None = None,
        ranks: Ranks = SINGLE_PROCESS,
        again: bool = False,
        needed: Sequence[Split] = SPLITS,
    ) -> None:
        """Plans alone; no features are read before `open`. None: the `manifest` is read too.

        `notice` may ask to end early. All of `ranks` make each run together, so that there is
        nothing to stack or to give away. `again`: what is made takes the place of a finished run
        of the same identity, which is kept beside it. `needed`: splits that have to have clips.
        """
        self.again, self.progress, self.ranks = again, progress, ranks
        self.notice = notice or Notice()
        self.config = config if ranks.count == 1 else _shared(config)
        manifest = manifest or cached_manifest(config)
        clips = divided(config, manifest)
        self.leaks = leaks(clips)
        self.table = Table.of(clips, config.train.task, needed)
        self.device = find_device(config.train.device)
        scheme = self.table.classes or self.table.several or config.evaluate.protocol
        for criterion in (config.train.criterion, *config.train.also):
            check_criterion(criterion, scheme)
        self.plans = plan_runs(self.config, manifest, self.device.type, live)
        self.failures: list[str] = []
        """Runs that failed, each with its reason."""
        self._corpus: Corpus | None = None

    def finished(self) -> dict[str, Run | None]:
        """The runs that are there already, by title."""
        plans = self.plans if self.ranks.lead else []
        return self.ranks.from_lead({plan.title: plan.finished(self.progress) for plan in plans})

    def open(self, plans: Sequence[Plan], memory_mb: int | None = None) -> Corpus:
        """Read the features that `plans` need, once; `memory_mb` goes before the config's."""
        if self._corpus is None:
            inputs = list({one.modality: one for plan in plans for one in plan.inputs}.values())
            section = self.config.train
            for one in live_of(inputs).values():
                if one.note:
                    self.progress.note(one.note)
            memory = memory_mb or section.memory_mb
            with threads(section.threads):
                self._corpus = load(self.table, inputs, section.input_scaling, self.device, memory)
        return self._corpus

    def share(self, corpus: Corpus) -> None:
        """Use what another session has read, whose runs read the same features."""
        self._corpus = corpus

    def tell(self, plans: Sequence[Plan], sizes: Sizes) -> None:
        """Note what `plans` cost with frozen and with trained encoders, before they begin."""
        with threads(self.config.train.threads):
            for line in tell(plans, self.open(plans), built, partial(sizes, self.config)):
                self.progress.note(line)

    def seen(self, plan: Plan) -> Selection:
        """The data of one run: all of its frames, or those that its missing rate leaves."""
        data, rate = self.open([plan]).select(plan.modalities), self.config.train.missing_rate
        if not rate or masks_internally(plan.options):
            return data
        special = self.config.train.special_tokens
        return damaged(data, MissingCase("rate", "all", rate), special=special)

    def try_make(self, plans: Sequence[Plan], progress: Progress | None = None) -> list[Run]:
        """`make`; a run that fails ends no other: it is told and listed in `failures`.

        Where several processes make a run together it ends them all, as they could not go on alike.
        """
        try:
            return self.make(plans, progress)
        except (Preempted, StoreError):  # we are to end, or no run can be read for
            raise
        except Exception as fault:
            disk = isinstance(fault, OSError) or isinstance(fault.__cause__, OSError)
            if self.ranks.count > 1 or disk:  # a disk that refuses one run refuses the next
                raise
            known = isinstance(fault, SedimentalError)
            text = str(fault) if known else f"{plans[0].title}: {type(fault).__name__}: {fault}"
            self.failures.append(text)
            (progress or self.progress).note(f"failed: {text}")
            return []

    def make(self, plans: Sequence[Plan], progress: Progress | None = None) -> list[Run]:
        """Make one run, or those of one stack, and write them."""
        self.notice.raise_if_set(f"before {plans[0].title}; finished runs are kept")
        progress, config = progress or self.progress, self.config
        data = self.seen(plans[0])
        with threads(config.train.threads):
            if len(plans) > 1:
                trained = train_together(plans, data, config, progress, self.notice)
            else:
                checkpoint = self.checkpoint(plans[0])
                trained = [train_one(plans[0], data, config, progress, checkpoint, self.ranks)]
        for plan, (run, weights) in zip(plans, trained, strict=True):
            if self.ranks.lead:
                written = write_run(plan.folder, run, weights, self.again)
                self.checkpoint(plan).clear()
                if not written:
                    progress.note(f"{plan.title}: the same run is there by now, and stands")
            progress.note(f"{plan.title}: {summary(run)}")
            for text in run_warnings(run):
                progress.note(f"warning: {plan.title}: {text}")
        return [run for run, _ in trained]

    def checkpoint(self, plan: Plan) -> Checkpoint:
        """Where a run keeps what it has come to, beside its folder-to-be."""
        path = plan.folder.with_name(f".resume-{plan.folder.name}.safetensors")
        minutes, note = self.config.train.checkpoint_minutes, self.progress.note
        return Checkpoint(path, plan.key, minutes, self.notice, note)


def memory_of_one(config: Config, count: int) -> int:
    """MB for one of `count` processes: together they keep to the memory of one."""
    whole = config.train.memory_mb or int(HELD * free_memory() / 10**6)
    return max(1, whole // count)


def _shared(config: Config) -> Config:
    """The config of a process that trains each run together with others."""
    launch = launched()
    memory = memory_of_one(config, launch.local_world) if launch else config.train.memory_mb
    section = config.train.model_copy(update={"memory_mb": memory, "stack": "off"})
    return config.model_copy(update={"train": section})


def train_one(
    plan: Plan,
    data: Selection,
    config: Config,
    progress: Progress,
    checkpoint: Checkpoint | None = None,
    ranks: Ranks = SINGLE_PROCESS,
) -> tuple[Run, bytes]:
    """The run of `plan`, and its weights file (safetensors).

    Beside the model's weights the file holds ``inputs.<modality>.mean`` and ``.deviation``, by
    which features were scaled: enough to score a new clip.
    """
    began = time.perf_counter()
    model, protocol = built(plan, data), config.evaluate.protocol
    tracking = Tracking(config, plan, progress, ranks.lead)

    def on_epoch(epoch: Epoch) -> None:
        progress.advance(TASK)
        tracking.epoch(epoch)

    try:
        fitted = fit(model, data, plan.settings, plan.seed, protocol, on_epoch, checkpoint, ranks)
    except (RunError, Preempted) as fault:
        raise type(fault)(f"{plan.title}: {fault}") from fault
    progress.advance(TASK, plan.settings.epochs - len(fitted.history))  # if it stopped early
    run, weights = finished_run(
        plan, model, fitted, data, config, time.perf_counter() - began, ranks
    )
    tracking.finish(run.metrics["test"])
    return run, weights


def train_together(
    plans: Sequence[Plan], data: Selection, config: Config, progress: Progress, notice: Notice
) -> list[tuple[Run, bytes]]:
    """`train_one` for the seeds of one stack, in one pass over the data; it keeps no checkpoint."""
    began = time.perf_counter()
    models = [built(plan, data) for plan in plans]
    seeds, settings = [plan.seed for plan in plans], plans[0].settings

    def on_epoch() -> None:
        progress.advance(TASK)
        notice.raise_if_set(
            f"in {plans[0].title} and others, which begin anew; finished runs are kept"
        )

    try:
        fits = fit_stacked(models, data, settings, seeds, config.evaluate.protocol, on_epoch)
    except RunError as fault:
        raise RunError(f"{plans[0].title} and others: {fault}") from fault
    progress.advance(TASK, sum(settings.epochs - len(fitted.history) for fitted in fits))
    seconds = (time.perf_counter() - began) / len(plans)
    runs = [
        finished_run(plan, model, fitted, data, config, seconds)
        for plan, model, fitted in zip(plans, models, fits, strict=True)
    ]
    for plan, (run, _) in zip(plans, runs, strict=True):
        Tracking(config, plan, progress).finish(run.metrics["test"], run.history)
    return runs


def built(plan: Plan, data: Selection) -> FusionModel:
    """The model of `plan` with its first weights, on the device; live encoders in front of it."""
    forget_peak(data.labels.device)
    shapes = {m: source.shape for m, source in data.sources.items()}
    model = build(plan.model, plan.options, shapes, stream(plan.seed, "init"), data.table.heads)
    if live := live_of(plan.inputs):
        sources = {m: undamaged(source) for m, source in data.sources.items()}
        readings = {m: source for m, source in sources.items() if isinstance(source, Reading)}
        draws = stream(plan.seed, "init")
        encoders = {m: one.build(draws) for m, one in live.items()}
        model = LiveModel(model, encoders, readings, plan.tuning, plan.settings.learning_rate)
    model.to(data.labels.device)
    return model
