"""The table of fusion models, and the way from a name in pipeline.toml to a model."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from ...cache.spec import Modality
from ...config import ConfigError, TrainConfig, in_words, nearest
from ...errors import RunError
from ...model_table import ADDED, FAULTS, GROUP
from ...model_table import MODELS as MODELS
from . import starting_points

if TYPE_CHECKING:  # torch loads only when a model is used
    import torch

    from .shared.hooks import EncoderRecipe, Recipe
    from .shared.interface import FusionModel, InputShape

UNLIMITED: Mapping[tuple[str, Any], None] = {("patience", 0): None, ("clip_norm", 0): None}
"""Recipe values of pipeline.toml, which knows no null, that mean "none"."""


def model_options(name: str, table: Mapping[str, Any], preset: str | None = None) -> Any:
    """The `Options` of model `name` with the values of its table ``[train.<name>]``.

    They start from those of `preset`, if the model has it; the table may name another.
    Raises ConfigError with every fault of the table, a line each.
    """
    options, _ = _bound(name, table, preset)
    return options


def model_recipe(name: str, table: Mapping[str, Any], preset: str | None = None) -> "Recipe":
    """How model `name` is trained: its paper's recipe with the recipe keys of its table.

    Raises ConfigError as `model_options` does.
    """
    _, recipe = _bound(name, table, preset)
    return recipe


def started(
    name: str, table: Mapping[str, Any], preset: str | None, live: Collection[str], clips: int = 0
) -> "tuple[Any, Recipe]":
    """(options, recipe) of model `name` as a pipeline trains it on so many `clips`, the modalities
    `live` read by encoders that are trained along.

    With a preset that the model has they are the paper's for that corpus; without one they start
    from `starting_points`. The table goes before either. Raises ConfigError as `model_options`.
    """
    options, recipe = _bound(name, table, preset)
    if (table.get("preset") or preset) in presets_of(name):
        return options, recipe
    start = starting_points.frozen(name, "text" in live, clips)
    known = {f.name for f in fields(options)}
    own = {k: v for k, v in start.options.items() if k in known and k not in table}
    how = {k: v for k, v in start.recipe.items() if k not in table}
    try:
        options, recipe = replace(options, **own), replace(recipe, **how)
    except ValueError as fault:  # what the table says does not go with it
        raise ConfigError(f"train.{name}: {fault}") from None
    if live:
        start = starting_points.live(name, recipe.learning_rate)
        recipe = replace(recipe, **{k: v for k, v in start.recipe.items() if k not in table})
    return options, recipe


def encoder_recipe(
    name: str,
    table: Mapping[str, Any],
    preset: str | None = None,
    modality: "Modality" = "text",
    width: int = 768,
) -> "EncoderRecipe":
    """How model `name` trains a live encoder `width` units wide: as its paper does on a corpus for
    which it has a preset, else as is usual for encoders of that kind."""
    from .shared.hooks import EncoderRecipe

    module = module_of(name)
    general = getattr(module, "ENCODER", EncoderRecipe())
    recipes: Mapping[str, EncoderRecipe] = getattr(module, "ENCODERS", {})
    corpus = str(table.get("preset") or preset)
    if corpus in presets_of(name):
        return recipes.get(corpus, general)
    return EncoderRecipe(starting_points.encoder_rate(modality, width), source=general.source)


def stacks(name: str) -> bool:
    """Whether seeds of model `name` can be trained as one (`hooks.Stackable`)."""
    found = _class(name)
    return bool(getattr(found, "stackable", False))


def has_classes(name: str) -> bool:
    """Whether model `name` can predict classes."""
    return hasattr(model_options(name, {}), "classes")


def has_several(name: str) -> bool:
    """Whether model `name` can predict several labels of a clip: any that has a head for classes,
    unless its class says ``one_label = True``, as its losses sort clips by their label."""
    return has_classes(name) and not getattr(_class(name), "one_label", False)


def several_faults(names: Iterable[str], kind: str) -> list[str]:
    """A line for each model that cannot predict several `kind` (dimensions, emotions) at once."""
    able = [name for name in MODELS if has_several(name)]
    return [
        f"train.models: {name} predicts one label a clip, and the corpus has several {kind}. "
        f"Models that can: {', '.join(able)}."
        for name in names
        if name not in able
    ]


def within_text(name: str) -> bool:
    """Whether model `name` works inside a live text encoder alone (`hooks.WithinText`)."""
    found = _class(name)
    return bool(getattr(found, "within_text", False))


def presets_of(name: str) -> tuple[str, ...]:
    """Corpora that model `name` has published settings for, sorted."""
    module = module_of(name)
    return tuple(sorted({*getattr(module, "PRESETS", {}), *getattr(module, "RECIPES", {})}))


def option_faults(raw: Mapping[str, Any]) -> list[str]:
    """Every fault in the model tables of a raw pipeline.toml; a `Check` of `load_config`."""
    section = raw.get("train", {})
    if not isinstance(section, Mapping):
        return []  # the typed config says so
    faults: list[str] = [*FAULTS]
    faults += [
        f"{GROUP}: {name} cannot be a model's name, as [train] has a key of that name."
        for name in MODELS
        if name in TrainConfig.model_fields
    ]
    preset, models = section.get("preset"), section.get("models")
    if isinstance(preset, str) and isinstance(models, list):
        known = sorted({p for name in MODELS for p in presets_of(name)})
        if preset not in known:
            hint = nearest(preset, known) or f" Known: {', '.join(known) or 'none'}."
            faults.append(f'train.preset: none of the models has "{preset}".{hint}')
    faults += inside_faults(raw, section)
    for name in MODELS:
        table = section.get(name)
        if isinstance(table, Mapping) and table:
            try:
                start = preset if preset in presets_of(name) else None
                model_options(name, table, start)
            except ConfigError as found:
                faults += str(found).split("\n")
    return faults


def preset_notes(models: Sequence[str], preset: str | None) -> tuple[str, ...]:
    """Which of `models` have no settings of `preset`, and so train with their defaults."""
    without = [name for name in models if preset is not None and preset not in presets_of(name)]
    if not without:
        return ()
    return (f'{", ".join(without)}: no preset "{preset}"; trained with default settings.',)


def build(
    name: str,
    options: Any,
    inputs: "Mapping[Modality, InputShape]",
    generator: "torch.Generator",
    classes: int | None = None,
) -> "FusionModel":
    """Model `name` for these inputs, its first weights drawn from `generator`, on the CPU.

    With `classes` it predicts (batch, classes), with 0 scores (batch,), whatever its option of
    that name says; None leaves the option as it is. Raises RunError for classes if the model has
    no such option, and for inputs that it cannot take. The global random state is as it was before.
    """
    import torch

    made = _class(name)
    if classes is not None and hasattr(options, "classes"):
        options = replace(options, classes=classes or type(options)().classes)
    elif classes:
        raise RunError(
            f"{name} predicts scores only, and the corpus has classes. Take it out of "
            'train.models, or say train.task = "regression" if the clips have scores too.'
        )
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    with torch.random.fork_rng(devices=[]):  # PyTorch's own initialisers know no other generator
        torch.default_generator.manual_seed(seed)
        try:
            model: FusionModel = made(options, inputs)
        except ValueError as fault:  # widths that are known only now
            raise RunError(str(fault)) from None
    return model


def _class(name: str) -> Any:
    return getattr(module_of(name), MODELS[name].place.partition(":")[2])


def module_of(name: str) -> ModuleType:
    """The file of model `name`; raises ConfigError if a package that adds it does not give one."""
    file, _, made = MODELS[name].place.partition(":")
    if name not in ADDED:
        return import_module(f".{file}", __name__)
    try:
        module = import_module(file)
        lacking = [what for what in (made, "Options") if not hasattr(module, what)]
        wrong = f"has no {' and no '.join(lacking)}" if lacking else ""
    except Exception as fault:  # it is a stranger's code: anything may come
        wrong = f"cannot be imported ({type(fault).__name__}: {fault})"
    if wrong:
        raise ConfigError(
            f"train.{name}: an installed package adds this model as {MODELS[name].place}, and "
            f"{file} {wrong}. Mend that package, or uninstall it."
        )
    return module


def _bound(name: str, table: Mapping[str, Any], preset: str | None) -> "tuple[Any, Recipe]":
    """(options, recipe) of model `name` under `table`; raises ConfigError with all its faults."""
    from .shared.hooks import Recipe

    module = module_of(name)
    chosen, known = table.get("preset"), presets_of(name)
    if chosen is not None and chosen not in known:
        hint = nearest(str(chosen), known) or f" Known: {', '.join(known) or 'none'}."
        raise ConfigError(f"train.{name}.preset: {name} has no such preset.{hint}")
    corpus = chosen or preset
    options = getattr(module, "PRESETS", {}).get(corpus, module.Options())
    recipe = getattr(module, "RECIPES", {}).get(corpus, getattr(module, "RECIPE", Recipe()))
    values, recipe_values, faults = _bind(name, table, type(options), type(recipe))
    if not faults:
        try:
            return replace(options, **values), replace(recipe, **recipe_values)
        except ValueError as fault:  # values that are fine alone and not together
            faults = [f"train.{name}: {fault}"]
    raise ConfigError("\n".join(faults))


def _bind(
    name: str, table: Mapping[str, Any], options: type[Any], recipe: type[Any]
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """(options by field, recipe by field, faults); an option hides a recipe key of its name."""
    hints = get_type_hints(options, include_extras=True)
    known = [f.name for f in fields(options)]
    of_recipe = [f.name for f in fields(recipe) if f.name in TrainConfig.model_fields]
    values: dict[str, Any] = {}
    recipe_values: dict[str, Any] = {}
    faults: list[str] = []
    for key, value in table.items():
        where = f"train.{name}.{key}"
        if key == "preset":
            continue
        if key == "modalities":
            faults += [f"{where}: {fault}" for fault in _subset_faults(value)]
            continue
        if key not in known and key not in of_recipe:
            general = ["preset", "modalities"]
            hint = nearest(key, [*known, *of_recipe, *general]) or f" Known: {', '.join(known)}."
            faults.append(f"{where}: unknown option.{hint}")
            continue
        try:
            if key in known:
                values[key] = TypeAdapter(hints[key]).validate_python(value)
            else:
                checked = getattr(TrainConfig.model_validate({key: value}), key)
                recipe_values[key] = UNLIMITED.get((key, checked), checked)
        except ValidationError as found:
            faults += [f"{where}: {in_words(fault)}" for fault in found.errors()]
    return values, recipe_values, faults


def _subset_faults(value: Any) -> list[str]:
    """What is wrong with a model's own `modalities`."""
    if not isinstance(value, (list, tuple)) or not value:
        return ['should be a list of subsets of "TAV".']
    return [
        f'"{subset}" is no subset of "TAV".'
        for subset in value
        if not isinstance(subset, str)
        or not subset
        or set(subset) - set("TAV")
        or len(set(subset)) < len(subset)
    ]


# --- models that work inside a live text encoder ------------------------------------------------


def inside_text_only(name: str) -> str:
    """What to say where model `name` has no live text encoder to work in."""
    return (
        f'{name} works inside a text encoder: set train.mode = "finetune", and live = true in '
        "train.inputs.text."
    )


def wordless(name: str, subset: str) -> str:
    """What to say where model `name` is to be trained on a `subset` of modalities without text."""
    return (
        f'{name} works inside a text encoder, and "{subset}" has no text. Give it subsets of its '
        f'own: modalities = ["TAV"] in [train.{name}].'
    )


def inside_faults(raw: Mapping[str, Any], section: Mapping[str, Any]) -> list[str]:
    """Where a raw pipeline.toml, whose ``[train]`` is `section`, asks for such a model in vain."""
    inputs = section.get("inputs")
    text = inputs.get("text") if isinstance(inputs, Mapping) else None
    live = isinstance(text, Mapping) and text.get("live") is True
    faults = list[str]()
    for name in _asked(section.get("models")):
        if not live or section.get("mode") != "finetune":
            faults.append(f"train.models: {inside_text_only(name)}")
        table = section.get(name)
        where, subsets = "train.modalities", section.get("modalities")
        if isinstance(table, Mapping) and "modalities" in table:
            where, subsets = f"train.{name}.modalities", table["modalities"]
        faults += [
            f"{where}: {wordless(name, subset)}" for subset in _names(subsets) if "T" not in subset
        ]
    sweep = raw.get("sweep")
    faults += [
        f"sweep.model: {name} works inside a text encoder, and a sweep reads cached layers. Take "
        "it out."
        for name in _asked(sweep.get("model") if isinstance(sweep, Mapping) else None)
    ]
    return faults


def _asked(names: Any) -> list[str]:
    """Those of `names` that work inside a text encoder alone."""
    return [name for name in _names(names) if name in MODELS and within_text(name)]


def _names(given: Any) -> list[str]:
    """A string, or the strings of a list; what is neither is left to the types."""
    listed = given if isinstance(given, list) else [given]
    return [one for one in listed if isinstance(one, str) and one]
