"""Forms of feature files that installed packages add."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from ...progress import Progress
from ...registries import ADDED_FORMATS, FORMATS
from ..manifest import Manifest
from ..spec import Modality
from .export_features import ExportResult, ExportSource
from .foreign import ExchangeError, FeatureFile, Format


@cache
def _added() -> tuple[dict[str, Format], dict[str, str]]:
    return ADDED_FORMATS.objects(Format)


def open_added(path: Path, names: Mapping[Modality, str]) -> FeatureFile | None:
    """What an added form opens at `path`; None where none of them fits."""
    formats, broken = _added()
    for one in formats.values():
        if one.open is not None and one.fits(path):
            found = one.open(path, names)
            found.notes += [*ADDED_FORMATS.faults, *broken.values()]
            return found
    return None


def check_name(name: str) -> None:
    """Raise ExchangeError if no form that can be written is called `name`."""
    formats, broken = _added()
    if name in broken:
        raise ExchangeError(broken[name])
    known = [*FORMATS, *(n for n, one in formats.items() if one.write is not None)]
    if name not in known:
        raise ExchangeError(f'--to "{name}": there is no such form. Known: {", ".join(known)}.')


def write_added(
    name: str, path: Path, manifest: Manifest, chosen: Sequence[ExportSource], progress: Progress
) -> ExportResult:
    """Write `path` in the added form `name`; raises ExchangeError as `check_name` does."""
    check_name(name)
    write = _added()[0][name].write
    assert write is not None
    return write(path, manifest, chosen, progress)
