"""Which runs a config asks for, and the key by which a finished one is known again."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..cache.errors import RunError
from ..cache.manifest import Manifest
from ..cache.runs import Run, read_run, run_folder
from ..cache.spec import LETTERS, MODALITIES, Modality
from ..config import Config
from .inputs import Input, find_inputs
from .models import MODELS, model_options

RECIPE = 1
"""Version of everything between a config and its predictions; raise it when the numbers change."""


@dataclass(frozen=True)
class Plan:
    """One run to be made."""

    model: str
    options: Any
    """The model's `Options`."""
    modalities: tuple[Modality, ...]
    seed: int
    inputs: tuple[Input, ...]
    """Those of `modalities`, in order."""
    key: str
    folder: Path

    @property
    def title(self) -> str:
        """``uegd TAV seed 1111``."""
        return f"{self.model} {''.join(LETTERS[m] for m in self.modalities)} seed {self.seed}"

    def finished(self) -> Run | None:
        """The run of this very plan, if its folder holds it."""
        try:
            run = read_run(self.folder)
        except RunError:  # missing, or of another format: it is made anew
            return None
        return run if run.key == self.key else None


def plan_runs(config: Config, manifest: Manifest) -> list[Plan]:
    """Every run of [train] once: model by model, subset by subset, seed by seed.

    Raises RunError if there is none, ConfigError for a model's options, StoreError for an input.
    """
    section = config.train
    if not (section.models and section.subsets and section.seeds):
        raise RunError(
            "[train] asks for no run: it needs models, seeds and [train.inputs], "
            "as `sedimental init` writes them."
        )
    options = {name: model_options(name, getattr(section, name)) for name in section.models}
    inputs = find_inputs(config)
    plans: dict[Path, Plan] = {}
    for name in section.models:
        for letters in section.subsets:
            modalities = tuple(m for m in MODALITIES if LETTERS[m] in letters)
            used = tuple(one for one in inputs if one.modality in modalities)
            if not modalities or len(used) < len(modalities):
                raise RunError(
                    f'train.modalities: "{letters}" has no line for each of its letters in '
                    "[train.inputs]. Add them there, or take the letter away."
                )
            for seed in section.seeds:
                folder = run_folder(config.experiment, name, modalities, seed)
                key = _key(config, manifest, name, options[name], used, seed)
                plans[folder] = Plan(name, options[name], modalities, seed, used, key, folder)
    return list(plans.values())


def _key(
    config: Config,
    manifest: Manifest,
    model: str,
    options: Any,
    inputs: tuple[Input, ...],
    seed: int,
) -> str:
    """16 hex digits over all that decides a run's numbers beyond rounding.

    Device and threads are left out for that reason, as are the file's other runs.
    """
    elsewhere = {"models", "modalities", "seeds", "inputs", "device", "threads", *MODELS}
    decides = {
        "recipe": RECIPE,
        "config": config.train.model_dump(mode="json", exclude=elsewhere),
        "protocol": config.evaluate.protocol,
        "model": model,
        "options": asdict(options),
        "seed": seed,
        "manifest": manifest.digest,
        "inputs": [{**asdict(one.record), "clips": dict(one.store.sources)} for one in inputs],
    }
    text = json.dumps(decides, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
