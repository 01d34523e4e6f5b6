"""The names of runs on the command line: a row, the start of a folder's name, or of its digits."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...config import nearest
from ...errors import RunError
from .folder import MIGRATE, is_earlier, list_runs, read_scores
from .identity import SHORT, variants

Current = Callable[[Sequence[Path]], Iterable[Path]]
"""Of several configurations' folders, those that belong to the pipeline at hand."""
_FOLDER = re.compile(rf"(?P<row>.+?)(?:-(?P<digits>[0-9a-f]{{{SHORT}}}))?")
FEWEST = 3
"""Digits of a digest that name a configuration at least."""


def row_of(folder: str) -> str:
    """The row that a configuration's folder is of, with hyphens.

    >>> row_of("mmml-finetuned-TA-1a2b3c4d"), row_of("uegd-T")
    ('mmml-finetuned-TA', 'uegd-T')
    """
    found = _FOLDER.fullmatch(folder)
    return found["row"] if found else folder


def find_folders(name: str, experiment: Path, current: Current | None = None) -> tuple[Path, ...]:
    """The folders of the runs that `name` means, a seed each, all of one configuration.

    `name` is a row (``uegd TAV``), a folder below `experiment` or the start of its name
    (``uegd-TAV-1a``), the first digits of its digest (``1a2b``), each also with a seed's folder
    (``1a2b/seed-1``), or a path. Where a row has several configurations, `current` says which of
    them are meant. Raises RunError naming what is there if that is none, or more than one.
    """
    for folder in (Path(name), experiment / name):
        if folder.is_dir():
            if (folder / "run.json").is_file() or (folder / "checksums.json").is_file():
                return (folder,)
            if own := [path for path in list_runs(folder.parent) if path.parent == folder]:
                return tuple(own)
            below = list(list_runs(folder))
            if len({path.parent for path in below}) == 1:  # a point of a sweep
                return tuple(below)
            if below and folder.resolve() != experiment.resolve():
                rows = dict.fromkeys(str(path.parent) for path in below)
                raise RunError(f"{folder}: holds several rows; name one of them: {_listed(rows)}.")
    above, short = _within(name, experiment)
    known: dict[Path, list[Path]] = {}
    for path in list_runs(above):
        known.setdefault(path.parent, []).append(path)
    row, _, seed = short.replace(" ", "-").partition("/")
    matching = _matching(row, list(known))
    if len(matching) > 1 and current is not None:
        matching = [folder for folder in current(matching) if folder in known] or matching
    if len(matching) > 1:
        said = [f"{f.name}{f' ({text})' if text else ''}" for f, text in _told(matching).items()]
        raise RunError(
            f"{name}: means {len(matching)} configurations of {experiment}: {_listed(said)}. "
            "Name one of them; its first letters or digits are enough."
        )
    if matching:
        runs = [path for path in known[matching[0]] if path.name.startswith(seed)]
        exact = [path for path in runs if path.name == seed]
        if seed and len(exact or runs) != 1:
            seeds = [path.name for path in known[matching[0]]]
            raise RunError(f"{matching[0] / seed}: no such run. Seeds here: {_listed(seeds)}.")
        return tuple(exact or runs)
    rows = dict.fromkeys(row_of(folder.name).replace("-", " ") for folder in known)
    hint = nearest(name, rows) or f"Rows here: {_listed(rows) or 'none'}."
    raise RunError(f"{name}: no row of {experiment} and no folder of runs. {hint.strip()}")


def _within(name: str, experiment: Path) -> tuple[Path, str]:
    """The folder of runs that a path leads to, and what of it is left as a name."""
    if "/" in name:
        for path in (Path(name), experiment / name):
            for above, rest in ((path.parent, 1), (path.parent.parent, 2)):
                if above.is_dir() and next(list_runs(above), None):
                    return above, "/".join(path.parts[-rest:])
    return experiment, name


def _matching(name: str, folders: Sequence[Path]) -> list[Path]:
    exact = [f for f in folders if f.name == name]
    rows = [f for f in folders if row_of(f.name) == name]
    starts = [f for f in folders if f.name.startswith(name) and len(name) > len(row_of(f.name))]
    digits = [f for f in folders if len(name) >= FEWEST and _digits(f).startswith(name)]
    anything = [f for f in folders if name and f.name.startswith(name)]
    return next((found for found in (exact, rows, starts, digits, anything) if found), [])


def _digits(folder: Path) -> str:
    found = _FOLDER.fullmatch(folder.name)
    return (found["digits"] or "") if found else ""


def _told(folders: Sequence[Path]) -> Mapping[Path, str]:
    """In what the configurations of these folders differ, if they can be read."""
    found: list[Mapping[str, Any]] = []
    for folder in folders:
        try:
            run = next(path for path in list_runs(folder.parent) if path.parent == folder)
            if is_earlier(run):
                return dict.fromkeys(folders, MIGRATE)
            found.append(read_scores(run).configuration)
        except (RunError, StopIteration):
            return dict.fromkeys(folders, "")
    return dict(zip(folders, variants(found), strict=True))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
