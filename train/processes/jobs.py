"""What one process is given to do: runs that read the same features, which it reads once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...config import Config


@dataclass(frozen=True)
class Share:
    """Some runs of one pipeline."""

    config: Config
    titles: tuple[str, ...]
    """`Plan.title` of each run to be made."""
    again: bool = False
    """Whether they are made although they may be there: those are kept beside the new ones."""


@dataclass(frozen=True)
class Job:
    """Shares of pipelines that read the same features: they are read once for all of them."""

    shares: tuple[Share, ...]
    reads: tuple[str, ...] = ()
    """Titles of all runs, of this job and of those to come, whose features are read with the first
    share; empty: its own."""
    memory_mb: int | None = None
    """How much of memory they may take; None: what the config says."""

    @property
    def titles(self) -> list[str]:
        """Of all runs that it makes."""
        return [title for share in self.shares for title in share.titles]

    @property
    def runs(self) -> int:
        """How many runs it makes."""
        return len(self.titles)

    def split(self, parts: int) -> "list[Job]":
        """Up to `parts` jobs with about equally many runs of every share."""
        pieces = [
            tuple(replace(s, titles=s.titles[k::parts]) for s in self.shares if s.titles[k::parts])
            for k in range(parts)
        ]
        return [replace(self, shares=shares) for shares in pieces if shares]


def balanced(jobs: Sequence[Job], processes: int) -> list[Job]:
    """`jobs` such that no process waits long for the last one: the last ones are split."""
    whole = max(0, len(jobs) // processes - 1) * processes
    ends = [part for job in jobs[whole:] for part in job.split(processes)]
    return [*jobs[:whole], *sorted(ends, key=lambda job: job.runs, reverse=True)]
