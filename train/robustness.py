"""What trained runs still know when features go missing: scored again on damaged test clips.

What is lost is said in `data.missing_features`. Models may have been trained on whole data or, by
`train.missing_rate`, on data as incomplete: both are tested alike. `train_incomplete` trains a
model anew at every rate, as the papers' curves have it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cache.runs import Run
from ..cache.runs.names import find_folders
from ..cache.spec import LETTERS
from ..config import Config, RunsConfig
from ..errors import RunError
from ..progress import Progress, Silent
from .arrays_file import is_of, write_arrays
from .data.dataset import Selection
from .data.live_inputs import FindLive, live_of
from .data.missing_features import MASK_SEED, MissingCase, Special, damaged
from .fit.loop import predict
from .fit.scoring import said
from .live_model import LiveModel
from .models import MODELS
from .models.shared.interface import FusionModel
from .models.shared.missing_frames import without_own_masking
from .parts import per_fold
from .plan import Plan
from .predict import restore
from .run import train
from .session import TrainSession

TASK = "robustness"
"""The one task whose progress is told: damaged test sets."""
FILE = "robustness.npz"
"""Beside run.json; `evaluate.robust` reads it."""
VERSION = 3


def robustness(
    config: Config,
    rates: Sequence[float],
    masks: int = 1,
    progress: Progress | None = None,
    fresh: bool = False,
    live: FindLive | None = None,
    names: Sequence[str] = (),
) -> tuple[Path, ...]:
    """Test every finished run of [train]; the answers lie as ``robustness.npz`` in its folder.

    With `names` only those of them that are called so. Raises RunError for a name that is none of
    the pipeline's.

    Each of `rates` is tried on all modalities together and, for runs on several, on each alone,
    with `masks` random masks, the same for every run; `train.special_tokens` says what becomes of
    [CLS] and [SEP] of cached text. A run that was tested so before is not tested
    again unless `fresh`; one that is not trained is left out. Of a cross-validation each part's
    runs are tested on their own test clips. `live` finds inputs whose encoders
    were trained along: their words are lost before they are read, as [UNK]. Returns the files, of
    all runs.
    """
    told = progress or Silent()
    shops = [TrainSession(part, told, live) for part in per_fold(config)]
    asked = named_plans(shops, names)
    tested = [
        [plan for plan in own if plan.finished(told) is not None and _whole(plan, told)]
        for own in asked
    ]
    cases = {plan.title: _cases(plan, rates) for plans in tested for plan in plans}
    told.start(TASK, sum(len(own) for own in cases.values()) * masks, "test set")
    found: list[Path] = []
    for shop, plans in zip(shops, tested, strict=True):
        found += _tested(shop, plans, cases, masks, fresh)
    return tuple(found)


def _tested(
    shop: TrainSession,
    plans: Sequence[Plan],
    cases: Mapping[str, tuple[MissingCase, ...]],
    masks: int,
    fresh: bool,
) -> list[Path]:
    """The files of `plans`, which read one division of the clips."""
    told, special = shop.progress, shop.config.train.special_tokens
    found = []
    for plan in plans:
        file, own = plan.folder / FILE, cases[plan.title]
        head = _head(plan, own, masks, special)
        if fresh or not is_of(file, head):
            data = shop.open(plans).select(plan.modalities)
            model = restore(plan, data)
            shape = len(data.rows["test"]), *data.table.labels.shape[1:]
            values = np.empty((len(own), masks, *shape))
            with without_own_masking(model.fusion if isinstance(model, LiveModel) else model):
                for number, case in enumerate(own):
                    for mask in range(masks):
                        lossy = damaged(data, case, mask=mask, special=special)
                        values[number, mask] = _answers(model, lossy)
                        told.advance(TASK)
            write_arrays(file, head, values=values)
        else:
            told.advance(TASK, len(own) * masks)
        found.append(file)
    return found


def train_incomplete(
    config: Config,
    rates: Sequence[float],
    progress: Progress | None = None,
    fresh: bool = False,
    live: FindLive | None = None,
) -> tuple[Run, ...]:
    """Train every run of [train] anew at each of `rates` above 0, below ``incomplete``.

    Each is trained, picked and tested on data with that share of frames missing. Finished runs
    stand unless `fresh`. Raises as `train` does.
    """
    found: list[Run] = []
    for rate in sorted(rate for rate in rates if rate > 0):
        found += train(at_rate(config, rate), progress, fresh, live)
    return tuple(found)


def at_rate(config: Config, rate: float) -> Config:
    """The pipeline that trains at a missing rate; its runs lie below the experiment's."""
    tables = {
        name: {k: v for k, v in getattr(config.train, name).items() if k != "missing_rate"}
        for name in MODELS
    }
    section = config.train.model_copy(update={"missing_rate": rate, **tables})
    runs = RunsConfig(root=config.experiment / "incomplete", name=f"rate-{rate:g}")
    return config.model_copy(update={"train": section, "runs": runs})


def named_plans(shops: Sequence[TrainSession], names: Sequence[str]) -> list[list[Plan]]:
    """The plans of each of `shops` that `names` mean; all without any."""
    if not names:
        return [shop.plans for shop in shops]
    own = {plan.folder: plan for shop in shops for plan in shop.plans}
    planned = {folder.parent for folder in own}

    def current(folders: Sequence[Path]) -> list[Path]:
        return [folder for folder in folders if folder in planned]

    found = set[Path]()
    for name in names:
        for folder in find_folders(name, shops[0].config.experiment, current):
            if folder not in own:
                raise RunError(
                    f"{name}: {folder} is of other settings than pipeline.toml has, or of a seed "
                    "that it does not list; robustness tests the pipeline's own runs."
                )
            found.add(folder)
    return [[plan for plan in shop.plans if plan.folder in found] for shop in shops]


def _whole(plan: Plan, progress: Progress) -> bool:
    """Whether words can be taken away from the run; where they were read before, they cannot."""
    text = live_of(plan.inputs).get("text")
    if text is None or text.start is None:
        return True
    progress.note(
        f"{plan.title}: left out; its text begins at cached hidden states (train.inputs.text.top), "
        "which have read every word"
    )
    return False


def _cases(plan: Plan, rates: Sequence[float]) -> tuple[MissingCase, ...]:
    letters = [LETTERS[m] for m in plan.modalities]
    alone = letters if len(letters) > 1 else []
    return (
        *(MissingCase("rate", of, rate) for of in ("all", *alone) for rate in rates),
        *(MissingCase("drop", letter, 1.0) for letter in alone),
    )


def _answers(model: FusionModel, data: Selection) -> NDArray[np.float64]:
    """(test clips, …) what is scored: `fit.scoring.said`."""
    return said(predict(model, data, data.rows["test"]).values, data.table)


def _head(plan: Plan, cases: Sequence[MissingCase], masks: int, special: Special) -> dict[str, Any]:
    live = "text" in live_of(plan.inputs)
    return {
        "version": VERSION,
        "key": plan.key,
        "masks": masks,
        "mask_seed": MASK_SEED,
        # of a run that has no text there is none to choose
        "special_tokens": "unknown" if live else special if "text" in plan.modalities else "",
        "cases": [vars(case) for case in cases],
    }
