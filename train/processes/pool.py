"""Runs on several processes, a core each: light models are faster so than on several threads.

The process that asks makes runs itself while the others load PyTorch. Those are plain children that
are sent pickles: unlike multiprocessing they need nothing of the program that started them, and
they end with it, however it ends. A run's numbers do not depend on where it was made.
"""

import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from ...config import Config
from ...errors import RunError
from ...progress import Progress
from ..distributed.sigterm import Notice, Preempted
from .jobs import Job, balanced

STARTUP = 8.0
"""Seconds until a child has loaded PyTorch and its features, roughly."""
WORTH = 0.8
"""Share of the time on one process below which several are used."""

GONE = (
    "a training process ended before its work was done; the system may have run out of memory. "
    "The same command goes on from the finished runs; fewer processes need less "
    '(sweep.processes, or train.stack = "off").'
)


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


Own = Callable[[Callable[[bool], Job | None], Progress], None]
"""How this process makes jobs: given what takes the next one (True: to be read ahead; None: there
is none) and whom to tell."""


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
        self._stack = ExitStack()
        self._children: list[_Child] = []

    def __enter__(self) -> "Pool":
        """Nothing yet."""
        return self

    def __exit__(self, *fault: object) -> None:
        """End the children."""
        self._stack.close()

    def run(self, jobs: Sequence[Job], processes: int, own: Own) -> list[str]:
        """Have all `jobs` made on `processes` processes, this one being the first of them.

        Returns the runs that failed in other processes, each with its reason.

        Raises RunError with the message of the first fault; Preempted, after every process has kept
        its run in flight, if the notice comes here or in a child. The pool is then of no more use.
        """
        queue = balanced(jobs, processes)
        shift = _Shift(queue, processes, self._task, self._progress, self._notice)
        while len(self._children) < processes - 1:
            child = _Child(self._threads)
            self._children.append(self._stack.enter_context(child))
        children = self._children[: processes - 1]
        servers = [
            threading.Thread(target=shift.serve, args=[child], daemon=True) for child in children
        ]
        for thread in servers:
            thread.start()
        ended = None
        try:
            own(shift.take, _Listening(self._task, self._progress, shift))
        except Preempted as end:
            ended = end
        asked = False
        while any(thread.is_alive() for thread in servers) and not shift.faults:
            if self._notice.came and not asked:
                asked = True
                for child in children:
                    child.terminate()
            for thread in servers:
                thread.join(0.1)
        shift.check()
        if ended is not None:
            raise ended
        if shift.ended:
            raise Preempted(shift.ended[0])
        self._notice.raise_if_set("between two runs; finished runs are kept")
        return shift.failures


class _Shift:
    """Hands out jobs, and passes on what the children say, a thread each."""

    def __init__(
        self,
        jobs: Sequence[Job],
        processes: int,
        task: str,
        progress: Progress,
        notice: Notice,
    ) -> None:
        self._waiting, self._processes, self._notice = deque(jobs), processes, notice
        self._task, self._progress = task, progress
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
            few = spare and len(self._waiting) < self._processes
            if self.faults or self._notice.came or few or not self._waiting:
                return None
            return self._waiting.popleft()

    def check(self) -> None:
        """Raises RunError if any process has met a fault."""
        if self.faults:
            raise RunError(self.faults[0])

    def serve(self, child: "_Child") -> None:
        """Keep `child` busy until there is no more work."""
        sent = 0
        try:
            while True:
                while sent < 2 and (job := self.take(spare=sent == 1)) is not None:
                    child.send(job)
                    sent += 1
                if not sent:
                    return
                what, value = child.receive()
                if what == "advance":
                    self._progress.advance(self._task, value)
                elif what == "note":
                    self._progress.note(value)
                elif what == "failed":
                    self.failures.append(value)
                elif what == "done":
                    sent -= 1
                elif what == "ended":
                    self.ended.append(value)
                    self._notice.came = True  # for all: it may have been asked alone
                    return
                else:
                    self.faults.append(value)
                    return
        except (OSError, EOFError, ValueError, pickle.PickleError):  # or we closed its pipes
            if not self._notice.came:  # then it was still starting, and has nothing to keep
                self.faults.append(GONE)


class _Listening:
    """Progress of this process's own runs, which ends them when a child has met a fault."""

    def __init__(self, task: str, progress: Progress, shift: _Shift) -> None:
        self._task, self._progress, self._shift = task, progress, shift

    def start(self, task: str, total: int, unit: str = "clip") -> None:
        """Said already, for all processes."""

    def advance(self, task: str, by: int = 1) -> None:
        """Pass on."""
        self._shift.check()
        self._progress.advance(self._task, by)

    def note(self, message: str) -> None:
        """Pass on."""
        self._progress.note(message)


class _Child:
    """One child process; leaving its ``with`` ends it."""

    def __init__(self, threads: int) -> None:
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", f"{__package__.rpartition('.')[0]}.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **dict.fromkeys(names, str(threads))},
        )

    def __enter__(self) -> "_Child":
        return self

    def __exit__(self, *fault: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def terminate(self) -> None:
        """Ask it to end; it keeps its run at its next step."""
        self._process.terminate()

    def send(self, job: Job) -> None:
        """Have the child make `job` after those before it."""
        assert self._process.stdin is not None
        pickle.dump(job, self._process.stdin)
        self._process.stdin.flush()

    def receive(self) -> tuple[str, Any]:
        """What the child says next."""
        assert self._process.stdout is not None
        said: tuple[str, Any] = pickle.load(self._process.stdout)
        return said
