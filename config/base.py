"""What every section of pipeline.toml is made of: immutable tables, and values of one kind each."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict

from ..model_table import MODELS
from .wording import nearest


class Section(BaseModel):
    """A table of pipeline.toml: immutable, no unknown keys, no number that is not finite."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


def _layer_choice(value: Any) -> Any:
    """One fault in plain words where pydantic would list one a member of the union."""
    numbers = value if isinstance(value, (list, tuple)) and value else [value]
    if value in ("weighted", "final") or all(type(n) is int for n in numbers):
        return tuple(value) if isinstance(value, list) else value
    raise ValueError(
        'should be a layer number, a list of them, a range like "6-12", "last4", "weighted" or '
        '"final"'
    )


def _layer_list(value: Any) -> Any:
    """The layers of [[features]] and of [sweep]."""
    numbers = value if isinstance(value, (list, tuple)) and value else [None]
    if value == "all" or all(type(n) is int for n in numbers):
        return tuple(value) if isinstance(value, list) else value
    raise ValueError('should be "all", a list of layer numbers, or a range like "6-12" or "last4"')


def _listed(value: Any) -> Any:
    """One value as a list of one."""
    return (value,) if isinstance(value, str) else value


def known_model(name: str) -> str:
    """`name`, if there is a model of it; raises ValueError with the names that come close."""
    if name not in MODELS:
        raise ValueError(f'"{name}" is no model.{_other_models(name)}')
    return name


def _other_models(name: str) -> str:
    """What may have been meant: the nearest name, or the three that come closest and where others
    are found."""
    near = ", ".join(get_close_matches(name, MODELS, n=3, cutoff=0.0))
    return nearest(name, MODELS) or (
        f" The closest are {near}; `sedimental models` lists all {len(MODELS)}. A model of your "
        'own comes with its package\'s entry point: CONTRIBUTING.md, "Add a model".'
    )


def no_nul(value: Any) -> Any:
    """`value`, if a file can be called so; raises ValueError."""
    if "\0" in str(value):
        raise ValueError("holds a NUL character, which no name of a file can")
    return value


Count = Annotated[int, Strict(), Field(ge=0)]
Positive = Annotated[int, Strict(), Field(gt=0)]
Seed = Annotated[int, Strict(), Field(ge=0, lt=2**63)]
Number = Annotated[float, Strict()]
Fraction = Annotated[float, Strict(), Field(ge=0, le=1)]
Switch = Annotated[bool, Strict()]
Word = Annotated[str, Field(min_length=1), AfterValidator(no_nul)]
Place = Annotated[Path, AfterValidator(no_nul)]
Layer = Annotated[int, Strict()]
LayerChoice = Annotated[
    int | Literal["weighted", "final"] | tuple[int, ...], BeforeValidator(_layer_choice)
]
LayerList = Annotated[Literal["all"] | tuple[int, ...], BeforeValidator(_layer_list)]
ModelName = Annotated[str, AfterValidator(known_model)]
ModelNames = Annotated[tuple[ModelName, ...], BeforeValidator(_listed)]
Letters = Annotated[str, Field(pattern=r"^[TAV]+$")]
FOLDER = r"^[A-Za-z0-9][\w.-]*$"
"""Names that are a folder's: no slash, nothing hidden."""
ModelTable = Mapping[str, Any]
"""The table [train.<model>]: fields of the model's Options, and keys of its recipe."""


def snake(name: str) -> str:
    """A name as models have it.

    >>> snake("EMT-DLFR"), snake("Self MM")
    ('emt_dlfr', 'self_mm')
    """
    return re.sub(r"[-\s]+", "_", name.strip()).lower()
