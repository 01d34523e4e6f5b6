"""What an extraction will need and whether it can succeed, known before it begins."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from ..cache.corpus.leaks import leaks
from ..cache.corpus.official_files import official
from ..cache.corpus.published_sizes import known_sizes
from ..cache.corpus.words import is_wordless
from ..cache.spec import SPLITS, Modality, Split
from ..cache.summary import size_text
from ..config import Config
from ..errors import SedimentalError
from ..installation import parts
from ..progress import Progress
from ..result_table import ResultTable
from .decode.media_files import Check, with_twins
from .encoders.device import ComputeDevice
from .encoders.hub import weights_state
from .encoders.loading import merged
from .plan import frame_bytes
from .shards import Shard
from .survey import Survey, Work, survey, workers

SPARE = 1.02
"""Bytes on disk per byte of hidden states: what is kept beside them, and the file system's own."""
NARROW = 0.9
"""Share of the free disk from which on a warning is due."""
LISTED = 5


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be."""

    level: Literal["error", "warning", "note"]
    text: str
    """The thing, the place and the remedy."""


@dataclass(frozen=True)
class Lengths:
    """Seconds of the clips whose length is known."""

    clips: int
    total: float
    shortest: float
    mean: float
    longest: float


@dataclass(frozen=True)
class StorePlan:
    """One store before the run."""

    modality: Modality
    encoder: str
    weights: str
    """Where they are, or that they are untrained."""
    path: Path
    held: int
    todo: int
    failed: int
    """Clips known to fail before anything is decoded."""
    frames: int
    """About how many the clips to be extracted have."""
    bytes: int
    """About what they need on disk."""
    seconds: float | None = None
    """About how long the device works on them; None: not measured."""


@dataclass(frozen=True, repr=False)
class Diagnosis(ResultTable):
    """The corpus, the stores and the machine, and what is wrong with them."""

    versions: Mapping[str, str]
    """Of this package, of Python and of what it builds on."""
    corpus: str
    splits: Mapping[Split, int]
    media: int
    """Media files that are there."""
    listed: int
    """Those that the table names."""
    unreadable: Mapping[str, str]
    """Media file to why it cannot be opened."""
    lengths: Lengths | None
    """None for a corpus of texts, or where no file says."""
    stores: tuple[StorePlan, ...]
    unavailable: int
    """Encoders that cannot be had: what their stores need is not known."""
    disk_needed: int
    disk_free: int
    device: str
    precision: str
    faster: str | None
    """A precision in which the device would need about half the time; None: there is none."""
    workers: int
    findings: tuple[Finding, ...]
    seconds: float | None = None
    """About how long the whole run takes; None: not measured."""

    @property
    def title(self) -> str:
        """Of what, and what is in the way."""
        clips = sum(self.splits.values())
        found = [f"{f.level}: {f.text}" for f in self.findings][:2]
        more = f" (and {len(self.findings) - 2} more)" if len(self.findings) > 2 else ""
        return "\n".join([f"{self.corpus}, {clips} clips, on {self.device}{more}", *found])

    def records(self) -> Sequence[Mapping[str, Any]]:
        """A row a store."""
        return [
            {
                "store": store.path.name,
                "weights": store.weights,
                "there": store.held,
                "to do": store.todo,
                "will fail": store.failed,
                "MB": round(store.bytes / 1e6, 2),
                "seconds": store.seconds,
            }
            for store in self.stores
        ]

    @property
    def errors(self) -> tuple[str, ...]:
        """Why the run cannot succeed; empty if it can."""
        return tuple(f.text for f in self.findings if f.level == "error")


class CannotExtractError(SedimentalError):
    """An extraction that cannot succeed, said before it begins."""


def refuse(diagnosis: Diagnosis) -> None:
    """Raise CannotExtractError with every reason why the run cannot succeed."""
    if diagnosis.errors:
        raise CannotExtractError("\n".join(diagnosis.errors))


def examine(
    config: Config,
    probe: bool = True,
    shard: Shard | None = None,
    check: Check = "stat",
    progress: Progress | None = None,
) -> Diagnosis:
    """Survey the corpus and the stores; with `probe` also measure how long a clip takes.

    Writes nothing. Raises ConfigError, ManifestError, EncoderError or StoreError as `extract` does.
    """
    from .estimate import measure

    found = survey(config, shard, create=False, check=check, progress=progress)
    diagnosis = diagnose(found)
    if not probe or diagnosis.errors or not any(s.todo for s in diagnosis.stores):
        return diagnosis
    return timed(diagnosis, measure(found))


def timed(diagnosis: Diagnosis, speed: "Mapping[str, float]") -> Diagnosis:
    """The diagnosis with times, from seconds per frame by store folder and per clip for reading."""
    stores = tuple(
        replace(s, seconds=s.frames * speed[s.path.name]) if s.path.name in speed else s
        for s in diagnosis.stores
    )
    device = sum(s.seconds or 0.0 for s in stores)
    clips = max((s.todo for s in stores), default=0)
    reading = speed.get("", 0.0) * clips / diagnosis.workers
    return replace(diagnosis, stores=stores, seconds=max(device, reading))


def diagnose(found: Survey) -> Diagnosis:
    """What a survey tells of the run to come."""
    config, manifest = found.config, found.manifest
    arithmetic = ComputeDevice.of(config.extract)
    headers = found.headers if found.seen else {}
    stores = tuple(_plan(work, found) for work in found.works)
    listed = {clip.media for clip in manifest.clips if clip.media}
    draft = Diagnosis(
        versions=parts(),
        corpus=manifest.corpus,
        splits=manifest.sizes,
        media=sum((manifest.root / path).is_file() for path in listed),
        listed=len(listed),
        unreadable={path: h.fault for path, h in headers.items() if h.fault},
        lengths=_lengths(found),
        stores=stores,
        unavailable=len(found.faults),
        disk_needed=round(sum(s.bytes for s in stores) * SPARE),
        disk_free=_free(config.corpus_cache),
        device=device_name(arithmetic.device),
        precision=str(arithmetic.precision).removeprefix("torch."),
        faster=arithmetic.faster,
        workers=workers(config),
        findings=(),
    )
    return replace(draft, findings=tuple(_findings(draft, found)))


def _plan(work: Work, found: Survey) -> StorePlan:
    spec = work.stream.spec
    wanted, foreseen = work.lacking(found.mine).wanted, found.foreseen(work)
    made = wanted - foreseen.keys()
    frames = sum(work.stream.frames(s.clip, s.seconds) for s in found.sized if s.clip.id in made)
    return StorePlan(
        modality=spec.modality,
        encoder=spec.encoder,
        weights=weights_state(spec),
        path=work.writer.path,
        held=len(work.held),
        todo=len(wanted),
        failed=len(work.failures) + len(foreseen),
        frames=round(frames),
        bytes=round(frames * frame_bytes(spec)),
    )


def _lengths(found: Survey) -> Lengths | None:
    seconds = [s.seconds for s in found.sized if s.seconds > 0]
    if not seconds:
        return None
    total = sum(seconds)
    return Lengths(len(seconds), total, min(seconds), total / len(seconds), max(seconds))


def _findings(diagnosis: Diagnosis, found: Survey) -> list[Finding]:
    config, findings = found.config, list[Finding]()

    def note(level: Literal["error", "warning", "note"], text: str) -> None:
        findings.append(Finding(level, text))

    for fault in merged(found.faults):
        note("error", fault)
    if not config.features:
        note("error", "[[features]]: none is asked for; `sedimental init` shows some.")
    if config.extract.device.startswith("cuda") and not _has(config.extract.device):
        note(
            "error",
            f'extract.device = "{config.extract.device}": torch sees no such device on this '
            'machine. Say "auto" or "cpu", or install a torch built for its driver.',
        )
    if not found.idle and not os.access(_existing(config.corpus_cache), os.W_OK):
        note("error", f"{config.corpus_cache}: not writable. Choose another cache.root.")
    if diagnosis.disk_needed > diagnosis.disk_free:
        note(
            "error",
            f"{config.cache.root}: the features need about {size_text(diagnosis.disk_needed)}, "
            f"{size_text(diagnosis.disk_free)} are free. Free some space, set cache.root to a "
            "larger disk, or store less: fewer `layers`, a lower `rate`.",
        )
    elif diagnosis.disk_needed > NARROW * diagnosis.disk_free:
        note("warning", f"{config.cache.root}: the disk will be nearly full after this run.")
    if unreadable := diagnosis.unreadable:
        whole = len(unreadable) == diagnosis.listed and not found.handed
        shown = ", ".join(f"{path} ({why})" for path, why in list(unreadable.items())[:LISTED])
        more = f" and {len(unreadable) - LISTED} more" if len(unreadable) > LISTED else ""
        note(
            "error" if whole else "warning",
            f"{len(unreadable)} of {diagnosis.listed} media files below {found.manifest.root} "
            f"cannot be opened: {shown}{more}."
            + (" Check corpus.path." if whole else " Their clips will fail, the others will not."),
        )
    for store in found.imported:
        if known := official(store.spec.weights_digest):
            note("note", f"{store.path.name}: imported from a file that is known: {known}.")
    for split in SPLITS:
        if not diagnosis.splits[split]:
            note("warning", f"the split {split} has no clips.")
    for text in (*found.manifest.notes, *known_sizes(found.manifest)):
        note("warning", text)
    empty = sum(is_wordless(clip.text) for clip in found.manifest.clips)
    if empty and any(s.modality == "text" for s in diagnosis.stores):
        note("warning", f"{empty} clips have no text and will have no text features.")
    for text in _will_fail(found):
        note("warning", text)
    if found.media and (changed := found.media.changed):
        shown = ", ".join(changed[:LISTED]) + (", …" if len(changed) > LISTED else "")
        note(
            "warning",
            f"{len(changed)} of {diagnosis.listed} media files changed since their features were "
            f"made, size and ends alike: {shown}. Their clips are extracted anew.",
        )
    for text in leaks(with_twins(found.manifest, found.media)):
        note("warning", text)
    return findings


def _will_fail(found: Survey) -> list[str]:
    """A line a reason for clips that will fail, most frequent first; beside what is told already:
    files that cannot be opened, and empty texts."""
    clips: dict[str, list[str]] = {}
    for work in found.works:
        for id_, reason in found.foreseen(work).items():
            clips.setdefault(f"{work.stream.spec.modality}: {reason}", []).append(id_)
    told = {header.fault for header in found.headers.values()} if found.seen else set()
    return [
        f"{len(ids)} clip{'' if len(ids) == 1 else 's'} will fail, {reason} "
        f"({shown}{', …' if len(ids) > LISTED else ''})."
        for reason, ids in sorted(clips.items(), key=lambda entry: -len(entry[1]))
        if reason.partition(": ")[2] not in told
        for shown in [", ".join(ids[:LISTED])]
    ]


def _has(device: str) -> bool:
    _, _, number = device.partition(":")
    return torch.cuda.is_available() and int(number or 0) < torch.cuda.device_count()


def device_name(device: torch.device) -> str:
    """The device, a GPU with the name of its make."""
    if device.type == "cuda" and _has(str(device)):
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return str(device)


def _existing(path: Path) -> Path:
    return next(p for p in (path, *path.parents) if p.exists())


def _free(path: Path) -> int:
    return shutil.disk_usage(_existing(path)).free
