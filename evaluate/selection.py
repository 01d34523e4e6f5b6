"""Which runs a report is about: those that belong together and to the pipeline at hand.

What does not belong is never mixed in and never dropped in silence: it is listed with the reason.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..cache.corpus.corpus_table import cached_manifest
from ..cache.manifest import Manifest
from ..cache.runs import Run, Scored, list_runs, read_run, read_scores
from ..cache.runs.folder import MIGRATE, is_earlier
from ..cache.runs.identity import UNKNOWN, differences, digest_of, wording
from ..cache.runs.names import find_folders
from ..cache.store.store import open_store
from ..config import Config
from ..errors import ManifestError, RunError, StoreError

RowKey = tuple[str, str, bool]
"""Model, modalities in short, whether encoders were trained along."""
Planned = Callable[[Config, Manifest, Sequence[RowKey]], Mapping[RowKey, Mapping[str, Any] | str]]
"""By row the configuration that the pipeline asks for, or why that cannot be told."""
BESIDE = {"stack", "settings.also"}
"""Keys of a configuration in which runs of one pipeline may differ: seeds that are trained together
on one device are trained one by one on another, and what else is recorded changes no number."""
SAID = 5
"""Most of a kind that are listed one by one."""


@dataclass(frozen=True)
class LeftOut:
    """Runs that are there and not in the report."""

    name: str
    """Of their configuration's folder: what `--all` and the command line call it."""
    seeds: tuple[int, ...]
    kind: Literal["stale", "settings", "earlier"]
    reason: str

    @property
    def words(self) -> str:
        """``uegd-TAV-1a2b3c4d (3 seeds): epochs 2, now 3``."""
        count = f"{len(self.seeds)} seed{'s' if len(self.seeds) > 1 else ''}"
        return f"{self.name} ({count}): {self.reason}"


@dataclass(frozen=True)
class Selected:
    """The runs of a report, and those that it leaves out."""

    runs: tuple[Run, ...]
    left_out: tuple[LeftOut, ...] = ()
    unchecked: str = ""
    """Why it could not be told whether the runs belong to the pipeline; empty: they do."""


def select(
    config: Config,
    manifest: Manifest | None,
    planned: Planned | None = None,
    names: Sequence[str] = (),
    everything: bool = False,
) -> Selected:
    """The runs below the pipeline's experiment that belong to it.

    Of a row with several configurations that is the one that pipeline.toml asks for, whichever
    models, modalities and seeds it lists. Runs on another table or on features that were made anew
    are stale. With `everything` all that are not stale are taken, with `names` just those, whatever
    they are. Raises RunError naming what is there if nothing is left.
    """
    folder = config.experiment
    if names:
        chosen = [path for name in names for path in find_folders(name, folder)]
        return Selected(tuple(read_run(path) for path in dict.fromkeys(chosen)))
    found: dict[Path, list[tuple[Path, Scored]]] = {}
    left: list[LeftOut] = []
    earlier: dict[str, list[int]] = {}
    for path in list_runs(folder):
        if is_earlier(path):
            earlier.setdefault(path.parent.name, []).append(int(path.name.split("-", 1)[1]))
        else:
            found.setdefault(path.parent, []).append((path, read_scores(path)))
    left += [
        LeftOut(name, tuple(seeds), "earlier", "made by an earlier version")
        for name, seeds in earlier.items()
    ]
    heads = {where: own[0][1] for where, own in found.items()}
    rows = list(dict.fromkeys(row_key(head) for head in heads.values()))
    asked = planned(config, manifest, rows) if planned and manifest and rows else {}
    kept: list[Path] = []
    doubts: list[str] = []
    for where, own in found.items():
        wanted = asked.get(row_key(heads[where]))
        reason = unfit(config, manifest, heads[where], wanted, everything)
        if reason:
            seeds = tuple(run.seed for _, run in own)
            left.append(LeftOut(where.name, seeds, *reason))
            continue
        if isinstance(wanted, str) and wanted:
            doubts.append(wanted)
        kept += [path for path, _ in own]
    if not kept:
        raise RunError(_nothing(folder, left))
    runs = tuple(read_run(path) for path in kept)
    return Selected(runs, tuple(left), doubts[0] if doubts else "")


def manifest_of(config: Config) -> Manifest | None:
    """The corpus table, if it is there: runs can be listed and compared without it."""
    try:
        return cached_manifest(config)
    except ManifestError:
        return None


def current_of(
    config: Config, manifest: Manifest | None, planned: Planned | None
) -> Callable[[Sequence[Path]], list[Path]]:
    """Of several configurations' folders, tells those that the pipeline asks for."""

    def current(folders: Sequence[Path]) -> list[Path]:
        heads: dict[Path, Scored] = {}
        for folder in folders:
            own = [p for p in list_runs(folder.parent) if p.parent == folder and not is_earlier(p)]
            heads |= {folder: read_scores(own[0])} if own else {}
        if planned is None or manifest is None:
            return []
        asked = planned(config, manifest, list(dict.fromkeys(row_key(h) for h in heads.values())))
        return [f for f, head in heads.items() if _is_asked(head, asked[row_key(head)])]

    return current


def _is_asked(head: Scored, wanted: Mapping[str, Any] | str) -> bool:
    return isinstance(wanted, Mapping) and not _apart(head.configuration, wanted)


def told(left_out: Sequence[LeftOut]) -> Iterator[tuple[Literal["warning", "note"], str]]:
    """A sentence for each kind of what was left out, with the way to it."""
    ways = {
        "stale": ("warning", "Left out, out of date", "`sedimental run` makes them anew"),
        "settings": (
            "note",
            "Left out, trained with other settings than pipeline.toml has",
            "`sedimental report --all` shows them",
        ),
        "earlier": ("warning", "Left out", MIGRATE),
    }
    for kind, (grade, what, way) in ways.items():
        own = [one.words for one in left_out if one.kind == kind]
        if own:
            more = f"; and {len(own) - SAID} more" if len(own) > SAID else ""
            yield grade, f"{what}: {'; '.join(own[:SAID])}{more}. {way}."  # type: ignore[misc]


def unfit(
    config: Config,
    manifest: Manifest | None,
    head: Scored,
    wanted: Mapping[str, Any] | str | None,
    everything: bool,
) -> tuple[Literal["stale", "settings"], str] | None:
    """Why runs of this configuration do not belong in the report; None: they do."""
    own = head.configuration
    if not own:  # a run without an identity: nothing to compare
        return None
    if stale := _stale(config, manifest, own):
        return "stale", stale
    if everything:
        return None
    apart = _apart(own, wanted) if isinstance(wanted, Mapping) else _other_features(config, own)
    return ("settings", wording(apart)) if apart else None


def _stale(config: Config, manifest: Manifest | None, own: Mapping[str, Any]) -> str:
    """What of a run's table or features is not as it was; empty: nothing."""
    now = manifest.digests if manifest else {}
    table = {
        f"table.{part}": (digest, now[part])
        for part, digest in own.get("table", {}).items()
        if part in now and digest not in (now[part], UNKNOWN)
    }
    said = [wording(table)] if table else []
    for modality, one in own.get("inputs", {}).items():
        for path in config.corpus_cache.glob(f"{modality}-*-{one['fingerprint'][:8]}"):
            try:
                sources = dict(open_store(path, allow_partial=True).sources)
            except StoreError:
                continue
            if one["clips"] not in (digest_of(sources), UNKNOWN):
                said.append(f"the {modality} features were made anew")
    return ", ".join(said)


def _other_features(config: Config, own: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Keys of [[features]] in which the stores that a run read differ from the pipeline's."""
    found = {}
    for modality, one in own.get("inputs", {}).items():
        table = config.features_of(modality)
        if table is None or table.imported:
            continue
        for key, value in one.get("settings", {}).items():
            now = getattr(table, key, value)
            if now != value:
                found[f"inputs.{modality}.{key}"] = (value, now)
    return found


def _apart(own: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {k: v for k, v in differences(own, wanted).items() if k not in BESIDE}


def row_key(head: Scored) -> RowKey:
    """What the runs of a row have in common, whatever their settings."""
    return head.model, head.letters, head.finetuned


def _nothing(folder: Path, left: Sequence[LeftOut]) -> str:
    if not left:
        return f"{folder}: no finished run here. `sedimental train` makes them."
    said = " ".join(text for _, text in told(left))
    remedy = "Trained with -o? Give `report` the same. `sedimental train` makes what is asked for; "
    return (
        f"{folder}: no run here belongs to this pipeline. {said} {remedy}"
        "`sedimental report NAME` shows any run as it is, `sedimental runs ls` lists them."
    )
