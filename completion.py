"""What the shell offers after a Tab: names of presets, runs, stores, models and encoders.

A name that cannot be had, as the pipeline is broken or not there, is not offered: nothing is said.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import typer

ModalityFeatures = Callable[[typer.Context, str], list[str]]


def presets() -> list[str]:
    """Pipelines that `init` writes."""
    folder = Path(__file__).parent / "extract/corpora/presets"
    return ["demo", *sorted(file.stem for file in folder.glob("*.toml"))]


def models() -> list[str]:
    """Fusion models."""
    from .model_table import MODELS

    return list(MODELS)


def offered(names: Callable[[], Iterable[str]]) -> ModalityFeatures:
    """Those of `names` that begin as what is typed; of a list with commas, its last part."""

    def offer(context: typer.Context, incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        with suppress(Exception):
            return [f"{before}{comma}{n}" for n in names() if n.startswith(last)]
        return []

    return offer


def offered_of_pipeline(names: Callable[[Path], Iterable[str]]) -> ModalityFeatures:
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
    from .reference.entries import everything
    from .reference.find import names_of

    return names_of(everything())


PRESETS, MODELS = offered(presets), offered(models)
NAMES = offered(explained)
ROWS, STORES = offered_of_pipeline(rows), offered_of_pipeline(stores)
