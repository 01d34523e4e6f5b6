"""`tune`: random search over a model's settings, on training and validation clips alone.

Test clips are taken out of the corpus before anything is planned or read: no trial has their
labels, features or scores, and none depends on them.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...cache.corpus.corpus_table import cached_manifest
from ...cache.manifest import Manifest
from ...cache.trials import FOLDER, Search, Trial, write_search
from ...config import Config, ConfigError, RunsConfig
from ...errors import RunError
from ...progress import Progress, Silent
from ..data.live_inputs import FindLive
from ..distributed.sigterm import Notice, catch_sigterm
from ..fit.settings import stated
from ..models import module_of, started
from ..models.ranges import Range, ranges_of, source_of
from ..parts import divided
from ..session import TrainSession

TASK = "tune"
"""The one task whose progress is told: trials of all models."""
DRAWS = 200
"""Draws that a trial may take to find settings that go together."""


def tune(
    config: Config,
    trials: int | None = None,
    progress: Progress | None = None,
    live: FindLive | None = None,
    manifest: Manifest | None = None,
) -> tuple[Search, ...]:
    """Try `trials` settings (unset: [train] `tune`) of each model and subset of [train].

    Trial 0 is the pipeline as it stands; what is drawn for others follows from the first seed and
    the trial's number alone, and keys that the pipeline sets are left as they are. Every trial is a
    run of its own below ``tune``, kept, and not trained again while its settings and features
    stand: a search that was killed goes on, and one of more trials begins with those there are.
    Raises ConfigError, ManifestError, StoreError or RunError; Preempted, when all is kept, if the
    system asks to end by SIGTERM.
    """
    told, section = progress or Silent(), config.train
    count = section.tune if trials is None else trials
    seen = without_test(config, manifest or cached_manifest(config))
    rows = [
        (name, letters)
        for name in section.models
        for letters in getattr(section, name).get("modalities", section.subsets)
    ]
    if section.lacking:
        raise RunError(section.lacking)
    told.start(TASK, count * len(rows), "trial")
    with catch_sigterm() as notice:
        search = _Searching(config, told, live, seen, notice)
        return tuple(search.all(name, letters, count) for name, letters in rows)


def without_test(config: Config, manifest: Manifest) -> Manifest:
    """The corpus less its test clips; of a cross-validation less those of the part in question."""
    own = divided(config, manifest)
    clips = tuple(replace(c, fold=None) for c in own.clips if c.split != "test")
    return replace(own, clips=clips)


@dataclass(frozen=True)
class _Searching:
    config: Config
    progress: Progress
    live: FindLive | None
    manifest: Manifest
    notice: Notice
    opened: dict[str, TrainSession] = field(default_factory=dict)
    """By subset, the session that has read its features."""

    def all(self, model: str, letters: str, count: int) -> Search:
        """All trials of `model` on the subset `letters`, written after each."""
        section = self.config.train
        table = {k: v for k, v in getattr(section, model).items() if k != "modalities"}
        done = list[Trial]()
        search = Search(
            model, letters, section.criterion, table, (), None, source_of(module_of(model), model)
        )
        for number in range(count):
            done.append(self.trial(model, letters, table, number))
            search = replace(search, trials=tuple(done), best=best_of(done, section.criterion))
            write_search(self.config.experiment, search)
            self.progress.advance(TASK)
        return search

    def trial(self, model: str, letters: str, table: Mapping[str, Any], number: int) -> Trial:
        """One of them, read or trained."""
        section = self.config.train
        settings = self.drawn(model, letters, table, number)
        name = f"{model}.{letters}.{number:03d}"
        train = section.model_copy(
            update={
                "models": (model,),
                "modalities": (letters,),
                "seeds": section.seeds[:1],
                "stack": "off",
                "tracker": None,
                model: {**table, **settings},
            }
        )
        runs = RunsConfig(root=self.config.experiment / FOLDER, name=name)
        own = self.config.model_copy(update={"train": train, "runs": runs})
        how = self.live, self.manifest, self.notice
        # there are dozens; what failed stands in the trial
        session = TrainSession(own, Silent(), *how, needed=("train", "valid"))
        [plan] = session.plans
        run = plan.finished()
        if run is None:
            if letters in self.opened:
                session.share(self.opened[letters].open(session.plans))
            self.opened.setdefault(letters, session)
            run = next(iter(session.try_make([plan])), None)
        folder = plan.folder.relative_to(self.config.experiment).as_posix()
        if run is None:
            failure = session.failures[-1]
            return Trial(number, settings, plan.seed, float("nan"), 0, (), 0.0, folder, failure)
        best, criterion = run.history[run.best_epoch - 1], section.criterion
        value = best.valid_loss if criterion == "valid_loss" else best.valid[criterion]
        return Trial(
            number, settings, run.seed, value, run.best_epoch, run.history, run.seconds, folder
        )

    def drawn(
        self, model: str, letters: str, table: Mapping[str, Any], number: int
    ) -> dict[str, float | int | str]:
        """The settings of trial `number`: of every range whose key the pipeline leaves open."""
        if number == 0:
            return {}
        section = self.config.train
        options, recipe = started(model, table, section.preset, section.live)
        ranges = ranges_of(module_of(model), model, options, recipe.learning_rate)
        fixed = {*table, *stated(section)}
        free: dict[str, Range] = {key: one for key, one in ranges.items() if key not in fixed}
        if not free:
            raise ConfigError(f"train.{model}: every key that could be drawn is set. Unset some.")
        text = f"{model}:{letters}:{section.seeds[0]}:{number}"
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        random = np.random.default_rng(int.from_bytes(digest))
        for _ in range(DRAWS):
            settings = {key: one.draw(random) for key, one in free.items()}
            try:
                started(model, {**table, **settings}, section.preset, section.live)
            except ConfigError:  # they do not go together
                continue
            return settings
        raise ConfigError(f"train.{model}: no settings of its ranges go with what is set.")


def best_of(trials: list[Trial], criterion: str) -> int | None:
    """Number of the best of `trials`, the first of equals; None where all failed."""
    known = [trial for trial in trials if not np.isnan(trial.value)]
    sign = 1 if criterion == "valid_loss" or criterion.startswith("MAE") else -1
    return min(known, key=lambda trial: sign * trial.value).number if known else None
