"""Models that cannot be built on the inputs they are to read: found before anything is trained."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from ..cache.spec import Modality, Several
from ..errors import RunError
from .data.live_inputs import shape_of
from .models import build, several_faults
from .models.shared.interface import FusionModel, InputShape
from .plan import Plan


def refuse_unfit(plans: Iterable[Plan], classes: int, several: Several | None = None) -> None:
    """Raises RunError with every model that does not fit its inputs or its labels, a line each.

    `classes` is how many the corpus has, or how many labels a clip has, which `several` are; 0 for
    scores. No features are read: widths and layers stand in the stores.
    """
    plans = list(plans)
    if several is not None:
        refused = several_faults(dict.fromkeys(plan.model for plan in plans), several.kind)
        if refused:
            raise RunError("\n".join(refused))
    kinds = {(p.model, p.modalities, p.options, tuple(map(shape_of, p.inputs))): p for p in plans}
    faults = list(dict.fromkeys(fault for p in kinds.values() for fault in _faults(p, classes)))
    if faults:
        raise RunError("\n".join(faults))


def _faults(plan: Plan, classes: int) -> Iterable[str]:
    shapes = {one.modality: shape_of(one) for one in plan.inputs}
    try:
        without_data(plan.model, plan.options, shapes, classes)
    except RunError as fault:
        yield str(fault)


def without_data(
    model: str, options: Any, shapes: Mapping[Modality, InputShape], classes: int = 0
) -> FusionModel:
    """A model that is only looked at; raises RunError if it cannot be built on `shapes`."""
    generator = torch.Generator().manual_seed(0)
    try:
        with torch.device("meta"):  # no memory, and no time
            return build(model, options, shapes, generator, classes)
    except (NotImplementedError, RuntimeError):  # a model that looks at its first weights
        return build(model, options, shapes, generator, classes)
