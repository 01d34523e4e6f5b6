"""What commands share: `-o KEY=VALUE` for each that reads a pipeline, and names after a Tab."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

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

Completion = Callable[[typer.Context, str], list[str]]
"""What the shell offers of names. One that cannot be had, as the pipeline is broken or not there,
is not offered: nothing is said."""


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


def presets() -> list[str]:
    """Pipelines that `init` writes."""
    folder = Path(__file__).parent / "extract/corpora/presets"
    return ["demo", *sorted(file.stem for file in folder.glob("*.toml"))]


def models() -> list[str]:
    """Fusion models."""
    from .model_table import MODELS

    return list(MODELS)


def offered(names: Callable[[], Iterable[str]]) -> Completion:
    """Those of `names` that begin as what is typed; of a list with commas, its last part."""

    def offer(context: typer.Context, incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        with suppress(Exception):
            return [f"{before}{comma}{n}" for n in names() if n.startswith(last)]
        return []

    return offer


def offered_of_pipeline(names: Callable[[Path], Iterable[str]]) -> Completion:
    """The same of names that depend on the pipeline.toml that the command names."""

    def offer(context: typer.Context, incomplete: str) -> list[str]:
        with suppress(Exception):
            file = Path(context.params.get("config") or "pipeline.toml")
            return [name for name in names(file) if name.startswith(incomplete)]
        return []

    return offer


def rows(file: Path) -> list[str]:
    """Trained rows, and folders of their configurations."""
    from .cache.runs import list_runs
    from .cache.runs.names import row_of
    from .config import load_config

    folders = list(dict.fromkeys(p.parent.name for p in list_runs(load_config(file).experiment)))
    return [*dict.fromkeys(row_of(name) for name in folders), *folders]


def stores(file: Path) -> list[str]:
    """Stores of the pipeline's cache."""
    from .cache.store.names import name_of
    from .cache.store.store import list_stores
    from .config import load_config

    return [name_of(path) for path in list_stores(load_config(file).cache.root)]


def explained() -> list[str]:
    """What `explain` knows."""
    from .explain import everything, names_of

    return names_of(everything())


PRESETS, MODELS = offered(presets), offered(models)
NAMES = offered(explained)
ROWS, STORES = offered_of_pipeline(rows), offered_of_pipeline(stores)
