"""Jobs of a sweep on several processes, a thread of arithmetic each.

Workers are plain child processes that are sent pickles: unlike multiprocessing they need nothing
of the program that started them, and they end with it, however it ends.
"""

import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import IO, Any

from ..cache.errors import RunError
from ..cache.progress import Progress
from .sweep_cells import TASK, Job

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Pool:
    """Child processes for the jobs of one sweep; leaving its ``with`` ends them."""

    def __init__(self, progress: Progress) -> None:
        """No process is started before there is work for it."""
        self._progress = progress
        self._stack = ExitStack()
        self._workers: list[_Worker] = []

    def __enter__(self) -> "Pool":
        """Nothing yet."""
        return self

    def __exit__(self, *fault: object) -> None:
        """End the processes."""
        self._stack.close()

    def run(self, jobs: Sequence[Job], processes: int) -> None:
        """Train all `jobs` on `processes` processes, each run written as soon as it is done.

        Raises RunError with the message of the first fault; the pool is then of no more use.
        """
        shift = _Shift(balanced(jobs, processes), processes, self._progress)
        while len(self._workers) < processes:
            self._workers.append(self._stack.enter_context(_Worker()))
        threads = [
            threading.Thread(target=shift.serve, args=[worker], daemon=True)
            for worker in self._workers[:processes]
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads) and not shift.faults:
            for thread in threads:
                thread.join(0.1)
        if shift.faults:
            raise RunError(shift.faults[0])


class _Shift:
    """Hands out jobs to workers, a thread each, and passes on what they say."""

    def __init__(self, jobs: Sequence[Job], processes: int, progress: Progress) -> None:
        self._waiting, self._processes, self._progress = deque(jobs), processes, progress
        self._lock = threading.Lock()
        self.faults: list[str] = []

    def take(self, spare: bool) -> Job | None:
        """The next job; one to be kept in `spare` only if every process would still get one."""
        with self._lock:
            few = spare and len(self._waiting) < self._processes
            if self.faults or few or not self._waiting:
                return None
            return self._waiting.popleft()

    def serve(self, worker: "_Worker") -> None:
        """Keep `worker` busy until there is no more work."""
        sent = 0
        try:
            while True:
                while sent < 2 and (job := self.take(spare=sent == 1)) is not None:
                    worker.send(job)
                    sent += 1
                if not sent:
                    return
                what, value = worker.receive()
                if what == "advance":
                    self._progress.advance(TASK, value)
                elif what == "note":
                    self._progress.note(value)
                elif what == "done":
                    sent -= 1
                else:
                    self.faults.append(value)
                    return
        except (OSError, EOFError, ValueError, pickle.PickleError):  # or we closed its pipes
            self.faults.append(
                "a process of the sweep ended before its work was done; the system may have run "
                "out of memory. `sedimental sweep` goes on from the finished runs; a smaller "
                "sweep.processes needs less."
            )


def balanced(jobs: Sequence[Job], processes: int) -> list[Job]:
    """`jobs` such that no process waits long for the last one: the odd ones are split by seeds."""
    whole = len(jobs) // processes * processes
    return [*jobs[:whole], *(part for job in jobs[whole:] for part in job.split(processes))]


class _Worker:
    """One child process; leaving its ``with`` ends it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **ENVIRONMENT},
        )

    def __enter__(self) -> "_Worker":
        return self

    def __exit__(self, *fault: object) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()  # a worker that hears no more ends itself
        self._process.kill()
        self._process.wait()

    def send(self, job: Job) -> None:
        """Have the child train `job` after those before it."""
        assert self._process.stdin is not None
        pickle.dump(job, self._process.stdin)
        self._process.stdin.flush()

    def receive(self) -> tuple[str, Any]:
        """What the child says next."""
        assert self._process.stdout is not None
        said: tuple[str, Any] = pickle.load(self._process.stdout)
        return said


class _Mouth:
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
    """What a child process does: train the jobs that come in, until none come any more."""
    import queue
    import signal

    from ..cache.errors import SedimentalError
    from .sweep_cells import train_jobs

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and ends us
    mouth = _Mouth(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)  # whatever a library prints must not get among the messages
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()

    def listen() -> None:
        while True:
            try:
                jobs.put(pickle.load(sys.stdin.buffer))
            except (EOFError, OSError, pickle.PickleError):
                os._exit(0)  # the parent is gone, or needs us no more

    threading.Thread(target=listen, daemon=True).start()

    def coming() -> Iterator[Job]:
        while True:
            yield jobs.get()

    try:
        for _ in train_jobs(coming(), mouth):
            mouth.say("done", None)
    except SedimentalError as fault:
        mouth.say("fault", str(fault))
    except Exception as fault:
        mouth.say("fault", f"{type(fault).__name__}: {fault}")


if __name__ == "__main__":
    # under its own name, by which the parent's pickles know these classes
    from sedimental.train.sweep_pool import work as main  # noqa: TID251

    main()
