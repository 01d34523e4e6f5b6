"""Makes the runs of jobs one after the other; as a program, those that come in on its stdin.

Started so it is sent pickled jobs and answers in pickled pairs (what, value).
"""

import os
import pickle
import queue
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, Any

from ..cache.corpus.corpus_table import cached_manifest
from ..cache.manifest import Manifest
from ..errors import SedimentalError
from ..progress import Progress
from .distributed.sigterm import Notice, Preempted, catch_sigterm
from .plan import made_together
from .processes.jobs import Job, Share
from .run import TrainSession

Take = Callable[[bool], Job | None]
"""Gives the next job; with True, one to be read ahead. None: there is none (to be read ahead)."""


@dataclass(frozen=True)
class _Ready:
    job: Job
    shops: tuple[TrainSession, ...]
    """One a share, all on the same features."""
    manifest: Manifest


def make_jobs(
    take: Take,
    progress: Progress,
    notice: Notice | None = None,
    done: Callable[[], None] = lambda: None,
    failed: Callable[[str], None] = lambda _: None,
) -> None:
    """Make the runs of every job that `take` gives, each written at once; `done` follows a job.

    `failed` is told of each run that fails, which ends no other.

    The features of the next job are read while this one is trained. Raises Preempted, when the run
    in flight is kept, if `notice` comes.
    """
    preparing = _Preparing(take, progress, notice or Notice())
    ahead = ThreadPoolExecutor(1, thread_name_prefix="sedimental-ahead")
    try:
        ready = preparing.next(None)
        while ready is not None:
            following = ahead.submit(preparing.next, ready, spare=True)
            for share, shop in zip(ready.job.shares, ready.shops, strict=True):
                plans = [plan for plan in shop.plans if plan.title in share.titles]
                for group in made_together(plans):
                    if not shop.try_make(group):
                        failed(shop.failures[-1])
            done()
            ready = following.result() or preparing.next(ready)
    finally:
        ahead.shutdown(wait=False)  # after a fault it may wait for a job that never comes


@dataclass(frozen=True)
class _Preparing:
    take: Take
    progress: Progress
    notice: Notice

    def next(self, before: _Ready | None, spare: bool = False) -> _Ready | None:
        """The next job, and what it needs beyond what is there from the job `before`."""
        job = self.take(spare)
        if job is None:
            return None
        known = [] if before is None else list(zip(before.job.shares, before.shops, strict=True))
        own = job.shares[0].config
        manifest = cached_manifest(own) if before is None else before.manifest

        def shop_of(share: Share) -> TrainSession:
            for other, shop in known:
                if other.config == share.config and shop.again == share.again:
                    return shop
            return TrainSession(
                share.config,
                self.progress,
                manifest=manifest,
                notice=self.notice,
                again=share.again,
            )

        shops = tuple(shop_of(share) for share in job.shares)
        titles = job.reads or job.shares[0].titles
        read = [plan for plan in shops[0].plans if plan.title in titles]
        corpus = shops[0].open(read, job.memory_mb)
        for shop in shops[1:]:
            shop.share(corpus)
        return _Ready(job, shops, manifest)


class PipeProgress:
    """In the child: a Progress that tells the parent."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe, self._lock = pipe, threading.Lock()

    def say(self, what: str, value: Any) -> None:
        """Send one message."""
        with self._lock:
            pickle.dump((what, value), self._pipe)
            self._pipe.flush()

    def start(self, task: str, total: int, unit: str = "clip") -> None:
        """The parent said so."""

    def advance(self, task: str, by: int = 1) -> None:
        """Tell the parent."""
        self.say("advance", by)

    def note(self, message: str) -> None:
        """Tell the parent."""
        self.say("note", message)


def work() -> None:
    """What a child process does: make the jobs that come in, until its stdin is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and ends us
    mouth = PipeProgress(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)  # whatever a library prints must not get among the messages
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()

    def listen() -> None:
        while True:
            try:
                jobs.put(pickle.load(sys.stdin.buffer))
            except (EOFError, OSError, pickle.PickleError):
                os._exit(0)  # the parent is gone, or needs us no more

    threading.Thread(target=listen, daemon=True).start()
    try:
        with catch_sigterm() as notice:
            make_jobs(
                lambda _: jobs.get(),
                mouth,
                notice,
                lambda: mouth.say("done", None),
                lambda text: mouth.say("failed", text),
            )
    except Preempted as end:
        mouth.say("ended", str(end))
    except SedimentalError as fault:
        mouth.say("fault", str(fault))
    except Exception as fault:  # whatever it is, the parent must hear of it
        mouth.say("fault", f"{type(fault).__name__}: {fault}")


if __name__ == "__main__":
    work()
