"""What training gives back: the runs, as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..cache.runs import Run
from ..result_table import ResultTable


class TrainResult(ResultTable, tuple[Run, ...]):
    """The runs of a pipeline: a tuple that shows itself as a table of test scores, a run a row."""

    __slots__ = ()

    @property
    def title(self) -> str:
        """How many there are."""
        return f"{len(self)} run{'' if len(self) == 1 else 's'}"

    def records(self) -> Sequence[Mapping[str, Any]]:
        """Model, inputs, seed, the epoch kept, test scores, seconds."""
        return [
            {
                "model": run.label,
                "inputs": run.letters,
                "seed": run.seed,
                "best epoch": run.best_epoch,
                **run.metrics["test"],
                "seconds": round(run.seconds, 2),
            }
            for run in self
        ]
