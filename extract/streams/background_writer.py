"""The writing thread: parts go to disk while the device works on the next ones."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

WAITING = 2
"""Parts that may wait for the disk; then the encoders wait, and memory stays bounded."""


class StoreThread:
    """Writes parts in the background; leaving the block waits until all are on disk.

    The first fault of a write is raised at the next `put`, or on leaving.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "write")
        self._writes: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown()
        if fault is None:
            self._wait(0)

    def put(self, write: Callable[[], None]) -> None:
        """Queue the writing of one part; waits while too many are queued."""
        self._wait(WAITING)
        self._writes.append(self._pool.submit(write))

    def _wait(self, left: int) -> None:
        while self._writes and (len(self._writes) > left or self._writes[0].done()):
            self._writes.popleft().result()
