"""`train`: every model on every modality subset with every seed, a run folder each."""

from collections.abc import Callable, Iterator, Sequence

from ..cache.runs import Run
from ..config import Config
from ..errors import RunsFailedError
from ..progress import Progress, Silent
from .cost_estimate import Sizes
from .data.live_inputs import FindLive
from .device import find_device
from .distributed.process_group import joined
from .distributed.sigterm import catch_sigterm
from .parts import per_fold
from .plan import Plan, made_together, title_of
from .processes.jobs import Job, Share
from .processes.pool import Pool, workers_for
from .session import TASK, TrainSession, memory_of_one
from .unfit import refuse_unfit

News = Callable[[Config, bool], Iterator[str]]
"""What changed in a corpus since; with True, the cache takes in what makes no feature stale."""


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
    other; one of them writes and tells. In the others a fault that is told already is
    SecondaryExit.
    """
    device = find_device(config.train.device)
    with catch_sigterm() as notice, joined(device) as ranks:
        listener = progress if progress and ranks.lead else Silent()
        if news and ranks.lead:  # of several processes none may read what another is writing
            for text in news(config, ranks.count == 1):
                listener.note(f"warning: {text}")
        runs: list[Run] = []
        for part in per_fold(config):
            session = TrainSession(part, listener, live, notice=notice, ranks=ranks, again=fresh)
            runs += _train(session, sizes)
        return tuple(runs)


def _train(session: TrainSession, sizes: Sizes | None) -> tuple[Run, ...]:
    progress, plans = session.progress, session.plans
    for text in session.leaks:
        progress.note(f"warning: {text}")
    progress.start(TASK, sum(plan.settings.epochs for plan in plans), "epoch")
    done: dict[str, Run] = {}
    finished = {} if session.again else session.finished()
    # a stack is made as a whole: the masks of its dropout are drawn for all its seeds
    broken = {plan.company for plan in plans if plan.stack and not finished.get(plan.title)}
    for plan in plans:
        run = None if plan.stack and plan.company in broken else finished.get(plan.title)
        if run is not None:
            done[plan.title] = run
            progress.advance(TASK, plan.settings.epochs)
            progress.note(f"{plan.title}: nothing changed, the finished run stands")
    waiting = [plan for plan in plans if plan.title not in done]
    if session.again and session.ranks.lead:
        for plan in waiting:
            session.checkpoint(plan).clear()
    refuse_unfit(waiting, session.table.heads, session.table.several)
    if waiting and sizes is not None and session.ranks.lead:
        session.tell(waiting, sizes)
    for run in _make_all(session, waiting):
        done[title_of(run.row, run.identity) if run.identity else run.row] = run
    runs = tuple(done[plan.title] for plan in plans if plan.title in done)
    if session.failures:
        raise RunsFailedError(session.failures, runs)
    return runs


def _make_all(session: TrainSession, plans: Sequence[Plan]) -> Iterator[Run]:
    """Make `plans`, stacked or on several processes where that pays."""
    waiting, seconds = list(plans), list[float]()
    if waiting:
        session.open(waiting)
    while waiting:
        alone = [plan for plan in waiting if not (plan.stack or plan.finetuned)]
        count = _processes(session, len(alone), seconds)
        if count > 1:
            _make_apart(session, alone, count)
            yield from (run for plan in alone if (run := plan.finished()) is not None)
            waiting = [plan for plan in waiting if plan not in alone]
            continue
        group = made_together(waiting)[0]
        for run in session.try_make(group):
            seconds.append(run.seconds)
            yield run
        waiting = [plan for plan in waiting if plan not in group]


def _make_apart(session: TrainSession, plans: Sequence[Plan], count: int) -> None:
    """Make `plans` on `count` processes, each written as soon as it is done."""
    by_title, config = {plan.title: plan for plan in plans}, session.config
    memory = memory_of_one(config, count)
    jobs = [
        Job((Share(config, (title,), session.again),), tuple(by_title), memory)
        for title in by_title
    ]

    def make_here(take: Callable[[bool], Job | None], progress: Progress) -> None:
        while (job := take(False)) is not None:
            for title in job.titles:
                session.try_make([by_title[title]], progress)

    with Pool(TASK, session.progress, config.train.threads, session.notice) as pool:
        session.failures += pool.run(jobs, count, make_here)


def _processes(session: TrainSession, runs: int, seconds: Sequence[float]) -> int:
    """How many to make `runs` on, now that runs of `seconds` have been made here."""
    section = session.config.train
    if session.device.type != "cpu" or section.mode == "finetune":
        return 1  # other processes are not handed live encoders
    if not (seconds or section.stack == "on"):
        return 1  # runs take what the first has taken, which is not known yet
    return workers_for(runs, sum(seconds) / max(1, len(seconds)), session.config)
