"""What trained runs still know when features go missing: scored again on damaged test clips.

What is lost is said in `data.missing_features`. Models may have been trained on whole data or, by
`train.missing_rate`, on data as incomplete: both are tested alike. `train_incomplete` trains a
model anew at every rate, as the papers' curves have it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..cache.runs import Run
from ..cache.runs.names import find_folders
from ..cache.spec import LETTERS
from ..config import Config, RunsConfig
from ..errors import RunError
from ..progress import Progress, Silent
from .arrays_file import is_of, write_arrays
from .data.live_inputs import FindLive, live_of
from .data.missing_features import MASK_SEED, MissingCase, Special, damaged
from .fit.loop import predict
from .fit.scoring import said
from .live_model import LiveModel
from .models import MODELS
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
    progress = progress or Silent()
    sessions = [TrainSession(part, progress, live) for part in per_fold(config)]
    tested = [
        [p for p in plans if p.finished(progress) is not None and _words_can_go(p, progress)]
        for plans in named_plans(sessions, names)
    ]
    cases = {plan.title: _cases(plan, rates) for plans in tested for plan in plans}
    progress.start(TASK, sum(len(own) for own in cases.values()) * masks, "test set")
    return tuple(
        _test(session, plans, plan, cases[plan.title], masks, fresh)
        for session, plans in zip(sessions, tested, strict=True)
        for plan in plans
    )


def _test(
    session: TrainSession,
    plans: Sequence[Plan],
    plan: Plan,
    cases: Sequence[MissingCase],
    masks: int,
    fresh: bool,
) -> Path:
    """The file of `plan`, one of `plans` that read one division of the clips."""
    progress, special = session.progress, session.config.train.special_tokens
    file, head = plan.folder / FILE, _head(plan, cases, masks, special)
    if not fresh and is_of(file, head):
        progress.advance(TASK, len(cases) * masks)
        return file
    data = session.open(plans).select(plan.modalities)
    model = restore(plan, data)
    rows, table = data.rows["test"], data.table
    values = np.empty((len(cases), masks, len(rows), *table.labels.shape[1:]))
    with without_own_masking(model.fusion if isinstance(model, LiveModel) else model):
        for number, case in enumerate(cases):
            for mask in range(masks):
                lossy = damaged(data, case, mask=mask, special=special)
                values[number, mask] = said(predict(model, lossy, rows).values, table)
                progress.advance(TASK)
    write_arrays(file, head, values=values)
    return file


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


def named_plans(sessions: Sequence[TrainSession], names: Sequence[str]) -> list[list[Plan]]:
    """The plans of each of `sessions` that `names` mean; all without any."""
    if not names:
        return [session.plans for session in sessions]
    folders = {plan.folder for session in sessions for plan in session.plans}
    rows = {folder.parent for folder in folders}
    meant = set[Path]()
    for name in names:
        for folder in find_folders(
            name, sessions[0].config.experiment, lambda found: [f for f in found if f in rows]
        ):
            if folder not in folders:
                raise RunError(
                    f"{name}: {folder} is of other settings than pipeline.toml has, or of a seed "
                    "that it does not list; robustness tests the pipeline's own runs."
                )
            meant.add(folder)
    return [[plan for plan in session.plans if plan.folder in meant] for session in sessions]


def _words_can_go(plan: Plan, progress: Progress) -> bool:
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
