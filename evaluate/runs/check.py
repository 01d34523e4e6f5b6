"""Reads every byte that training left in an experiment, and names what is not as it was written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...cache.checksums import FILE, DamagedError, read_checksums, without_checksum
from ...cache.runs.folder import MIGRATE, damages, is_earlier
from ...cache.sweeps import is_earlier as is_earlier_sweep
from ...cache.sweeps import read_sweeps
from ...errors import RunError, SedimentalError
from ..analysis.missing_rates import FILE as ROBUSTNESS
from .listing import all_runs


@dataclass(frozen=True)
class Checked:
    """What was read, and what of it is damaged."""

    runs: int
    files: int
    damages: tuple[str, ...]
    """A line each, with the file and the way out."""


def check(experiment: Path, folders: Sequence[Path] | None = None) -> Checked:
    """Read these run folders, or all of `experiment` with its sweeps, probes and what was tested
    of its runs."""
    chosen = list(all_runs(experiment)) if folders is None else list(folders)
    found, files = list[str](), 0
    for folder in chosen:
        if is_earlier(folder):
            found.append(f"{folder}: carries no checksums, being of an earlier version. {MIGRATE}.")
            continue
        found += damages(folder)
        files += _count(folder)
        found += _tested(folder)
    if folders is None:
        for kind in ("probe", "sweep"):
            found += _swept(experiment / kind)
    return Checked(len(chosen), files, tuple(found))


def _count(folder: Path) -> int:
    try:
        return len(read_checksums(folder)) + (folder / FILE).is_file()
    except (SedimentalError, OSError):
        return 0


def _tested(folder: Path) -> Iterator[str]:
    file = folder / ROBUSTNESS
    if file.is_file():
        try:
            without_checksum(file)
        except DamagedError as fault:
            yield f"{fault} `sedimental robustness` makes it anew."


def _swept(folder: Path) -> Iterator[str]:
    if is_earlier_sweep(folder / "sweep.json"):
        return
    try:
        read_sweeps(folder)
    except RunError as fault:
        yield str(fault)
