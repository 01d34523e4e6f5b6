"""Runs on several processes, a core each: light models are faster so than on several threads.

The process that asks makes runs itself while the others load PyTorch. A run's numbers do not depend
on where it was made.

`concurrent.futures.ProcessPoolExecutor` cannot do what is needed here: of a worker that the system
kills it does not say which one it was, by which signal, or what it was doing, and it ends all
others with it; it hands a worker no job ahead of time, passes on no progress, and cannot be ended
at once. So this is a thread for each `multiprocessing.Process`, which talks with it over a pipe.
"""

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from types import ModuleType
from typing import Any

from ...config import Config
from ...errors import RunError
from ...progress import Progress, Silent
from ..distributed.sigterm import Notice, Preempted
from .jobs import Job, balanced
from .worker import Take, work

STARTUP = 8.0
"""Seconds until a child has loaded PyTorch and its features, roughly."""
WORTH = 0.8
"""Share of the time on one process below which several are used."""


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def workers_for(runs: int, seconds: float, config: Config) -> int:
    """How many processes to take for `runs` that last `seconds` each here; 1: none but this one."""
    most = min(runs, cores() // config.train.threads)
    if config.train.stack == "off" or most < 2:
        return 1
    meanwhile = min(runs, int(STARTUP / max(seconds, 1e-6)))  # made here until the others begin
    rounds = -(-(runs - meanwhile) // most)
    together = max(STARTUP, meanwhile * seconds) + rounds * seconds
    pays = together < WORTH * runs * seconds
    return most if pays or config.train.stack == "on" else 1


MakeHere = Callable[[Take, Progress], None]
"""How this process makes jobs: given what takes the next one, and whom to tell."""


class Pool:
    """This process and its children, for the jobs of one command; leaving it ends them."""

    def __init__(
        self, task: str, progress: Progress, threads: int, notice: Notice | None = None
    ) -> None:
        """Children take `threads` each; none is started before there is work for it.

        `notice` may ask all of them to end early.
        """
        self._task, self._progress, self._threads = task, progress, threads
        self._notice = notice or Notice()
        self._children: list[_Child] = []

    def __enter__(self) -> "Pool":
        """Nothing yet."""
        return self

    def __exit__(self, *fault: object) -> None:
        """End the children."""
        for child in self._children:
            child.end()

    def run(self, jobs: Sequence[Job], processes: int, make_here: MakeHere) -> list[str]:
        """Have all `jobs` made on `processes` processes, this one being the first of them.

        Returns the runs that failed in other processes, each with its reason; among them those of
        a job that a process was at when the system killed it.

        Raises RunError with the message of the first fault; Preempted, after every process has kept
        its run in flight, if the notice comes here or in a child. The pool is then of no more use.
        """
        handout = _Handout(jobs, processes, self._task, self._progress, self._notice)
        self._children = [child for child in self._children if child.process.is_alive()]
        while len(self._children) < processes - 1:
            self._children.append(_Child(self._threads))
        children = self._children[: processes - 1]
        servers = [threading.Thread(target=handout.serve, args=[c], daemon=True) for c in children]
        for thread in servers:
            thread.start()
        preempted = None
        try:
            make_here(handout.take, handout)
            self._wait(servers, children, handout)
            if handout.waiting:  # what a process that was killed had not begun
                make_here(handout.take, handout)
        except Preempted as end:
            preempted = end
        self._wait(servers, children, handout)
        handout.check()
        if preempted is not None:
            raise preempted
        if handout.ended:
            raise Preempted(handout.ended[0])
        self._notice.raise_if_set("between two runs; finished runs are kept")
        return handout.failures

    def _wait(
        self, servers: Sequence[threading.Thread], children: Sequence["_Child"], handout: "_Handout"
    ) -> None:
        """Until all are done, or one has met a fault; they are asked to end if we are."""
        asked = False
        while any(thread.is_alive() for thread in servers) and not handout.faults:
            if self._notice.came and not asked:
                asked = True
                for child in children:
                    child.process.terminate()  # it keeps its run at its next step
            for thread in servers:
                thread.join(0.1)


class _Handout(Silent):
    """Hands out jobs, and passes on what the children say, a thread each.

    To this process's own runs it is the Progress, which ends them when a child has met a fault.
    """

    def __init__(
        self, jobs: Sequence[Job], processes: int, task: str, progress: Progress, notice: Notice
    ) -> None:
        self.waiting, self._processes = deque(balanced(jobs, processes)), processes
        self._task, self._progress, self._notice = task, progress, notice
        self._lock = threading.Lock()
        self.faults: list[str] = []
        """What ended a process."""
        self.failures: list[str] = []
        """Single runs that failed in children."""
        self.ended: list[str] = []
        """What children said that were asked to end."""

    def take(self, spare: bool) -> Job | None:
        """The next job; one to be kept in `spare` only if every process would still get one."""
        with self._lock:
            few = spare and len(self.waiting) < self._processes
            if self.faults or self._notice.came or few or not self.waiting:
                return None
            return self.waiting.popleft()

    def check(self) -> None:
        """Raises RunError if any process has met a fault."""
        if self.faults:
            raise RunError(self.faults[0])

    def advance(self, task: str, by: int = 1) -> None:
        """Pass on."""
        self.check()
        self._progress.advance(self._task, by)

    def note(self, message: str) -> None:
        """Pass on."""
        self._progress.note(message)

    def serve(self, child: "_Child") -> None:
        """Keep `child` busy until there is no more work."""
        hands = deque[Job]()
        try:
            while True:
                while len(hands) < 2 and (job := self.take(spare=bool(hands))) is not None:
                    hands.append(job)
                    child.pipe.send(job)
                if not hands:
                    return
                what, value = child.pipe.recv()
                if what == "advance":
                    self._progress.advance(self._task, value)
                elif what == "note":
                    self._progress.note(value)
                elif what == "failed":
                    self.failures.append(value)
                elif what == "done":
                    hands.popleft()
                elif what == "ended":
                    self.ended.append(value)
                    self._notice.came = True  # for all: it may have been asked alone
                    return
                else:
                    self.faults.append(value)
                    return
        except (OSError, EOFError):  # it was killed, or we have ended it
            if not self._notice.came:  # then it was still starting, and has nothing to keep
                self.waiting.extendleft(list(hands)[1:])
                self.failures.append(f"{', '.join(hands[0].titles)}: {child.obituary()}")
                self._progress.note(f"failed: {self.failures[-1]}")


class _Child:
    """One child process, which ends when its pipe is closed."""

    def __init__(self, threads: int) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=work, args=[theirs], daemon=True)
        with _starting(threads):
            self.process.start()
        theirs.close()

    def end(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.join()
        self.pipe.close()

    def obituary(self) -> str:
        """What it died of, and the way out."""
        self.process.join()
        code = self.process.exitcode or 0
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        return (
            f"the training process that had them to make ended {how}; the system may have run out "
            "of memory. The same command goes on from the finished runs; fewer processes need less "
            '(sweep.processes, or train.stack = "off").'
        )


@contextmanager
def _starting(threads: int) -> Iterator[None]:
    """Within, a child that starts takes so many `threads`, and nothing of the program around us.

    A child of multiprocessing runs the program's main file again, which asks for the same training
    unless it is guarded; and it looks for modules in the working folder first.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment: dict[str, Any] = dict.fromkeys(names, str(threads)) | {"PYTHONSAFEPATH": "1"}
    before, main = {name: os.environ.get(name) for name in environment}, sys.modules["__main__"]
    os.environ.update(environment)
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
