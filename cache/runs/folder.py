"""Run folders: written so that one that exists is whole, read so that damage is named.

An experiment's folder holds a folder a configuration (``uegd-TAV-1a2b3c4d``), and that one a
folder a seed (``seed-1111``). Nothing in here ever deletes a run: one whose place is taken by
another is kept beside it, as ``seed-1111.old-1``.
"""

import errno
import io
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import RunError, SedimentalError, remedy
from ..checksums import (
    FILE,
    DamagedError,
    damaged_files,
    read_checked,
    read_checksums,
    write_checksums,
)
from ..spec import Modality
from ..store.atomic_write import clear_stale, fresh, sync_tree
from .extraction import Extraction
from .identity import Identity
from .portable import located, portable
from .representations import write_representations
from .run import InputRecord, OtherCriterion, Run, Scored, letters_of
from .tables import history_text, predictions_text, read_history, read_predictions

FORMAT = "sedimental-run-2"
EARLIER = "sedimental-run-1"
"""Before runs had an identity and checksums: `sedimental runs migrate` takes them over."""
MIGRATE = "`sedimental runs migrate` takes the runs of earlier versions over"
WEIGHTS = "weights.safetensors"
_OBJECTS = ("inputs", "rivals", "extraction", "identity")
"""Fields of a run that are written as plain values in place of objects."""
_SEED = re.compile(r"seed--?\d+(-fold-\d+)?")
_OLD = re.compile(r"(seed--?\d+(?:-fold-\d+)?)\.old-(\d+)")


def run_folder(
    root: Path,
    model: str,
    modalities: Sequence[Modality],
    seed: int,
    finetuned: bool = False,
    short: str = "",
    fold: int | None = None,
) -> Path:
    """Where the run lies below the experiment's folder `root`.

    `short` names its configuration (`Identity.short`).
    """
    name = f"{model}{'-finetuned' if finetuned else ''}-{letters_of(modalities)}"
    folder = f"seed-{seed}" if fold is None else f"seed-{seed}-fold-{fold}"
    return root / (f"{name}-{short}" if short else name) / folder


def folder_of(root: Path, run: Run | Scored) -> Path:
    """Where `run` lies below the experiment's folder `root`."""
    own = run.identity
    named = (own.short, own.fold) if own else ("", None)
    return run_folder(root, run.model, run.modalities, run.seed, run.finetuned, *named)


def write_run(folder: Path, run: Run, weights: bytes, again: bool = False) -> bool:
    """Write `run` and its best `weights` (safetensors); `folder` appears whole, or not at all.

    A run of equal key that is there stands, and False is returned, unless it is damaged or this one
    was made `again`. What is there and does not stand is kept beside it, as ``….old-1``. Raises
    RunError where the disk takes no more.
    """
    try:
        clear_stale(folder.parent)
        while True:
            if not again and _stands(folder, run.key):
                return False
            with fresh(folder, existing="keep") as temporary:
                _write(temporary, run, weights)
                ours = (temporary / FILE).read_bytes()
                sync_tree(temporary)  # a full disk must not cost what is there
                if os.path.lexists(folder) and (again or not _stands(folder, run.key)):
                    with suppress(FileNotFoundError):  # another process has done it
                        set_aside(folder)
            if _landed(folder, ours):
                return True
            # another process was quicker, and what it wrote is looked at anew
    except OSError as fault:
        raise _unwritable(folder, fault) from fault


def _landed(folder: Path, checksums: bytes) -> bool:
    """Whether the run of these checksums is at `folder`, or was until another was made again."""

    def is_ours(path: Path) -> bool:
        with suppress(FileNotFoundError):
            return (path / FILE).read_bytes() == checksums
        return False

    # In this order: one that is set aside after it was looked for at `folder` is then in the list.
    return is_ours(folder) or any(map(is_ours, folder.parent.glob(f"{folder.name}.old-*")))


def set_aside(folder: Path) -> Path:
    """Keep the run in `folder` beside it, under the next free name; returns where."""
    number = 1
    while True:
        kept = folder.with_name(f"{folder.name}.old-{number}")
        if not kept.exists():
            try:
                return folder.rename(kept)
            except OSError as fault:
                if fault.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
        number += 1


def list_runs(root: Path) -> Iterator[Path]:
    """Folders of the finished runs below `root`, sorted by name."""
    return (p for p in sorted(root.glob("*/seed-*")) if _SEED.fullmatch(p.name) and p.is_dir())


def list_superseded(root: Path) -> Iterator[Path]:
    """Folders of the runs below `root` that others of the same identity have replaced."""
    return (p for p in sorted(root.glob("*/seed-*.old-*")) if _OLD.fullmatch(p.name))


def read_run(folder: Path) -> Run:
    """Read a run folder; raises RunError naming the file that is damaged, missing or foreign."""
    try:
        sums = _checksums(folder)
        head = _head(folder, sums)
        data = io.BytesIO(read_checked(folder, "outputs.npz", sums))
        with np.load(data, allow_pickle=False) as outputs:
            extras = {name: outputs[name].astype(np.float64) for name in outputs.files}
        head["modalities"] = tuple(head["modalities"])
        head["inputs"] = tuple(
            InputRecord(**{**i, "layers": tuple(i["layers"])}) for i in head["inputs"]
        )
        head["rivals"] = {n: OtherCriterion(**r) for n, r in head.get("rivals", {}).items()}
        made = head.get("extraction", {})
        head["extraction"] = {m: Extraction.from_json(one) for m, one in made.items()}
        return Run(
            **head,
            history=read_history(read_checked(folder, "history.csv", sums).decode()),
            predictions=read_predictions(read_checked(folder, "predictions.csv", sums).decode()),
            outputs=extras,
        )
    except _UNREADABLE as fault:
        raise _foreign(folder, fault) from fault


def read_scores(folder: Path) -> Scored:
    """The scores of a run, without its predictions; raises RunError as `read_run` does."""
    try:
        head = _head(folder, _checksums(folder))
        return Scored(
            head["seed"],
            head["key"],
            head["seconds"],
            head["metrics"],
            head["corpus"],
            head["model"],
            tuple(head["modalities"]),
            any(one.get("live", False) for one in head["inputs"]),
            head["criterion"],
            head["best_epoch"],
            head["identity"],
        )
    except _UNREADABLE as fault:
        raise _foreign(folder, fault) from fault


def read_weights(folder: Path) -> bytes:
    """The weights file of a run (safetensors); raises RunError as `read_run` does."""
    try:
        return read_checked(folder, WEIGHTS, _checksums(folder))
    except _UNREADABLE as fault:
        raise _foreign(folder, fault) from fault


def damages(folder: Path) -> list[str]:
    """A line for each file of the run folder that is not what was written; reads all of them."""
    try:
        _checksums(folder)
    except DamagedError as fault:
        return [_remedied(folder, fault)]
    except (RunError, OSError) as fault:
        return [str(_foreign(folder, fault))]
    return [_remedied(folder, fault) for fault in damaged_files(folder)]


def _stands(folder: Path, key: str) -> bool:
    """Whether the run at `folder` is whole and of the same key."""
    try:
        return read_scores(folder).key == key and not damages(folder)
    except RunError:
        return False


def _write(folder: Path, run: Run, weights: bytes) -> None:
    folder.mkdir()
    (folder / WEIGHTS).write_bytes(weights)
    (folder / "history.csv").write_bytes(history_text(run.history).encode())
    (folder / "predictions.csv").write_bytes(predictions_text(run.predictions).encode())
    outputs: dict[str, Any] = {name: np.asarray(v) for name, v in run.outputs.items()}
    np.savez(folder / "outputs.npz", **outputs)
    if run.representations is not None:
        write_representations(folder, run.representations)
    head = {"format": FORMAT} | {
        k: v
        for k, v in vars(run).items()
        if k not in ("history", "predictions", "outputs", "representations", *_OBJECTS)
    }
    head["inputs"] = [vars(i) for i in run.inputs]
    head["rivals"] = {name: vars(rival) for name, rival in run.rivals.items()}
    head["extraction"] = {m: one.to_json() for m, one in run.extraction.items()}
    head["identity"] = run.identity and run.identity.to_json()
    head = portable(json.loads(json.dumps(head)), folder)
    (folder / "run.json").write_text(json.dumps(head, indent=1) + "\n", encoding="utf-8")
    write_checksums(folder)


def _checksums(folder: Path) -> dict[str, str]:
    """The checksums of the folder's files; raises RunError for a folder of an earlier version."""
    try:
        return read_checksums(folder)
    except FileNotFoundError:
        if is_earlier(folder):
            raise RunError(f"{folder}: a run of an earlier version. {MIGRATE}.") from None
        if not folder.is_dir():
            raise RunError(f"{folder}: no run is here.") from None
        raise DamagedError(folder / FILE, "is gone") from None


def is_earlier(folder: Path) -> bool:
    """Whether an earlier version, that kept no checksums, wrote the run in `folder`."""
    if (folder / FILE).exists():
        return False
    try:
        head = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        return bool(head.get("format") == EARLIER)
    except (OSError, ValueError, AttributeError, RecursionError):
        return False


def _head(folder: Path, sums: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(read_checked(folder, "run.json", sums))
    if (format_ := found.pop("format", None)) != FORMAT:
        raise RunError(
            f"{folder / 'run.json'}: of format {format_}, this sedimental reads {FORMAT}. "
            "Upgrade sedimental; nothing was changed."
        )
    found = located(found, folder)
    own = found.get("identity")
    found["identity"] = own and Identity.from_json(own)
    return found


_UNREADABLE = (SedimentalError, OSError, ValueError, KeyError, TypeError, StopIteration)


def _foreign(folder: Path, fault: Exception) -> RunError:
    if isinstance(fault, DamagedError):
        return RunError(_remedied(folder, fault))
    if isinstance(fault, RunError):
        return fault
    why = os.strerror(fault.errno) if isinstance(fault, OSError) and fault.errno else str(fault)
    return RunError(f"{folder}: cannot be read as a run: {why}. {_remedy(folder)}")


def _remedied(folder: Path, fault: DamagedError) -> str:
    return f"{fault} {_remedy(folder)}"


def _remedy(folder: Path) -> str:
    name = f"{folder.parent.name}/{folder.name}"
    return f"`sedimental runs rm {name}` removes the run, `sedimental train` makes it anew."


def _unwritable(folder: Path, fault: OSError) -> RunError:
    why = os.strerror(fault.errno) if fault.errno else str(fault)
    return RunError(f"{folder}: cannot be written: {why}. {remedy(fault)}")
