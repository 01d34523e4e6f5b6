"""Every configuration that was trained: its seeds, its scores, and what has become of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...cache.manifest import Manifest
from ...cache.runs import Scored, list_runs, read_scores
from ...cache.runs.folder import MIGRATE, is_earlier, list_superseded
from ...cache.store.atomic_write import remove
from ...config import Config
from ...errors import RunError
from ...result_table import ResultTable
from ..selection import Planned, manifest_of, row_key, unfit

State = Literal["current", "settings", "stale", "earlier", "damaged", "unchecked"]


@dataclass(frozen=True, repr=False)
class Configuration:
    """The runs of one configuration."""

    folder: Path
    name: str
    """Of the folder, below the experiment."""
    row: str
    state: State
    reason: str
    """What is other than pipeline.toml or the corpus are now, or what is damaged."""
    runs: tuple[Scored, ...]
    superseded: tuple[Path, ...]
    """Folders of runs that were trained again."""
    nbytes: int

    def __repr__(self) -> str:
        """Which it is."""
        return f"Configuration({self.name}, {self.state}, {len(self.runs)} runs)"

    def mean(self, split: Literal["valid", "test"], metric: str) -> float:
        """Over the seeds; NaN without any."""
        values = [run.metrics[split].get(metric, float("nan")) for run in self.runs]
        return sum(values) / len(values) if values else float("nan")

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "row": self.row,
            "state": self.state,
            "reason": self.reason,
            "digest": self.runs[0].identity.digest if self.runs and self.runs[0].identity else None,
            "seeds": [run.seed for run in self.runs],
            "superseded": [path.name for path in self.superseded],
            "bytes": self.nbytes,
            "runs": [
                {
                    "seed": run.seed,
                    "key": run.key,
                    "best_epoch": run.best_epoch,
                    "seconds": run.seconds,
                    "metrics": run.metrics,
                }
                for run in self.runs
            ],
        }


class Listing(ResultTable, tuple[Configuration, ...]):
    """Every configuration of an experiment: a tuple that shows itself as a table."""

    @property
    def title(self) -> str:
        """How many."""
        return f"{len(self)} configuration{'' if len(self) == 1 else 's'}"

    def records(self) -> Sequence[Mapping[str, Any]]:
        """A row a configuration: mean test scores over its seeds."""
        return [
            {
                "run": one.name,
                "state": one.state,
                "seeds": len(one.runs),
                **{
                    key: one.mean("test", key)
                    for run in one.runs[:1]
                    for key in run.metrics["test"]
                },
            }
            for one in self
        ]


def listed(config: Config, planned: Planned | None = None) -> Listing:
    """Every configuration below the pipeline's experiment, sorted by name, beside the corpus table
    as it was taken in last."""
    experiment, manifest = config.experiment, manifest_of(config)
    folders: dict[Path, list[Path]] = {}
    for path in (*list_runs(experiment), *list_superseded(experiment)):
        folders.setdefault(path.parent, []).append(path)
    read = {folder: list(_scores(folder)) for folder in folders}
    rows = [row_key(s) for scores in read.values() for s in scores if isinstance(s, Scored)]
    asked: Mapping[Any, Any] = {}
    if planned is not None and manifest is not None and rows:
        asked = planned(config, manifest, list(dict.fromkeys(rows)))
    return Listing(
        _configuration(config, manifest, folder, read[folder], asked) for folder in sorted(folders)
    )


def all_runs(experiment: Path) -> Iterator[Path]:
    """Folders of all runs of an experiment: superseded ones, and those of sweeps and probes too."""
    roots = [experiment, experiment / "probe"]
    for name in ("sweep", "incomplete"):
        roots += sorted(path for path in (experiment / name).glob("*") if path.is_dir())
    for root in roots:
        yield from list_runs(root)
        yield from list_superseded(root)


def remove_runs(folders: Sequence[Path]) -> None:
    """Remove run folders, each at once, and what is left empty around them."""
    for folder in folders:
        remove(folder)
        around = folder.parent
        rest = [path for path in around.iterdir() if not path.name.startswith(".")]
        if not rest:
            for hidden in around.iterdir():  # checkpoints of runs in flight are not among them
                if hidden.name == f".resume-{folder.name}.safetensors":
                    hidden.unlink()
            if not any(around.iterdir()):
                around.rmdir()


def size_of(folder: Path) -> int:
    """Bytes of the files below `folder`; links are not followed."""
    return sum(p.lstat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink())


def _scores(folder: Path) -> Iterator[Scored | RunError]:
    for path in list_runs(folder.parent):
        if path.parent == folder:
            try:
                yield read_scores(path)
            except RunError as fault:
                yield fault


def _configuration(
    config: Config,
    manifest: Manifest | None,
    folder: Path,
    read: Sequence[Scored | RunError],
    asked: Mapping[Any, Mapping[str, Any] | str],
) -> Configuration:
    runs = tuple(one for one in read if isinstance(one, Scored))
    faults = [str(one) for one in read if isinstance(one, RunError)]
    superseded = tuple(p for p in list_superseded(folder.parent) if p.parent == folder)
    state, reason = _state(config, manifest, folder, runs, faults, asked)
    return Configuration(
        folder=folder,
        name=folder.name,
        row=runs[0].row if runs else folder.name,
        state=state,
        reason=reason,
        runs=runs,
        superseded=superseded,
        nbytes=size_of(folder),
    )


def _state(
    config: Config,
    manifest: Manifest | None,
    folder: Path,
    runs: Sequence[Scored],
    faults: Sequence[str],
    asked: Mapping[Any, Mapping[str, Any] | str],
) -> tuple[State, str]:
    if any(is_earlier(p) for p in list_runs(folder.parent) if p.parent == folder):
        return "earlier", f"{MIGRATE}."
    if faults:
        return "damaged", " ".join(faults)
    if not runs:
        return "settings", "only runs that were trained again are left"
    wanted = asked.get(row_key(runs[0]))
    if found := unfit(config, manifest, runs[0], wanted, everything=False):
        return found
    if not isinstance(wanted, Mapping):
        return "unchecked", wanted or ""
    return "current", ""
