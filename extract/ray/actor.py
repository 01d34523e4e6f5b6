"""The other side of `--engine ray`: a process that takes share after share. Needs no Ray itself."""

import os
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ...config import Config
from ..doctor import device_name
from ..encoders.device import ComputeDevice
from ..engine import LocalEngine
from ..run import extract
from ..shards import Shard
from ..stage_times import StageTime
from ..survey import workers

ROOT = str(Path(__file__).parent.parent.parent)
"""Folder of the package."""


@dataclass(frozen=True)
class Landmark:
    """A file or folder that every machine has to see, as the one that asks sees it."""

    path: Path
    size: int | None
    """Bytes of a file; None: a folder."""
    what: str

    @classmethod
    def at(cls, path: Path, what: str) -> "Landmark":
        """The landmark at `path`, as this machine sees it."""
        return cls(path, path.stat().st_size if path.is_file() else None, what)

    @property
    def seen(self) -> bool:
        """Whether this machine sees it too."""
        if self.size is None:
            return self.path.is_dir()
        return self.path.is_file() and self.path.stat().st_size == self.size


@dataclass(frozen=True)
class ActorInfo:
    """An actor, of itself."""

    host: str
    pid: int
    device: str
    precision: str
    workers: int
    """Decoding threads."""
    missed: tuple[Landmark, ...]
    """What it should see, and does not."""


@dataclass(frozen=True)
class News:
    """What happened since the last time."""

    advances: Mapping[str, int]
    """Clips done, by task."""
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Done:
    """A share that was gone through to its end."""

    stages: tuple[StageTime, ...]
    truncated: Mapping[str, int]
    """Texts that were cut, by the name of the store's folder."""
    news: News


class Stopped(BaseException):
    """The driver wants no more; like Ctrl-C, it is no fault."""


@dataclass
class BufferedProgress:
    """Progress that is kept until the driver asks for it; says stop when the driver did."""

    stopped: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _advances: dict[str, int] = field(default_factory=dict)
    _notes: list[str] = field(default_factory=list)

    def start(self, task: str, total: int, unit: str = "clip") -> None:
        """The driver knows the tasks; this is one more moment to stop at."""
        self._stop()

    def advance(self, task: str, by: int = 1) -> None:
        with self._lock:
            self._advances[task] = self._advances.get(task, 0) + by
        self._stop()

    def note(self, message: str) -> None:
        with self._lock:
            self._notes.append(message)

    def news(self) -> News:
        """What came since the last call."""
        with self._lock:
            news = News(self._advances, tuple(self._notes))
            self._advances, self._notes = {}, []
        return news

    def _stop(self) -> None:
        if self.stopped.is_set():
            raise Stopped


class Actor:
    """One process on one device. `share` takes long; all else answers meanwhile."""

    def __init__(self, config: Config, cpus: int, gpu: bool) -> None:
        # Ray puts the folder that the driver was started in first among those it imports from.
        # Were that our repository, `evaluate` or `cache` of others would be ours.
        sys.path[:] = [path for path in sys.path if path != ROOT]
        settings = {"device": "cuda" if gpu else "cpu", "workers": config.extract.workers or cpus}
        settings_here = config.extract.model_copy(update=settings)
        self._config, self._cpus = config.model_copy(update={"extract": settings_here}), cpus
        self._wire = BufferedProgress()

    def about(self, landmarks: Sequence[Landmark]) -> ActorInfo:
        """Who this is, and which of the `landmarks` it cannot see."""
        arithmetic = ComputeDevice.of(self._config.extract)
        return ActorInfo(
            host=socket.gethostname(),
            pid=os.getpid(),
            device=device_name(arithmetic.device),
            precision=str(arithmetic.precision).removeprefix("torch."),
            workers=workers(self._config),
            missed=tuple(mark for mark in landmarks if not mark.seen),
        )

    def share(self, shard: Shard) -> Done | None:
        """Extract one share; None if it was stopped, with what was decoded stored and listed."""
        # torch counts by thread, and this one is not the process's first; more threads than
        # processors cost ten times the work
        torch.set_num_threads(self._cpus)
        try:
            engine = LocalEngine(self._config, estimates=False)
            result = extract(self._config, self._wire, shard, engine=engine)
        except Stopped:
            return None
        truncated = {store.path.name: store.truncated for store in result.stores}
        return Done(result.stages, truncated, self._wire.news())

    def news(self) -> News:
        """What happened since the last call."""
        return self._wire.news()

    def stop(self) -> None:
        """Let the share come to its end at the next clip."""
        self._wire.stopped.set()
