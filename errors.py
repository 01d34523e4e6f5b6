"""Faults a user can do something about: each names the thing, the place and the way out."""

import errno
import os
from collections.abc import Mapping, Sequence
from typing import Any

EXIT_CODES: Mapping[int, str] = {
    0: "done",
    1: "failed: a file, a disk, a device, or nothing there to work on",
    2: "a wrong command line, pipeline.toml or corpus table; nothing was begun",
    3: "finished, but some clips or runs failed; they are listed, all others are kept",
    130: "stopped by Ctrl-C; what was finished is kept",
    143: "stopped by SIGTERM; what was finished is kept",
}
"""How a command ends -> what that says."""


class SedimentalError(Exception):
    """A fault whose message is meant for the user as it stands."""

    code: int = 1
    """Exit code of the command that it ends."""
    reported: bool = False
    """Whether another process has told the user already; this one then ends without a word."""


class ConfigError(SedimentalError, ValueError):
    """Every fault of a pipeline.toml, or of command line options, at once, a line each."""

    code = 2


class StoreError(SedimentalError):
    """A feature store that cannot be read or written as asked."""


class StoreNotFoundError(StoreError, FileNotFoundError):
    """No feature store lies at this path."""


class IncompleteStoreError(StoreError):
    """The store's parts do not yet cover the clips it was planned for."""


class MissingClipError(StoreError, KeyError):
    """The store holds no features of this clip."""

    def __str__(self) -> str:
        """The message as it stands: KeyError would print it quoted."""
        return str(self.args[0]) if self.args else ""


class CorruptStoreError(StoreError):
    """Bytes on disk are not the bytes that were written."""


class NewerStoreError(StoreError):
    """Written by a later version of this package, in a way this one would misread."""


class OverflowInStoreError(StoreError, OverflowError):
    """A hidden state does not fit the stored dtype, or is not finite."""


class ManifestError(SedimentalError):
    """A corpus table that cannot be used; the message lists every fault with its line."""

    code = 2


class CachedManifestError(ManifestError):
    """manifest.jsonl, which `extract` or `import` keeps in the cache, is missing or damaged."""

    code = 1


class RunError(SedimentalError):
    """A run folder that cannot be read or written as asked."""


class RunsFailedError(RunError):
    """Some runs failed, all others are finished and kept; the message lists every failed one."""

    code = 3

    def __init__(self, failures: Sequence[str], runs: Sequence[Any] = ()) -> None:
        """`failures` a line each; `runs` are those that are finished."""
        super().__init__("\n".join(failures))
        self.failures, self.runs = tuple(failures), tuple(runs)


def refusal(fault: OSError) -> str:
    """What the operating system refused, and the way out: one line for the user."""
    where = next((f"{name}: " for name in (fault.filename, fault.filename2) if name), "")
    why = os.strerror(fault.errno) if fault.errno else str(fault)  # HDF5 tells it at length
    return f"{where}{why}. {remedy(fault)}"


def remedy(fault: OSError, permission: str = "Make it readable and writable.") -> str:
    """The way out of `fault`; `permission` is what to do where access is denied."""
    if fault.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "Free some space and run the command again; what was finished is safe."
    if fault.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return permission
    if fault.errno == errno.EIO:
        return "The disk failed: check it, then run the command again; what was finished is safe."
    return "Run the command again once that is put right; what was finished is safe."
