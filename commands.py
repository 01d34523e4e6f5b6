"""The command line's own typer: each command that reads a pipeline takes `-o KEY=VALUE` as well."""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from .completion import MODELS
from .console import Commands, PipelineFile

Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--override",
        "-o",
        metavar="KEY=VALUE",
        help="A key that counts instead of the file's, any number of times: -o train.epochs=5.",
    ),
]
FLAGS: Mapping[str, str] = {
    "models": "Models to train: uegd,glomo.",
    "modalities": "Subsets of T, A and V to train on: TAV,T.",
    "sweep.modalities": "Modalities to try layers of, each alone: T,A.",
    "seeds": "Seeds: 1,2,3 or 1-5.",
    "device": "auto, cpu, cuda or cuda:1.",
    "stack": "Seeds together, as one stacked model or a process a core: auto, on or off.",
}
"""Options that are keys of the file: name -> what it is."""
TRAINING: Mapping[str, tuple[str, ...]] = {
    "models": ("train.models",),
    "modalities": ("train.modalities",),
    "seeds": ("train.seeds",),
    "device": ("train.device",),
}
SWEEPING = {
    "models": ("sweep.model",),
    "modalities": ("sweep.modalities",),
    "seeds": ("sweep.seeds",),
    "device": ("train.device",),
}
EXTRACTING = {"device": ("extract.device",)}
WHOLE = {**TRAINING, "device": ("extract.device", "train.device")}


class App(typer.Typer):
    """A group of commands none of which ends in a traceback, with overrides for each."""

    def __init__(self, **settings: Any) -> None:
        """As typer's."""
        super().__init__(
            cls=Commands,
            no_args_is_help=True,
            context_settings={"help_option_names": ["-h", "--help"]},
            **settings,
        )

    def command(  # type: ignore[override]
        self, name: str | None = None, keys: Mapping[str, tuple[str, ...]] | None = None
    ) -> Callable[[Callable[..., None]], Callable[..., None]]:
        """As typer's; `keys`: which options of FLAGS the command has, and the keys they stand for.

        A command without a `config: ConfigFile` has neither.
        """
        register = super().command(name)

        def added(function: Callable[..., None]) -> Callable[..., None]:
            register(_with_overrides(function, keys or {}))
            return function

        return added


def _with_overrides(
    function: Callable[..., None], keys: Mapping[str, tuple[str, ...]]
) -> Callable[..., None]:
    """`function` with the options of overrides, whose `config` then holds what they say."""
    hints = get_type_hints(function, include_extras=True)
    at = next((name for name, hint in hints.items() if _of_pipeline(hint)), None)
    if at is None:
        return function
    hints[at] = Annotated[(Path, *get_args(hints[at])[1:])]
    signature = inspect.signature(function)
    own = [
        p.replace(annotation=hints[p.name], default=p.default.path if p.name == at else p.default)
        for p in signature.parameters.values()
    ]
    added = {"overrides": Overrides} | {name: _flag(name, keys[name]) for name in keys}
    place = [p.name for p in own].index(at) + 1
    own[place:place] = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=a)
        for name, a in added.items()
    ]

    @wraps(function)
    def command(**given: Any) -> None:
        from .config import Override, from_texts

        found = from_texts(given.pop("overrides") or ())
        for name, paths in keys.items():
            value = given.pop(name)
            if value is not None:
                found += tuple(Override(path, value, f"--{name} {value}") for path in paths)
        function(**given | {at: PipelineFile(given[at], found)})

    command.__signature__ = signature.replace(parameters=own)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in own} | {"return": None}
    del command.__wrapped__
    return command


def _of_pipeline(hint: Any) -> bool:
    return get_origin(hint) is Annotated and get_args(hint)[0] is PipelineFile


def _flag(name: str, paths: tuple[str, ...]) -> Any:
    said = " and ".join(paths)
    what = FLAGS.get(paths[0], FLAGS[name])
    offer = MODELS if name == "models" else None
    option = typer.Option(f"--{name}", help=f"{what} ({said})", autocompletion=offer)
    return Annotated[str | None, option]
