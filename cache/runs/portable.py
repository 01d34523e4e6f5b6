"""Folders of weights in run.json: told from where the run lies, so that no path tells who wrote it.

Experiment and weights may move together. A folder below the user's home that the run is not in
begins with ``~``; what is left of an absolute path then is no more than the way between the two.
"""

import os
from pathlib import Path
from typing import Any

PLACES = ("encoder", "weights")
"""Keys whose values may be folders."""
_BEGINNINGS = ("./", "../", "~/")


def portable(value: Any, base: Path) -> Any:
    """`value`, plain values of JSON, with every folder and absolute path told from `base`."""
    if isinstance(value, dict):
        return {k: _from(v, base) if k in PLACES else portable(v, base) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [portable(one, base) for one in value]
    return _from(value, base) if isinstance(value, str) and Path(value).is_absolute() else value


def located(value: Any, base: Path) -> Any:
    """What `portable` was given; relative folders of the keys PLACES as absolute paths."""
    if isinstance(value, dict):
        return {
            k: _at(v, base) if k in PLACES and isinstance(v, str) else located(v, base)
            for k, v in value.items()
        }
    return [located(one, base) for one in value] if isinstance(value, list) else value


def _from(value: Any, base: Path) -> Any:
    if not isinstance(value, str) or not (Path(value).is_absolute() or _is_folder(value)):
        return portable(value, base)
    path, here, home = Path(value).resolve(), base.resolve(), Path.home()
    if path.is_relative_to(home) and not here.is_relative_to(home):
        return f"~/{path.relative_to(home).as_posix()}"
    told = Path(os.path.relpath(path, here)).as_posix()
    return told if told.startswith("../") else f"./{told}"


def _at(value: str, base: Path) -> str:
    if not value.startswith(_BEGINNINGS):
        return value
    return os.path.normpath(base.resolve() / Path(value).expanduser())


def _is_folder(value: str) -> bool:
    # names of encoders are none, unless a folder of that name is where the command was started
    return ("/" in value or os.sep in value) and Path(value).is_dir()
