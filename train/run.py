"""`train`: every model on every modality subset with every seed, a run folder each."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch

from ..cache.corpus.corpus_table import cached_manifest
from ..cache.corpus.leaks import leaks
from ..cache.manifest import Manifest
from ..cache.runs import Epoch, Run, write_run
from ..cache.runs.run_warnings import run_warnings
from ..cache.spec import SPLITS, Split
from ..config import Config
from ..errors import RunError, RunsFailedError, SedimentalError, StoreError
from ..progress import Progress, Silent
from .cost_estimate import Sizes, tell
from .data.dataset import Corpus, Selection, Table
from .data.live_inputs import FindLive, Reading, live_of
from .data.load import HELD, load
from .data.missing_features import MissingCase, damaged, undamaged
from .data.streaming import free_memory
from .distributed.launcher import launched
from .distributed.process_group import joined
from .distributed.ranks import SINGLE_PROCESS, Ranks
from .distributed.sigterm import Notice, Preempted, catch_sigterm
from .fit.checkpoint import Checkpoint
from .fit.loop import fit
from .fit.seeding import stream
from .fit.settings import check_criterion
from .fit.stacked_seeds import fit_stacked
from .live_model import LiveModel
from .models import build
from .models.shared.interface import FusionModel
from .parts import divided, per_fold
from .peak_memory import forget_peak
from .plan import Plan, made_together, masks_internally, plan_runs, title_of
from .processes.jobs import Job, Share
from .processes.pool import Pool, workers_for
from .record import finished_run, summary
from .trackers import Tracking
from .unfit import refuse_unfit

News = Callable[[Config, bool], Iterator[str]]
"""What changed in a corpus since; with True, the cache takes in what makes no feature stale."""
TASK = "training"
"""The one task whose progress is told: epochs of all runs."""


def train(
    config: Config,
    progress: Progress | None = None,
    fresh: bool = False,
    live: FindLive | None = None,
    sizes: Sizes | None = None,
    news: News | None = None,
) -> tuple[Run, ...]:
    """Train what [train] asks for; a run whose key did not change is read, not repeated.

    `live` finds the inputs whose encoders are trained along, `sizes` says how large others are,
    `news` what changed in the corpus since its features were made, and takes in what it can;
    `sedimental.train` hands all three over.

    Each run is written to its folder as soon as it is done, and the run in flight keeps a
    checkpoint, so that a killed `train` goes on from there; `fresh` repeats all, and keeps the
    runs that were there beside the new ones (``seed-1.old-1``). Features are read
    once, and only if a run needs them. Raises ConfigError, ManifestError, StoreError or RunError,
    each with its remedy; RunsFailedError after all other runs are made, if one failed;
    Preempted, when all is kept, if the system asks to end by SIGTERM.

    Processes that a launcher such as torchrun has started make the runs together, one after the
    other; one of them writes and tells. In the others a fault that is told already is Follows.
    """
    device = find_device(config.train.device)
    with catch_sigterm() as notice, joined(device) as ranks:
        told = progress if progress and ranks.lead else Silent()
        if news and ranks.lead:  # of several processes none may read what another is writing
            for text in news(config, ranks.count == 1):
                told.note(f"warning: {text}")
        found: list[Run] = []
        for part in per_fold(config):
            shop = TrainSession(part, told, live, notice=notice, ranks=ranks, again=fresh)
            found += _train(shop, sizes)
        return tuple(found)


def _train(shop: "TrainSession", sizes: Sizes | None) -> tuple[Run, ...]:
    told, fresh = shop.progress, shop.again
    for text in shop.leaks:
        told.note(f"warning: {text}")
    told.start(TASK, sum(plan.settings.epochs for plan in shop.plans), "epoch")
    done: dict[str, Run] = {}
    finished = {} if fresh else shop.finished()
    # a stack is made as a whole: the masks of its dropout are drawn for all its seeds
    broken = {plan.company for plan in shop.plans if plan.stack and not finished.get(plan.title)}
    for plan in shop.plans:
        run = None if plan.stack and plan.company in broken else finished.get(plan.title)
        if run is not None:
            done[plan.title] = run
            told.advance(TASK, plan.settings.epochs)
            told.note(f"{plan.title}: nothing changed, the finished run stands")
    waiting = [plan for plan in shop.plans if plan.title not in done]
    if fresh and shop.ranks.lead:
        for plan in waiting:
            shop.checkpoint(plan).clear()
    refuse_unfit(waiting, shop.table.heads, shop.table.several)
    if waiting and sizes is not None and shop.ranks.lead:
        shop.tell(waiting, sizes)
    for run in shop.make_all(waiting):
        done[title_of(run.row, run.identity) if run.identity else run.row] = run
    runs = tuple(done[plan.title] for plan in shop.plans if plan.title in done)
    if shop.failures:
        raise RunsFailedError(shop.failures, runs)
    return runs


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
        self.again = again
        self.progress, self.notice, self.ranks = progress, notice or Notice(), ranks
        self.config = config if ranks.count == 1 else _shared(config)
        manifest = manifest or cached_manifest(config)
        own = divided(config, manifest)
        self.leaks = leaks(own)
        self.table = Table.of(own, config.train.task, needed)
        self.device = find_device(config.train.device)
        for criterion in (config.train.criterion, *config.train.also):
            check_criterion(
                criterion, self.table.classes or self.table.several or config.evaluate.protocol
            )
        self.plans = plan_runs(self.config, manifest, self.device.type, live)
        self.failures: list[str] = []
        """Runs that failed, each with its reason."""
        self._corpus: Corpus | None = None

    def finished(self) -> dict[str, Run | None]:
        """The runs that are there already, by title."""
        lead = self.ranks.lead
        own = {p.title: p.finished(self.progress) for p in self.plans} if lead else {}
        return self.ranks.from_lead(own)

    def open(self, plans: Sequence[Plan], memory_mb: int | None = None) -> Corpus:
        """Read the features that `plans` need, once; `memory_mb` goes before the config's."""
        if self._corpus is None:
            needed = {one.modality: one for plan in plans for one in plan.inputs}
            section = self.config.train
            for one in live_of(list(needed.values())).values():
                if one.note:
                    self.progress.note(one.note)
            with _threads(section.threads):
                self._corpus = load(
                    self.table,
                    list(needed.values()),
                    section.input_scaling,
                    self.device,
                    memory_mb or section.memory_mb,
                )
        return self._corpus

    def share(self, corpus: Corpus) -> None:
        """Use what another workshop has read, whose runs read the same features."""
        self._corpus = corpus

    def tell(self, plans: Sequence[Plan], sizes: Sizes) -> None:
        """Note what `plans` cost with frozen and with trained encoders, before they begin."""
        with _threads(self.config.train.threads):
            for line in tell(plans, self.open(plans), built, partial(sizes, self.config)):
                self.progress.note(line)

    def make_all(self, plans: Sequence[Plan]) -> Iterator[Run]:
        """Make `plans`, stacked or on several processes where that pays."""
        waiting, seconds = list(plans), list[float]()
        if waiting:
            self.open(waiting)
        while waiting:
            alone = [plan for plan in waiting if not (plan.stack or plan.finetuned)]
            count = self._processes(len(alone), seconds)
            if count > 1:
                self._make_apart(alone, count)
                yield from (run for plan in alone if (run := plan.finished()) is not None)
                waiting = [plan for plan in waiting if plan not in alone]
                continue
            group = made_together(waiting)[0]
            for run in self.try_make(group):
                seconds.append(run.seconds)
                yield run
            waiting = [plan for plan in waiting if plan not in group]

    def _make_apart(self, plans: Sequence[Plan], count: int) -> None:
        """Make `plans` on `count` processes, each written as soon as it is done."""
        by_title = {plan.title: plan for plan in plans}
        memory = _memory_of_one(self.config, count)

        def own(take: Callable[[bool], Job | None], told: Progress) -> None:
            while (job := take(False)) is not None:
                for title in job.shares[0].titles:
                    self.try_make([by_title[title]], told)

        with Pool(TASK, self.progress, self.config.train.threads, self.notice) as pool:
            jobs = [
                Job((Share(self.config, (title,), self.again),), tuple(by_title), memory)
                for title in by_title
            ]
            self.failures += pool.run(jobs, count, own)

    def _processes(self, runs: int, seconds: Sequence[float]) -> int:
        """How many to make `runs` on, now that runs of `seconds` have been made here."""
        if self.device.type != "cpu" or self.config.train.mode == "finetune":
            return 1  # other processes are not handed live encoders
        if not (seconds or self.config.train.stack == "on"):
            return 1  # runs take what the first has taken, which is not known yet
        return workers_for(runs, sum(seconds) / max(1, len(seconds)), self.config)

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
        told = progress or self.progress
        data = self.seen(plans[0])
        with _threads(self.config.train.threads):
            if len(plans) > 1:
                made = train_together(plans, data, self.config, told, self.notice)
            else:
                kept = self.checkpoint(plans[0])
                made = [train_one(plans[0], data, self.config, told, kept, self.ranks)]
        for plan, (run, weights) in zip(plans, made, strict=True):
            if self.ranks.lead:
                ours = write_run(plan.folder, run, weights, self.again)
                self.checkpoint(plan).clear()
                if not ours:
                    told.note(f"{plan.title}: the same run is there by now, and stands")
            told.note(f"{plan.title}: {summary(run)}")
            for text in run_warnings(run):
                told.note(f"warning: {plan.title}: {text}")
        return [run for run, _ in made]

    def checkpoint(self, plan: Plan) -> Checkpoint:
        """Where a run keeps what it has come to, beside its folder-to-be."""
        path = plan.folder.with_name(f".resume-{plan.folder.name}.safetensors")
        minutes, note = self.config.train.checkpoint_minutes, self.progress.note
        return Checkpoint(path, plan.key, minutes, self.notice, note)


def _memory_of_one(config: Config, count: int) -> int:
    """MB for one of `count` processes: together they keep to the memory of one."""
    whole = config.train.memory_mb or int(HELD * free_memory() / 10**6)
    return max(1, whole // count)


def _shared(config: Config) -> Config:
    """The config of a process that trains each run together with others."""
    launch = launched()
    memory = _memory_of_one(config, launch.local_world) if launch else config.train.memory_mb
    own = config.train.model_copy(update={"memory_mb": memory, "stack": "off"})
    return config.model_copy(update={"train": own})


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
    made = [
        finished_run(plan, model, fitted, data, config, seconds)
        for plan, model, fitted in zip(plans, models, fits, strict=True)
    ]
    for plan, (run, _) in zip(plans, made, strict=True):
        Tracking(config, plan, progress).finish(run.metrics["test"], run.history)
    return made


def train_one(
    plan: Plan,
    data: Selection,
    config: Config,
    progress: Progress,
    checkpoint: Checkpoint | None = None,
    ranks: Ranks = SINGLE_PROCESS,
) -> tuple[Run, bytes]:
    """One run from first weights to scores, and its weights file (safetensors).

    Beside the model's weights the file holds ``inputs.<modality>.mean`` and ``.deviation``, by
    which features were scaled: enough to score a new clip.
    """
    began = time.perf_counter()
    model = built(plan, data)
    protocol = config.evaluate.protocol
    tracking = Tracking(config, plan, progress, ranks.lead)

    def on_epoch(epoch: Epoch) -> None:
        progress.advance(TASK)
        tracking.epoch(epoch)

    try:
        fitted = fit(
            model,
            data,
            plan.settings,
            plan.seed,
            protocol,
            on_epoch,
            checkpoint,
            ranks,
        )
    except (RunError, Preempted) as fault:
        raise type(fault)(f"{plan.title}: {fault}") from fault
    progress.advance(TASK, plan.settings.epochs - len(fitted.history))  # if it stopped early
    made = finished_run(plan, model, fitted, data, config, time.perf_counter() - began, ranks)
    tracking.finish(made[0].metrics["test"])
    return made


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
        rate = plan.settings.learning_rate
        model = LiveModel(model, encoders, readings, plan.tuning, rate)
    model.to(data.labels.device)
    return model


def find_device(name: str) -> torch.device:
    """The device that `train.device` means; raises RunError if there is none such.

    Of processes that train together each has a GPU of its own: that of its number, or the only one
    that it sees.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    found, launch, count = torch.device(name), launched(), torch.cuda.device_count()
    if found.type != "cuda":
        return found
    number = found.index or 0
    if launch is not None:
        if found.index is not None:
            raise RunError(
                f'train.device: "{name}" is one GPU, and {launch.world} processes are to share it. '
                'device = "auto" gives each its own.'
            )
        number = launch.local_rank if count > 1 else 0
    if number >= count:
        remedy = 'device = "auto" takes what there is.'
        if launch is not None and count:
            remedy = "Start as many processes as there are GPUs."
        raise RunError(
            f'train.device: "cuda:{number}" is not there; PyTorch sees {count} GPUs. {remedy}'
        )
    return torch.device("cuda", number)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """PyTorch on `count` CPU threads within, as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
