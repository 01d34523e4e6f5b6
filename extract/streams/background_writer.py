"""The writing thread: parts go to disk while the device works on the next ones."""

import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

WAITING = 2
"""Parts that may wait for the disk; then the encoders wait, and memory stays bounded."""

Write = Callable[[], None]


class StoreThread:
    """Writes parts in the background; leaving the block waits until all are on disk.

    The first fault of a write is raised at the next `put`, or on leaving.
    """

    def __init__(self) -> None:
        self._queue: queue.Queue[Write | None] = queue.Queue(WAITING)
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

    def put(self, write: Write) -> None:
        """Queue the writing of one part; waits while too many are queued."""
        if self._fault is not None:
            raise self._fault
        self._queue.put(write)

    def _write(self) -> None:
        while (write := self._queue.get()) is not None:
            if self._fault is not None:
                continue  # the disk failed: take jobs off, so that nobody waits for ever
            try:
                write()
            except BaseException as fault:
                self._fault = fault
            del write  # what it holds is a whole part
