"""Runs on several processes, a core each: light models are faster so than on several threads.

A worker is a plain child process that is told titles of runs on its stdin and answers in JSON
lines. Unlike multiprocessing it needs nothing of the program that started it, and it ends with it.
A run's numbers do not depend on where it was made.
"""

import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from typing import IO, Any

from ..cache.errors import RunError
from ..cache.progress import Progress
from ..config import Config
from .plan import Plan
from .preemption import Notice, Preempted, noticing

STARTUP = 8.0
"""Seconds until a worker has loaded PyTorch and its features, roughly."""
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
    rounds = -(-runs // most)
    pays = STARTUP + rounds * seconds < WORTH * runs * seconds
    return most if pays or config.train.stack == "on" else 1


def train_apart(
    plans: Sequence[Plan],
    config: Config,
    count: int,
    progress: Progress,
    task: str,
    notice: Notice,
) -> None:
    """Make the runs `plans` on `count` processes, each written as soon as it is done.

    `task` is whose progress is told. Raises RunError with the message of the first fault;
    Preempted, after every process has kept its run in flight, if `notice` comes.
    """
    titles = deque(plan.title for plan in plans)
    faults: list[str] = []
    ended: list[str] = []
    head = json.dumps({"config": config.model_dump(mode="json"), "titles": list(titles)})
    workers = [_start(config.train.threads) for _ in range(count)]

    def serve(worker: subprocess.Popen[str]) -> None:
        try:
            _say(worker.stdin, head)
            while titles and not (faults or ended or notice.came):
                title = titles.popleft()
                _say(worker.stdin, json.dumps(title))
                what, message = _heard(worker, title, progress, task)
                if what != "done":
                    (ended if what == "ended" else faults).append(message)
        except IndexError:  # another thread took the last title
            pass
        except (OSError, ValueError):
            if not (ended or notice.came):  # then it was still starting, and has nothing to keep
                faults.append(
                    "a training process ended before its work was done; the system may have run "
                    "out of memory. `sedimental train` goes on from there; "
                    'stack = "off" needs less.'
                )

    threads = [threading.Thread(target=serve, args=[w], daemon=True) for w in workers]
    try:
        for thread in threads:
            thread.start()
        asked = False
        while any(t.is_alive() for t in threads) and not faults:
            if (notice.came or ended) and not asked:
                asked = True
                for worker in workers:
                    worker.terminate()  # each keeps its run at its next step
            for thread in threads:
                thread.join(0.1)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
            for pipe in (worker.stdin, worker.stdout):
                assert pipe is not None
                pipe.close()
    if faults:
        raise RunError(faults[0])
    if ended:
        raise Preempted(ended[0])
    notice.heed("between two runs; finished runs are kept")


def _start(threads: int) -> subprocess.Popen[str]:
    limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    return subprocess.Popen(
        [sys.executable, "-P", "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **limits},
    )


def _say(pipe: IO[str] | None, line: str) -> None:
    assert pipe is not None
    pipe.write(line + "\n")
    pipe.flush()


def _heard(
    worker: subprocess.Popen[str], title: str, progress: Progress, task: str
) -> tuple[str, str]:
    """Pass on what the worker says until its run is ``done``, or ``ended``, or it has a ``fault``:
    which of these, and its message."""
    assert worker.stdout is not None
    for line in worker.stdout:
        what, value = json.loads(line)
        if what == "advance":
            progress.advance(task, value)
        elif what == "note":
            progress.note(value)
        else:
            return what, str(value)
    raise OSError(f"{title}: the process is gone")


class _Mouth:
    """In the child: a Progress that tells the parent."""

    def __init__(self, pipe: IO[str]) -> None:
        self._pipe = pipe

    def say(self, what: str, value: Any) -> None:
        """Send one message."""
        _say(self._pipe, json.dumps([what, value]))

    def start(self, task: str, total: int, unit: str = "clip") -> None:
        """The parent said so."""

    def advance(self, task: str, by: int = 1) -> None:
        """Tell the parent."""
        self.say("advance", by)

    def note(self, message: str) -> None:
        """Tell the parent."""
        self.say("note", message)


def work() -> None:
    """What a child process does: make the runs whose titles come in, until none come any more."""
    import signal

    from .run import Workshop

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and ends us
    mouth = _Mouth(os.fdopen(os.dup(1), "w"))
    os.dup2(2, 1)  # whatever a library prints must not get among the messages
    head = json.loads(sys.stdin.readline())
    try:
        with noticing() as notice:
            workshop = Workshop(Config.model_validate(head["config"]), mouth, notice)
            plans = {plan.title: plan for plan in workshop.plans if plan.title in head["titles"]}
            workshop.open(list(plans.values()))
            for line in sys.stdin:
                workshop.make([plans[json.loads(line)]])
                mouth.say("done", None)
    except Preempted as end:
        mouth.say("ended", str(end))
    except Exception as fault:  # whatever it is, the parent must hear of it
        mouth.say("fault", str(fault) if isinstance(fault, RunError) else repr(fault))


if __name__ == "__main__":
    work()
