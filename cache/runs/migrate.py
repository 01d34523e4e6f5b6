"""Takes runs of earlier versions over: the same files, with an identity and checksums."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import RunError
from ..checksums import with_checksum, write_checksums
from ..manifest import PARTS
from ..store.atomic_write import fresh, remove
from .folder import FORMAT, is_earlier, list_runs, read_run
from .identity import UNKNOWN, Identity, digest_of, identity_of
from .run import Predictions
from .tables import read_predictions

ROBUSTNESS = "robustness.npz"
"""Scores under missing features, which carry a checksum of their own."""


def earlier_runs(experiment: Path) -> Iterator[Path]:
    """Folders of all runs below `experiment` that an earlier version made, in sweeps too."""
    for root in (experiment, *sorted(p for p in experiment.rglob("*") if p.is_dir())):
        yield from (path for path in list_runs(root) if is_earlier(path))


def migrate(folder: Path) -> Path:
    """Write the run in `folder` anew beside its old place, then remove that; returns where it is.

    Its predictions, weights and history are the same to the last byte. What an earlier version did
    not record (the texts of the table, the clips behind the features) stays unknown: such a run
    belongs to no pipeline as it is now, and is shown when it is asked for by name. Raises RunError
    for a folder that cannot be read.
    """
    try:
        head: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        predictions = read_predictions((folder / "predictions.csv").read_bytes().decode())
        identity = _identity(head, predictions)
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        StopIteration,
        RecursionError,
    ) as fault:
        raise RunError(
            f"{folder}: cannot be taken over: {fault}. Remove it and `sedimental train` anew."
        ) from fault
    head |= {"format": FORMAT, "identity": identity.to_json()}
    row = folder.parent.name
    target = folder.parent.with_name(f"{row}-{identity.short}") / folder.name
    if target.exists():
        raise RunError(f"{target}: is there already; {folder} was left as it is.")
    with fresh(target, existing="keep") as temporary:
        temporary.mkdir()
        for file in sorted(folder.iterdir()):
            if file.is_file() and file.name not in ("run.json", ROBUSTNESS):
                shutil.copyfile(file, temporary / file.name)
        (temporary / "run.json").write_text(json.dumps(head, indent=1) + "\n", encoding="utf-8")
        write_checksums(temporary)
        if (folder / ROBUSTNESS).is_file():
            data = (folder / ROBUSTNESS).read_bytes()
            (temporary / ROBUSTNESS).write_bytes(with_checksum(data))
    read_run(target)  # what cannot be read again does not take the place of what could be
    remove(folder)
    if not any(folder.parent.iterdir()):
        folder.parent.rmdir()
    return target


def _identity(head: dict[str, Any], predictions: Predictions) -> Identity:
    """As much of the identity as the run tells: equal for seeds of one configuration."""
    config = {k: v for k, v in head["config"].items() if not isinstance(v, dict)}
    left_out = ("seeds", "models", "modalities", "threads", "device", "memory_mb", "stack")
    classes, labels = predictions.classes, predictions.labels.tolist()
    answered = [
        predictions.ids,
        predictions.splits,
        [classes[int(k)] for k in labels] if classes else labels,
    ]
    configuration = {
        "code": f"{head['environment'].get('sedimental', 'an earlier version')}, before identities",
        "table": dict.fromkeys(PARTS, UNKNOWN),
        "answered": digest_of(answered),  # clips, splits and labels, as far as they were told
        "inputs": {
            one["modality"]: {
                k: v for k, v in (one | {"clips": UNKNOWN}).items() if k not in ("modality", "live")
            }
            for one in head["inputs"]
        },
        "model": head["model"],
        "options": head["options"],
        "settings": {k: v for k, v in config.items() if k not in left_out},
    }
    return identity_of(configuration, head["seed"])
