"""What a pipeline asks for, row by row, beside runs that are there: nothing is trained."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..cache.manifest import Manifest
from ..cache.spec import LETTERS
from ..config import Config, Inputs
from ..errors import SedimentalError
from .data.live_inputs import FindLive
from .plan import plan_runs

RowKey = tuple[str, str, bool]
"""Model, modalities in short, whether encoders are trained along."""


def planned(
    config: Config, manifest: Manifest, rows: Sequence[RowKey], live: FindLive | None = None
) -> Mapping[RowKey, Mapping[str, Any] | str]:
    """The configuration that `config` has for each of `rows`, or why it cannot be told; empty where
    it has nothing to say of the row, as a pipeline on cached layers of fine-tuned encoders.

    Which models, modalities and seeds [train] lists does not matter, nor whether a GPU would stack
    the seeds: what it says of a row holds whether or not it asks for the row today.
    """
    return {row: _planned(config, manifest, row, live) for row in rows}


def _planned(
    config: Config, manifest: Manifest, row: RowKey, live: FindLive | None
) -> Mapping[str, Any] | str:
    model, letters, finetuned = row
    section = (config if finetuned else config.frozen).train
    lines = {m: getattr(section.inputs, m) for m in Inputs.model_fields if LETTERS[m] in letters}  # type: ignore[index]
    wanted: dict[str, Any] = {
        "models": (model,),
        "modalities": (letters,),
        "stack": "off",
        "inputs": Inputs.model_validate(lines),
    }
    if table := getattr(section, model, None):
        wanted[model] = {k: v for k, v in table.items() if k != "modalities"}
    config = config.model_copy(update={"train": section.model_copy(update=wanted)})
    try:
        plans = plan_runs(config, manifest, "cpu", live)
    except (SedimentalError, KeyError, AttributeError) as fault:
        return str(fault)
    if plans[0].finetuned != finetuned:
        return ""
    return plans[0].identity.configuration
