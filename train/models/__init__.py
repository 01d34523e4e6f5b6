"""The table of fusion models, and the way from a name in pipeline.toml to a model."""

from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from ...cache.spec import Modality
from ...config import ConfigError, nearest

if TYPE_CHECKING:  # torch loads only when a model is used
    import torch

    from .base import FusionModel, InputShape

MODELS: Mapping[str, str] = {
    "uegd": "uegd:UEGD",
}
"""Name in pipeline.toml -> file and class; beside the class lies its `Options`."""


def model_options(name: str, table: Mapping[str, Any]) -> Any:
    """The `Options` of model `name` with the values of its table ``[train.<name>]``.

    Raises ConfigError with every fault of the table, a line each.
    """
    values, faults = _bind(name, table)
    if not faults:
        try:
            return _options(name)(**values)
        except ValueError as fault:  # values that are fine alone and not together
            faults = [f"train.{name}: {fault}"]
    raise ConfigError("\n".join(faults))


def option_faults(raw: Mapping[str, Any]) -> list[str]:
    """Every fault in the model tables of a raw pipeline.toml; a `Check` of `load_config`."""
    section = raw.get("train", {})
    if not isinstance(section, Mapping):
        return []  # the typed config says so
    faults: list[str] = []
    for name in MODELS:
        table = section.get(name)
        if isinstance(table, Mapping) and table:
            try:
                model_options(name, table)
            except ConfigError as found:
                faults += str(found).splitlines()
    return faults


def build(
    name: str,
    options: Any,
    inputs: "Mapping[Modality, InputShape]",
    generator: "torch.Generator",
) -> "FusionModel":
    """Model `name` for these inputs, its first weights drawn from `generator`, on the CPU.

    The global random state is as it was before.
    """
    import torch

    module, _, class_name = MODELS[name].partition(":")
    made = getattr(import_module(f".{module}", __name__), class_name)
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    with torch.random.fork_rng(devices=[]):  # PyTorch's own initialisers know no other generator
        torch.default_generator.manual_seed(seed)
        model: FusionModel = made(options, inputs)
    return model


def _options(name: str) -> type[Any]:
    module = MODELS[name].partition(":")[0]
    found: type[Any] = import_module(f".{module}", __name__).Options
    return found


def _bind(name: str, table: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """(values by field, faults)."""
    options = _options(name)
    hints = get_type_hints(options, include_extras=True)
    known = [f.name for f in fields(options)]
    values: dict[str, Any] = {}
    faults: list[str] = []
    for key, value in table.items():
        where = f"train.{name}.{key}"
        if key not in known:
            hint = nearest(key, known) or f" Known: {', '.join(known)}."
            faults.append(f"{where}: unknown option.{hint}")
            continue
        try:
            values[key] = TypeAdapter(hints[key]).validate_python(value)
        except ValidationError as found:
            faults += [f"{where}: {fault['msg']}." for fault in found.errors()]
    return values, faults
