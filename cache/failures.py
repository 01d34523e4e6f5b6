"""failures.csv, beside the stores of a corpus: every clip without features, and why.

The table is for people and is never read again; what is read lies beside it as failures.json, with
a checksum.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import CorruptStoreError
from ..escape import for_csv, for_terminal
from .spec import Modality
from .store.atomic_write import explained, remove, replace
from .store.sealed_json import read_record, record

FAILURES = "failures.csv"
KIND = "failures"


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
    """What `write_failures` wrote to `path`; nothing where there is no file.

    Raises CorruptStoreError for what is not as it was written.
    """
    try:
        rows = read_record(KIND, _sealed(path))["failures"]
    except FileNotFoundError:
        return ()
    except CorruptStoreError:
        raise CorruptStoreError(
            f"{_sealed(path)}: not the bytes that were written. Remove it, and run the command "
            "that failed clips came from (`sedimental extract`, `cache import`) again."
        ) from None
    return tuple(Failure(*row) for row in rows)


def write_failures(path: Path, failures: Sequence[Failure]) -> None:
    """Write failures.csv (a head line alone when nothing failed) and its like for machines."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["clip", "modality", "encoder", "stage", "reason"])
    rows = [(f.clip, f.modality, f.encoder, f.stage, f.reason) for f in failures]
    table.writerows([for_csv(value) for value in row] for row in rows)
    with explained(path):
        replace(_sealed(path), record(KIND, {"failures": rows}))
        replace(path, out.getvalue())


def forget_failures(path: Path) -> None:
    """Remove what `write_failures` wrote."""
    with explained(path):
        for file in (_sealed(path), path):
            if file.exists():
                remove(file)


def failure_lines(failures: Sequence[Failure], reasons: Mapping[str, int], shown: int) -> list[str]:
    """The first `shown` failures, a line each; of more than that also the counted `reasons`."""
    lines = [
        for_terminal(f"{f.clip}  no {f.modality} ({f.stage}): {f.reason}") for f in failures[:shown]
    ]
    if len(failures) > shown:
        lines.append(f"… and {len(failures) - shown} more")
        lines += [f"{count:6d} x {for_terminal(reason)}" for reason, count in reasons.items()]
    return lines


def failed_text(failures: Sequence[Failure], file: Path) -> str:
    """How many clips failed, and where all of them are listed."""
    clips = len({failure.clip for failure in failures})
    return f"{clips} clips failed ({len(failures)} features are missing): {file}"


def _sealed(path: Path) -> Path:
    return path.with_suffix(".json")
