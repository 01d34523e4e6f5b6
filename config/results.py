"""[sweep], [evaluate] and [runs]: which layers are tried, which numbers, and where they lie."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from .base import FOLDER, Count, LayerList, ModelNames, Place, Positive, Section, Seed, Switch
from .label_range import label_range
from .wording import nearest

PROTOCOLS = ("mosi", "sims")
"""Published ones, by name."""


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
