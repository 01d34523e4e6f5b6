"""[sweep], [evaluate] and [runs]: which layers are tried, which numbers, and where they lie."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from .base import FOLDER, Count, LayerList, ModelNames, Place, Positive, Section, Seed, Switch
from .wording import nearest

PROTOCOLS = ("mosi", "sims")
"""Published ones, by name."""
PARTS = 5
"""Equal parts of the range, where no edges are given."""
_NUMBER = r"[-+]?\d+(?:\.\d+)?"
_FORM = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(?: at ({_NUMBER}(?:, ?{_NUMBER})*))?")


class SweepConfig(Section):
    """[sweep]: which layer is best, modality by modality; the rest of the settings is [train]'s."""

    model: ModelNames = ("uegd",)
    """One model, or a list of them."""
    layers: LayerList = "all"
    """Stored layers to try, counted as in [train.inputs]."""
    weighted: Switch = True
    """Also train on the learned weighted sum of all layers, to compare with."""
    modalities: tuple[Literal["T", "A", "V"], ...] | None = None
    """Modalities to try layers of, each alone; unset: all of [train.inputs]."""
    fusions: tuple[str, ...] | None = None
    """Subsets of several modalities to train on the layers picked: `["TAV", "TA"]`.
    Unset: all modalities of [train.inputs] together."""
    seeds: tuple[Seed, ...] | None = None
    """A run a seed; unset: those of [train]."""
    epochs: Positive | None = None
    """Passes over the training split; unset: those of [train]."""
    criterion: str | None = None
    """Validation metric by which a layer is picked; unset: `Corr`, or `Weighted_F1` for classes."""
    options: Mapping[str, Any] = Field(default_factory=dict)
    """Fields of the model's Options to try, each a list of values: `{ dropout = [0.1, 0.3] }`.
    Every combination is swept for itself."""
    processes: Count = 0
    """Runs trained at once on a CPU, each on one thread; 0 = one a core."""


@dataclass(frozen=True)
class LabelRange:
    """Labels from `low` to `high`, cut into classes at `edges`."""

    low: float
    high: float
    edges: tuple[float, ...]
    """Rising; a class ends with its upper edge."""

    @property
    def middle(self) -> float:
        """What parts the two classes of Acc-2: the middle edge, or the middle of the range."""
        count = len(self.edges)
        return self.edges[count // 2] if count % 2 else (self.low + self.high) / 2


def label_range(protocol: str) -> LabelRange | None:
    """What a protocol's name says of labels; None for a name that is no range.

    Raises ValueError for a range that is none.

    >>> label_range("1..5")
    LabelRange(low=1.0, high=5.0, edges=(1.8, 2.6, 3.4, 4.2))
    >>> label_range("0..1 at 0.4, 0.6").middle, label_range("mosi")
    (0.5, None)
    """
    found = _FORM.fullmatch(protocol.strip())
    if found is None:
        return None
    low, high = float(found[1]), float(found[2])
    step = (high - low) / PARTS
    given = [float(one) for one in (found[3] or "").split(",") if one.strip()]
    edges = given or [round(low + step * part, 12) for part in range(1, PARTS)]
    ends = [low, *edges, high]
    if any(not math.isfinite(one) for one in ends) or sorted(set(ends)) != ends:
        raise ValueError(
            f'"{protocol}": its numbers should rise from the lowest label to the highest.'
        )
    return LabelRange(low, high, tuple(edges))


def _protocol(name: str) -> str:
    if name in PROTOCOLS or label_range(name) is not None:
        return name
    raise ValueError(
        f'"{name}" is no protocol.{nearest(name, PROTOCOLS)} Known: mosi, sims, and a range of '
        'labels such as "1..5" or "0..1 at 0.4, 0.6".'
    )


class EvaluateConfig(Section):
    """[evaluate]: which numbers, and how sure."""

    protocol: Annotated[str, AfterValidator(_protocol)] = "mosi"
    """Metric keys and bins: `mosi` (CMU-MOSI and MOSEI, labels in -3..3), `sims` (CH-SIMS, -1..1),
    or the range of other labels: of `"1..5"` the classes are five equal parts, of
    `"1..5 at 2.5, 3.5"` those that the edges make; each ends with its upper edge."""
    bootstrap: Count = 1000
    """Resamples of the test clips for confidence intervals; 0: none."""
    also: tuple[Place, ...] = ()
    """Pipelines of other corpora, relative to this one, which `sedimental cross` tests the runs
    on."""
    private: Switch = False
    """Leave what clips say, and the faces in them, out of the report, which may then be shared."""


class RunsConfig(Section):
    """[runs]: where results lie."""

    root: Place = Path("runs")
    """Folder of all experiments, relative to pipeline.toml."""
    name: str | None = Field(default=None, pattern=FOLDER)
    """This experiment's folder; by default the corpus name."""
