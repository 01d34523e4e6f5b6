"""Where a report's numbers come from: versions, machine, and the settings of every row."""

from collections.abc import Mapping, Sequence, Set
from datetime import UTC, datetime
from typing import Any

from ..cache.manifest import Manifest
from ..cache.runs import Run
from ..cache.runs.code import commit, lock_digest
from ..cache.runs.identity import code_version
from ..config import EvaluateConfig
from .results import Provenance, RowSettings
from .warnings import differing

TABLE = {"models", "modalities", "seeds"}
"""Keys of [train] that say which rows there are, and so nothing of one."""


def provenance(
    groups: Mapping[str, Sequence[Run]], settings: EvaluateConfig, manifest: Manifest | None
) -> Provenance:
    """Of the rows `groups`: row name -> its runs, a seed each."""
    runs = [run for seeds in groups.values() for run in seeds]
    apart = set(differing({str(n): run.environment for n, run in enumerate(runs)}))
    return Provenance(
        version=code_version(),
        commit=commit(),
        lock=lock_digest(),
        written=datetime.now(UTC).isoformat(timespec="seconds"),
        manifest=manifest.digest if manifest else None,
        criterion="; ".join(dict.fromkeys(run.criterion for run in runs)),
        rows=tuple(_settings(name, seeds, apart) for name, seeds in groups.items()),
        environment={k: v for k, v in runs[0].environment.items() if k not in apart},
        resamples=settings.bootstrap,
    )


def _settings(name: str, runs: Sequence[Run], apart: Set[str]) -> RowSettings:
    """Of one row, whose seeds differ in nothing but, perhaps, machines: `apart` of all rows."""
    run = runs[0]
    asked = run.config.get("inputs", {})
    # an encoder's name, never the folder it lies in
    inputs = {i.modality: {**asked.get(i.modality, {}), "encoder": i.encoder} for i in run.inputs}
    encoders = run.config.get("encoders", {})
    # what else is a table belongs to models, whose options are resolved already
    own = {k: v for k, v in run.config.items() if k not in TABLE and not isinstance(v, Mapping)}
    machines = {
        key: "; ".join(dict.fromkeys(str(run.environment.get(key, "unknown")) for run in runs))
        for key in dict.fromkeys(key for run in runs for key in run.environment if key in apart)
    }
    recipe = {**own, "inputs": inputs, "encoders": encoders}
    return RowSettings(name, _flat(recipe), _flat(run.options), machines)


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Dotted key -> value in words; of an input's keys those alone that are set."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat({k: v for k, v in value.items() if v is not None}, f"{before}{key}.")
        elif isinstance(value, list | tuple):
            found[before + key] = ", ".join(map(str, value)) or "none"
        else:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            found[before + key] = "unset" if value is None else text
    return found
