"""Which runs a config asks for, and the identity by which a finished one is known again."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..cache.manifest import Manifest
from ..cache.runs import Identity, Run, Scored, read_run, read_scores, run_folder
from ..cache.runs.folder import damages
from ..cache.runs.identity import code_version, digest_of, identity_of
from ..cache.spec import LETTERS, MODALITIES, Modality
from ..config import Config, Inputs, TrainConfig
from ..errors import RunError, SedimentalError
from ..progress import Progress
from .data.inputs import Input, find_inputs
from .data.live_inputs import FindLive, LiveInput, live_of
from .fit.settings import Settings, settings_of
from .live_model import Tuning
from .models import encoder_recipe, inside_text_only, stacks, started, within_text, wordless
from .parts import fold_of

RECIPE = 3
"""Version of everything between a config and its predictions; raise it when the numbers change."""


@dataclass(frozen=True)
class Plan:
    """One run to be made."""

    model: str
    options: Any
    """The model's `Options`."""
    settings: Settings
    modalities: tuple[Modality, ...]
    seed: int
    inputs: tuple[Input | LiveInput, ...]
    """Those of `modalities`, in order."""
    identity: Identity
    folder: Path
    stack: tuple[int, ...] = ()
    """The seeds it is trained with as one stacked model, its own among them; empty: alone."""
    tuning: Mapping[Modality, Tuning] = field(default_factory=dict)
    """How its live encoders are trained."""

    @property
    def title(self) -> str:
        """``uegd TAV seed 1111``, ``mmml finetuned TA seed 1``."""
        letters = "".join(LETTERS[m] for m in self.modalities)
        row = f"{self.model}{' finetuned' if self.finetuned else ''} {letters}"
        return title_of(row, self.identity)

    @property
    def key(self) -> str:
        """Of its identity: runs with equal keys are the same run."""
        return self.identity.key

    @property
    def finetuned(self) -> bool:
        """Whether an encoder is trained along."""
        return bool(self.tuning)

    @property
    def company(self) -> tuple[Any, ...]:
        """Equal for the runs of one stack."""
        return self.model, self.modalities, self.stack, self.finetuned

    def finished(self, progress: Progress | None = None) -> Run | None:
        """The run of this very plan, if its folder holds it whole; damage is told."""
        try:
            if not self.folder.is_dir():
                return None
            if (faults := damages(self.folder)) and progress is not None:
                damage = faults[0].partition(" `")[0]
                progress.note(
                    f"{self.title}: {damage} It is trained again, and the damaged run kept."
                )
            run = None if faults else read_run(self.folder)
        except RunError:
            return None
        return run if run is not None and run.key == self.key else None

    def scored(self) -> Scored | None:
        """The scores of `finished`, without its predictions."""
        try:
            found = read_scores(self.folder)
        except RunError:
            return None
        return found if found.key == self.key else None


def title_of(row: str, identity: Identity) -> str:
    """``uegd TAV seed 1111``, of a cross-validation ``uegd TAV seed 1111 fold 2``."""
    fold = "" if identity.fold is None else f" fold {identity.fold}"
    return f"{row} seed {identity.seed}{fold}"


def made_together(plans: Iterable[Plan]) -> list[list[Plan]]:
    """`plans` in order, those of one stack as one list, all others alone."""
    groups: dict[object, list[Plan]] = {}
    for plan in plans:
        groups.setdefault(plan.company if plan.stack else plan.title, []).append(plan)
    return list(groups.values())


def plan_runs(
    config: Config, manifest: Manifest, device: str = "cpu", live: FindLive | None = None
) -> list[Plan]:
    """Every run of [train] once: model by model, subset by subset, seed by seed.

    `device` is the type of the one that they are trained on: on it depends which are stacked.
    `live` finds inputs whose encoders are trained.
    Raises RunError if there is none, ConfigError for a model's options, StoreError for an input.
    """
    section = config.train
    if section.lacking:
        raise RunError(section.lacking)
    hiding = section.missing_rate > 0 or any(
        getattr(_options(section, name), "missing_rate", 0) > 0 for name in section.models
    )
    inside = {name for name in section.models if within_text(name)}
    for name in inside:
        if "text" not in section.live:
            raise RunError(f"train.models: {inside_text_only(name)}")
    if (line := section.inputs.text) and line.live and line.align:
        for name in section.models:
            if name not in inside:
                raise RunError(
                    f"train.inputs.text.align: {name} reads live text token by token. Take align "
                    "or live away, or train a model that works inside the encoder (mag_bert)."
                )
    inputs = find_inputs(config, live, words=hiding or bool(inside))
    fold = fold_of(config, manifest)
    divided = manifest if fold is None else manifest.of_fold(fold)
    clips, plans = divided.sizes["train"], dict[Path, Plan]()
    for name in section.models:
        for letters in getattr(section, name).get("modalities", section.subsets):
            modalities = tuple(m for m in MODALITIES if LETTERS[m] in letters)
            used = tuple(one for one in inputs if one.modality in modalities)
            if not modalities or len(used) < len(modalities):
                raise RunError(
                    f'train.modalities: "{letters}" has no line for each of its letters in '
                    "[train.inputs]. Add them there, or take the letter away."
                )
            if name in inside and "text" not in modalities:
                raise RunError(f"train.modalities: {wordless(name, letters)}")
            tuning = tunings(section, name, used)
            how = _options(section, name, tuning), settings_of(section, name, tuning, clips)
            stack = () if tuning else stacked_seeds(section, name, how[1], device)
            decides = _configuration(config, manifest, name, *how, used, stack, tuning)
            for seed in section.seeds:
                own, tuned = identity_of(decides, seed, fold), bool(tuning)
                folder = run_folder(
                    config.experiment, name, modalities, seed, tuned, own.short, fold
                )
                plans[folder] = Plan(name, *how, modalities, seed, used, own, folder, stack, tuning)
    return list(plans.values())


def _options(section: TrainConfig, name: str, live: Collection[str] = ()) -> Any:
    """The options of model `name`; one that hides frames by itself does so at [train]'s rate, and
    as every other model loses them."""
    table = getattr(section, name)
    found, _ = started(name, table, section.preset, live)
    if not (section.missing_rate and masks_internally(found)):
        return found
    ours = {"missing_rate": section.missing_rate, "special_tokens": section.special_tokens}
    return replace(found, **{k: v for k, v in ours.items() if k not in table})


def masks_internally(options: Any) -> bool:
    """Whether a model with these options knows both the whole and the incomplete clip."""
    return hasattr(options, "missing_rate")


def tunings(
    section: TrainConfig, model: str, inputs: Sequence[Input | LiveInput]
) -> dict[Modality, Tuning]:
    """How `model` trains each live one of `inputs`: by its line, else by `encoder_recipe`."""
    found, table = {}, getattr(section, model)
    for m, one in live_of(inputs).items():
        recipe = encoder_recipe(model, table, section.preset, m, one.spec.width)
        rate, decay = one.settings.learning_rate, one.settings.weight_decay
        found[m] = Tuning(
            learning_rate=recipe.learning_rate if rate is None else rate,
            weight_decay=recipe.weight_decay if decay is None else decay,
            spare=recipe.spare,
        )
    return found


def stacked_seeds(
    section: TrainConfig, model: str, settings: Settings, device: str
) -> tuple[int, ...]:
    """The seeds of `model` that train as one; none where that is not asked for or not possible.

    ``auto`` stacks on a GPU alone: on a CPU it is slower than one by one (tests/bench/bench_train).
    """
    asked = section.stack == "on" or (section.stack == "auto" and device != "cpu")
    seeds = tuple(dict.fromkeys(section.seeds))
    alike = section.missing_rate == 0  # else each seed has frames of its own
    possible = stacks(model) and settings.precision == "fp32" and len(seeds) > 1 and alike
    return seeds if asked and possible else ()


def _configuration(
    config: Config,
    manifest: Manifest,
    model: str,
    options: Any,
    settings: Settings,
    inputs: tuple[Input | LiveInput, ...],
    stack: tuple[int, ...],
    tuning: Mapping[Modality, Tuning],
) -> dict[str, Any]:
    """All that decides the numbers of a row's runs beyond rounding, but for the seed.

    Device, threads and memory are left out for that reason, as are the file's other runs.
    """
    how = {k: v for k, v in asdict(settings).items() if k != "source" and (k, v) != ("also", ())}
    return {
        "code": f"{code_version()} recipe {RECIPE}",
        "table": dict(manifest.digests),
        "inputs": {one.modality: _input_identity(one) for one in inputs},
        "model": model,
        "options": asdict(options),
        "settings": how,
        "task": config.train.task,
        "scaling": config.train.input_scaling,
        "protocol": config.evaluate.protocol,
        # dropout's masks are drawn for a stack as a whole
        **({"stack": stack} if stack else {}),
        **(
            {"missing_rate": rate, "special_tokens": config.train.special_tokens}
            if (rate := config.train.missing_rate)
            else {}
        ),
        **({"tuning": {m: asdict(one) for m, one in tuning.items()}} if tuning else {}),
    }


def _input_identity(one: Input | LiveInput) -> dict[str, Any]:
    """All of an input that decides numbers."""
    left_out = ("live", "modality", *(() if one.record.align else ("align",)))
    record = {k: v for k, v in asdict(one.record).items() if k not in left_out}
    record["settings"] = dict(one.spec.preprocessing)
    record["clips"] = digest_of(dict(one.store.sources))
    if isinstance(one, Input):
        return record
    unused = {"align", "collapse"} if one.settings.align is None else set()
    line = one.settings.model_dump(mode="json", exclude={"checkpointing", *unused})
    return record | {"live": line, "start": one.start, "reads": one.store.spec.fingerprint}


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
