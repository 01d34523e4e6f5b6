"""The writing thread: parts go to disk while the device works on the next chunk."""

import queue
import threading
from types import TracebackType
from typing import Self

from ..cache.writer import ClipFeatures, StoreWriter

WAITING = 2
"""Chunks that may wait for the disk; then the encoders wait, and memory stays bounded."""

Job = tuple[StoreWriter, list[ClipFeatures]]


class Storer:
    """Writes parts in the background; leaving the block waits until all are on disk.

    The first fault of a write is raised at the next `put`, or on leaving.
    """

    def __init__(self) -> None:
        self._queue: queue.Queue[Job | None] = queue.Queue(WAITING)
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._write, name="write", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._queue.put(None)
        self._thread.join()
        if fault is None and self._fault is not None:
            raise self._fault

    def put(self, writer: StoreWriter, features: list[ClipFeatures]) -> None:
        """Queue one part; waits while too many are queued."""
        if self._fault is not None:
            raise self._fault
        self._queue.put((writer, features))

    def _write(self) -> None:
        while (job := self._queue.get()) is not None:
            if self._fault is not None:
                continue  # the disk failed: take jobs off, so that nobody waits for ever
            try:
                writer, features = job
                writer.add(features)
            except BaseException as fault:
                self._fault = fault
