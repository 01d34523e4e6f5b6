"""The decoding pool: order kept, memory bounded, faults passed on, threads let go."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from sedimental.extract.streams.prefetch import WAITING, Event, ahead


def jobs(count: int) -> list[Any]:
    return [SimpleNamespace(number=n) for n in range(count)]


def test_clips_come_in_order_with_all_their_pieces() -> None:
    def work(job: Any, put: Any) -> None:
        time.sleep(0.001 * (7 - job.number % 7))  # the first started is not the first done
        for piece in range(job.number % 5):
            put(Event(0, (job.number, piece)))

    with ThreadPoolExecutor(4) as pool:
        found = [
            (job.number, [e.content for e in events])  # type: ignore[attr-defined]
            for job, events in ahead(pool, jobs(20), work, 8)
        ]
    assert found == [(n, [(n, piece) for piece in range(n % 5)]) for n in range(20)]


def test_what_waits_is_bounded_however_long_the_clips() -> None:
    live, most, lock = 0, 0, threading.Lock()

    def work(job: Any, put: Any) -> None:
        nonlocal live, most
        for piece in range(50):
            with lock:
                live += 1
                most = max(most, live)
            put(Event(0, piece))

    depth = 6
    with ThreadPoolExecutor(3) as pool:
        for _, events in ahead(pool, jobs(12), work, depth):
            for _ in events:
                with lock:
                    live -= 1
    assert most <= depth * (WAITING + 2)


def test_a_fault_of_a_thread_reaches_the_caller_and_frees_the_others() -> None:
    def work(job: Any, put: Any) -> None:
        if job.number == 2:
            raise ValueError("a bug")
        for piece in range(100):
            put(Event(0, piece))

    def run() -> None:
        with ThreadPoolExecutor(3) as pool:
            for _, events in ahead(pool, jobs(9), work, 6):
                list(events)

    with pytest.raises(ValueError, match="a bug"):
        run()


def test_a_caller_that_stops_leaves_no_thread_behind() -> None:
    def work(_job: Any, put: Any) -> None:
        for piece in range(1000):
            put(Event(0, piece))

    with ThreadPoolExecutor(3) as pool:
        stream = ahead(pool, jobs(9), work, 6)
        _, events = next(stream)
        next(events)
        stream.close()  # type: ignore[attr-defined]
    assert not [
        t for t in threading.enumerate() if t.name.startswith("ThreadPoolExecutor") and t.is_alive()
    ]
