"""A table of plain columns as a file: CSV, or Parquet where pyarrow is installed."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..escape import for_csv
from .store.atomic_write import explained, fresh, replace

SUFFIXES = (".csv", ".parquet")
NEEDS = "needs pyarrow, which is not installed: `pip install pyarrow`, or say .csv."


def check_table(path: Path, option: str) -> None:
    """Raise ConfigError, naming `option`, if `path` cannot be written: before anything is made."""
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{option} {path}: should end in {' or '.join(SUFFIXES)}.")
    if path.suffix.lower() == ".parquet":
        pyarrow(f"{option} {path}")


def pyarrow(what: str) -> Any:
    """The library; raises ConfigError that says `what` needs it."""
    try:
        import pyarrow.parquet  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise ConfigError(f"{what} {NEEDS}") from None
    return pyarrow


def write_table(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write `columns`, of one length, to `path`; its ending says how. None is an empty cell.

    Raises ConfigError as `check_table` does, OSError for what the system refuses.
    """
    if path.suffix.lower() == ".parquet":
        library = pyarrow(str(path))
        with explained(path), fresh(path) as temporary:
            library.parquet.write_table(library.table(dict(columns)), temporary)
        return
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow([for_csv(name) for name in columns])
    for row in zip(*columns.values(), strict=True):
        table.writerow([_cell(value) for value in row])
    replace(path, out.getvalue())


def _cell(value: Any) -> Any:
    return "" if value is None else for_csv(value) if isinstance(value, str) else value
