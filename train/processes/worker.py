"""Makes the runs of jobs one after the other, here or as a process of a pool."""

import os
import queue
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection

from ...cache.corpus.corpus_table import cached_manifest
from ...cache.manifest import Manifest
from ...errors import SedimentalError
from ...progress import Progress, Silent
from ..distributed.sigterm import Notice, Preempted, catch_sigterm
from ..plan import made_together
from ..session import TrainSession
from .jobs import Job, Share

Take = Callable[[bool], Job | None]
"""Gives the next job; with True, one to be read ahead. None: there is none (to be read ahead)."""


@dataclass(frozen=True)
class _Ready:
    job: Job
    sessions: tuple[TrainSession, ...]
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

    def prepared(before: _Ready | None, spare: bool = False) -> _Ready | None:
        """The next job, and what it needs beyond what is there from the job `before`."""
        job = take(spare)
        if job is None:
            return None
        known = list(zip(before.job.shares, before.sessions, strict=True)) if before else []
        manifest = before.manifest if before else cached_manifest(job.shares[0].config)

        def session_of(share: Share) -> TrainSession:
            for other, session in known:
                if (other.config, other.again) == (share.config, share.again):
                    return session
            return TrainSession(
                share.config, progress, manifest=manifest, notice=notice, again=share.again
            )

        first, *others = sessions = tuple(map(session_of, job.shares))
        titles = job.reads or job.shares[0].titles
        corpus = first.open([p for p in first.plans if p.title in titles], job.memory_mb)
        for session in others:
            session.share(corpus)
        return _Ready(job, sessions, manifest)

    ahead = ThreadPoolExecutor(1, thread_name_prefix="sedimental-ahead")
    try:
        ready = prepared(None)
        while ready is not None:
            following = ahead.submit(prepared, ready, spare=True)
            for share, session in zip(ready.job.shares, ready.sessions, strict=True):
                plans = [plan for plan in session.plans if plan.title in share.titles]
                for group in made_together(plans):
                    if not session.try_make(group):
                        failed(session.failures[-1])
            done()
            ready = following.result() or prepared(ready)
    finally:
        ahead.shutdown(wait=False)  # after a fault it may wait for a job that never comes


class PipeProgress(Silent):
    """In a process of a pool: a Progress that tells the process which started it."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._lock = pipe, threading.Lock()

    def say(self, what: str, value: object = None) -> None:
        """Send one message."""
        with self._lock:
            self._pipe.send((what, value))

    def advance(self, task: str, by: int = 1) -> None:
        """Pass on."""
        self.say("advance", by)

    def note(self, message: str) -> None:
        """Pass on."""
        self.say("note", message)


def work(pipe: Connection) -> None:
    """What a process of a pool does: make the jobs that come in on `pipe`, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and ends us
    os.dup2(2, 1)  # whatever a library prints must not get among the command's results
    progress, jobs = PipeProgress(pipe), queue.SimpleQueue[Job]()

    def listen() -> None:
        while True:
            try:
                jobs.put(pipe.recv())
            except (EOFError, OSError):
                os._exit(0)  # the parent is gone, or needs us no more

    threading.Thread(target=listen, daemon=True).start()
    try:
        with catch_sigterm() as notice:
            make_jobs(
                lambda _: jobs.get(),
                progress,
                notice,
                lambda: progress.say("done"),
                lambda text: progress.say("failed", text),
            )
    except Exception as fault:  # whatever it is, the parent must hear of it
        known = isinstance(fault, SedimentalError)
        text = str(fault) if known else f"{type(fault).__name__}: {fault}"
        progress.say("ended" if isinstance(fault, Preempted) else "fault", text)
