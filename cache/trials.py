"""What a random search over a model's settings has tried: one file a model and subset.

Each trial's run lies in a folder of its own beside it, with weights and predictions of the training
and the validation clips. There are none of test clips.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from .runs import Epoch
from .store.atomic_write import replace

FOLDER = "tune"
"""Below the experiment."""


@dataclass(frozen=True)
class Trial:
    """One draw of settings, trained once."""

    number: int
    """From 0, which is where the pipeline starts from, nothing drawn."""
    settings: Mapping[str, float | int | str]
    """What was drawn, by key of the model's table."""
    seed: int
    value: float
    """The criterion on validation at the best epoch; NaN for a trial that failed."""
    best_epoch: int
    history: tuple[Epoch, ...]
    """Its curve."""
    seconds: float
    folder: str
    """Of its run, below the experiment."""
    failure: str = ""


@dataclass(frozen=True)
class Search:
    """All trials of one model on one subset of modalities."""

    model: str
    letters: str
    criterion: str
    table: Mapping[str, Any]
    """The model's table in pipeline.toml, which no trial changes."""
    trials: tuple[Trial, ...]
    best: int | None
    """Number of the best trial; None if all failed."""
    source: str
    """Where the ranges stand."""

    def snippet(self) -> str:
        """The best trial's settings, to paste into pipeline.toml."""
        if self.best is None:
            return ""
        found = next(trial for trial in self.trials if trial.number == self.best)
        values = {**self.table, **found.settings}
        lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        return "\n".join([f"[train.{self.model}]", *lines])


def write_search(folder: Path, search: Search) -> Path:
    """Write `search` into ``tune`` below the experiment `folder`, in the place of what it was."""
    file = folder / FOLDER / f"{search.model}.{search.letters}.json"
    body = asdict(search) | {"paste": search.snippet()}
    return replace(file, to_json(body, indent=1, inf_nan_mode="null"))
