"""failures.csv, beside the stores of a corpus: every clip without features, and why."""

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .spec import Modality

FAILURES = "failures.csv"


@dataclass(frozen=True)
class Failure:
    """One clip without features of one modality."""

    clip: str
    modality: Modality
    encoder: str
    stage: str
    """read, decode, detect, encode, import, or share: lost with the process that had it."""
    reason: str


def read_failures(path: Path) -> tuple[Failure, ...]:
    """What `write_failures` wrote; nothing where there is no file."""
    if not path.is_file():
        return ()
    with path.open(encoding="utf-8", newline="") as table:
        return tuple(Failure(**row) for row in csv.DictReader(table))  # type: ignore[arg-type]


def write_failures(path: Path, failures: Sequence[Failure]) -> None:
    """Write failures.csv (a head line alone when nothing failed), replacing the file at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["clip", "modality", "encoder", "stage", "reason"])
        table.writerows([f.clip, f.modality, f.encoder, f.stage, f.reason] for f in failures)
    temporary.replace(path)
