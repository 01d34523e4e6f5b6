"""Models that cannot be built on the inputs they are to read: found before anything is trained."""

from collections.abc import Iterable

import torch

from ..cache.spec import Several
from ..errors import RunError
from .data.inputs import Input
from .data.live_inputs import LiveInput, shape_of
from .models import build, several_faults
from .models.shared.interface import InputShape
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
    kinds = {
        (p.model, p.modalities, p.options, tuple(map(input_shape, p.inputs))): p for p in plans
    }
    faults = list(dict.fromkeys(fault for p in kinds.values() for fault in _faults(p, classes)))
    if faults:
        raise RunError("\n".join(faults))


def _faults(plan: Plan, classes: int) -> Iterable[str]:
    shapes = {one.modality: input_shape(one) for one in plan.inputs}
    generator = torch.Generator().manual_seed(0)
    try:
        try:
            with torch.device("meta"):  # no memory, and no time
                build(plan.model, plan.options, shapes, generator, classes)
        except (NotImplementedError, RuntimeError):  # a model that looks at its first weights
            build(plan.model, plan.options, shapes, generator, classes)
    except RunError as fault:
        yield str(fault)


def input_shape(one: Input | LiveInput) -> InputShape:
    """What a model knows of `one` before it sees data."""
    if not isinstance(one, Input):
        return shape_of(one)
    count, width = len(one.layers), one.spec.width
    if one.weighted:
        return InputShape(width, layers=count)
    return InputShape(count * width, stacked=count)
