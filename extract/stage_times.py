"""Where the time of an extraction goes: busy seconds and items of each stage."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class StageTime:
    """One stage of the whole run."""

    stage: str
    items: float
    unit: str
    """What `items` counts: clips, frames, tokens, MB."""
    busy: float
    """Seconds of work, summed over the stage's threads."""
    cpu: float
    """Processor seconds of the process meanwhile; 0 where it was not measured."""
    threads: int
    share: float
    """Busy seconds of a thread on average, over the wall time: 1 is a stage that never waits."""

    @property
    def rate(self) -> float:
        """Items a second while all its threads are busy."""
        return self.items * self.threads / self.busy if self.busy else 0.0


class Clock:
    """Adds up busy time and items by stage; any thread may use it at any time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums: defaultdict[str, tuple[float, float, float]]
        self._sums = defaultdict(lambda: (0.0, 0.0, 0.0))
        """Busy seconds, processor seconds and items, by stage."""
        self._units: dict[str, tuple[str, int]] = {}

    def stage(self, stage: str, unit: str, threads: int = 1) -> None:
        """Announce a stage; stages are listed in the order they were announced."""
        with self._lock:
            self._units.setdefault(stage, (unit, threads))

    def add(self, stage: str, seconds: float, items: float = 0, cpu: float = 0.0) -> None:
        """`seconds` of work on `items`."""
        with self._lock:
            busy, spent, done = self._sums[stage]
            self._sums[stage] = busy + seconds, spent + cpu, done + items

    @contextmanager
    def busy(self, stage: str, items: float = 0) -> Iterator[None]:
        """Count the block as work of `stage`."""
        began, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            spent = time.process_time() - cpu
            self.add(stage, time.perf_counter() - began, items, spent)

    def stages(self, wall: float) -> tuple[StageTime, ...]:
        """What was counted, with shares of `wall` seconds."""
        with self._lock:
            stages = []
            for stage, (unit, threads) in self._units.items():
                busy, cpu, items = self._sums[stage]
                share = busy / threads / wall if wall else 0.0
                stages.append(StageTime(stage, items, unit, busy, cpu, threads, share))
            return tuple(stages)
