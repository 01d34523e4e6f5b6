"""One share of a corpus, for several processes that fill the same stores at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ..cache.failures import Failure, read_failures
from ..config import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """Share `index` (from 1) of `count`."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """The share that ``i/n`` names; raises ConfigError.

        >>> Shard.parse("2/8")
        Shard(index=2, count=8)
        """
        index, slash, count = text.partition("/")
        if slash and index.strip().isdigit() and count.strip().isdigit():
            shard = cls(int(index), int(count))
            if 1 <= shard.index <= shard.count:
                return shard
        raise ConfigError(
            f'--shard "{text}": should be i/n with 1 <= i <= n, as in --shard '
            '"$((SLURM_ARRAY_TASK_ID + 1))/8" of an array that counts from 0.'
        )

    def of(self, clips: Sequence[T]) -> list[T]:
        """Every n-th of `clips`: of clips in order of length each share has short and long ones.

        >>> Shard(2, 3).of("abcdefgh")
        ['b', 'e', 'h']
        """
        return list(clips[self.index - 1 :: self.count])

    @property
    def failures(self) -> str:
        """Name of the file that lists this share's failures."""
        return f"failures-{self.index}-of-{self.count}.csv"

    def others(self, folder: Path) -> tuple[Failure, ...]:
        """What the other shares' files in `folder` list, of those that have finished."""
        failures: list[Failure] = []
        for index in range(1, self.count + 1):
            if index != self.index:
                failures += read_failures(folder / Shard(index, self.count).failures)
        return tuple(failures)
