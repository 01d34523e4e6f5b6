"""Features of a foreign file into our stores, with a manifest, so that all stages work on them."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ...errors import ManifestError
from ...progress import Progress, Silent
from ..corpus.published_sizes import known_sizes
from ..failures import FAILURES, Failure, read_failures, write_failures
from ..manifest import Clip, Manifest, read_manifest, write_manifest
from ..runs.identity import code_version
from ..spec import FeatureSpec, Modality, StoredType
from ..store.clip_features import ClipFeatures
from ..store.store import open_store
from ..store.writer import StoreWriter
from ..summary import MANIFEST
from .foreign import ExchangeError, FeatureFile, MissingFeatures, ModalityFeatures, refuse

LAYER = "1"
"""The one entry of an imported store: the output of whatever made it, so that -1 means it."""
NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
PART = 150 * 10**6
"""Bytes of one part."""
NEAR = 1e-5
"""How far two labels of one clip may be apart that were written in different ways."""


@dataclass(frozen=True)
class ImportedModality:
    """One modality after the import."""

    modality: Modality
    encoder: str
    path: Path
    width: int
    held: int
    """Clips with features."""
    new: int
    """Of these, written now."""
    frames: int
    masked: int
    """Frames of zeros in vision: without a face, and masked."""
    bytes: int
    absent: Mapping[str, str]
    """Clip -> why it has no features."""

    @property
    def reasons(self) -> Mapping[str, int]:
        """Why clips have no features, counted; positions left out."""
        kinds = (w.split(" is ")[-1] if w.startswith("frame") else w for w in self.absent.values())
        return dict(Counter(kinds).most_common())


@dataclass(frozen=True)
class Received:
    """What an import did."""

    title: str
    source: Path
    digest: str
    """SHA-256 of the source."""
    manifest: Manifest
    folder: Path
    """Of the corpus in the cache."""
    arrivals: tuple[ImportedModality, ...]
    notes: tuple[str, ...]


def receive(
    foreign: FeatureFile,
    folder: Path,
    names: Mapping[Modality, str],
    dtype: StoredType = "float32",
    format: Literal["zarr", "hdf5"] = "zarr",
    progress: Progress | None = None,
) -> Received:
    """Write the manifest and a store a modality below `folder`, the corpus's folder in the cache.

    `names` says what to call the features of a modality. What an earlier import of the same file
    has written is not written again. Where the corpus is in the cache already, its manifest stays:
    clips are matched by id, and those it does not have are left out. Raises ExchangeError if splits
    or labels contradict it, StoreError for what cannot be stored.
    """
    progress = progress or Silent()
    notes: list[str] = []
    chosen = _names(foreign, names)
    manifest = _manifest(foreign, folder, notes)
    arrivals = [
        _arrive(foreign, manifest, folder, modality, chosen, dtype, format, progress)
        for modality in foreign.offers
    ]
    _list_failures(folder / FAILURES, arrivals)
    for one in arrivals:
        if others := _namesakes(folder, one):
            notes.append(
                f"{', '.join(others)}: of the same name as {one.path.name}. A [[features]] table "
                f"means the newest of them; --{one.modality} NAME calls this one something else."
            )
    notes += [*foreign.notes, *known_sizes(manifest)]
    return Received(
        foreign.title, foreign.path, foreign.digest, manifest, folder, tuple(arrivals), tuple(notes)
    )


def _names(foreign: FeatureFile, given: Mapping[Modality, str]) -> Mapping[Modality, str]:
    """What the features of each modality are called, seen to before anything is written."""
    found = {m: given.get(m, offer.name) for m, offer in foreign.offers.items()}
    faults = [f"--{m}: there are no {m} features in it." for m in given if m not in found]
    faults += [
        f"--{m} {name!r}: no name fit for a folder; take letters, digits, . _ and -."
        for m, name in found.items()
        if not NAME.fullmatch(name)
    ]
    refuse(foreign.path, faults)
    return found


def _manifest(foreign: FeatureFile, folder: Path, notes: list[str]) -> Manifest:
    """The corpus's manifest if it is there and agrees, else the file's, which is written."""
    path = folder / MANIFEST
    own = Manifest(folder.name, folder.resolve(), foreign.clips)
    if not path.is_file():
        write_manifest(path, own)
        return own
    try:
        there = read_manifest(path)
    except ManifestError as fault:
        raise ExchangeError(f"{fault} Or name another --corpus.") from None
    known = {clip.id: clip for clip in there.clips}
    common = [(clip, known[clip.id]) for clip in foreign.clips if clip.id in known]
    if not common:
        raise ExchangeError(
            f"{path}: none of its clips is in {foreign.path}. Name another --corpus; ids look "
            f"like {there.clips[0].id!r} there and {foreign.clips[0].id!r} in the file."
        )
    refuse(foreign.path, [fault for pair in common for fault in _contradiction(*pair, path)])
    if len(common) < len(foreign.clips):
        left = len(foreign.clips) - len(common)
        notes.append(f"{left} clips of the file are not in {path} and were left out.")
    return there


def _contradiction(ours: Clip, theirs: Clip, path: Path) -> Iterator[str]:
    if ours.split != theirs.split:
        yield f"{ours.id} is in {ours.split}, in {path} in {theirs.split}; name another --corpus."
    a, b = ours.label, theirs.label
    if a is not None and b is not None and abs(a - b) > NEAR:
        yield f"{ours.id} has the label {a}, in {path} {b}; name another --corpus."


def _arrive(
    foreign: FeatureFile,
    manifest: Manifest,
    folder: Path,
    modality: Modality,
    names: Mapping[Modality, str],
    dtype: StoredType,
    format: Literal["zarr", "hdf5"],
    progress: Progress,
) -> ImportedModality:
    offer = foreign.offers[modality]
    spec = _spec(foreign, modality, names[modality], offer, dtype)
    writer = StoreWriter.create(folder, spec, format)
    present, wanted = writer.present(), {clip.id for clip in manifest.clips}
    absent = dict.fromkeys(wanted - {clip.id for clip in foreign.clips}, "not in the file")
    planned = dict.fromkeys(wanted, foreign.digest[:16])
    waiting: list[ClipFeatures] = []
    size = new = 0
    task = f"{modality} {spec.encoder}"
    progress.start(task, len(foreign.clips))
    for clip in foreign.take(modality):
        progress.advance(task)
        if clip.id not in wanted:
            continue
        if isinstance(clip, MissingFeatures):
            absent[clip.id] = clip.reason
        elif present.get(clip.id) != clip.source:
            waiting.append(clip)
            size, new = size + clip.values.size * np.dtype(dtype).itemsize, new + 1
            if size >= PART:
                writer.add(waiting)
                waiting, size = [], 0
    if waiting:
        writer.add(waiting)
    writer.finish(planned, absent)
    store = open_store(writer.path)
    masked = int((~store.side("valid")).sum()) if store.clips else 0
    return ImportedModality(
        modality=modality,
        encoder=spec.encoder,
        path=writer.path,
        width=spec.width,
        held=len(store.clips),
        new=new,
        frames=int(store.frames.sum()),
        masked=masked,
        bytes=store.nbytes,
        absent=absent,
    )


def _list_failures(path: Path, arrivals: Sequence[ImportedModality]) -> None:
    """Add the clips without features to what is listed of other stores."""
    ours = {(one.modality, one.encoder) for one in arrivals}
    others = [f for f in read_failures(path) if (f.modality, f.encoder) not in ours]
    own = [
        Failure(id_, one.modality, one.encoder, "import", reason)
        for one in arrivals
        for id_, reason in one.absent.items()
    ]
    write_failures(path, [*others, *own])


def _spec(
    foreign: FeatureFile, modality: Modality, name: str, offer: ModalityFeatures, dtype: StoredType
) -> FeatureSpec:
    return FeatureSpec(
        modality=modality,
        encoder=name,
        source=foreign.title,
        revision=None,
        weights=offer.weights,
        weights_digest=f"sha256:{foreign.digest}",
        layers=(LAYER,),
        width=offer.width,
        dtype=dtype,
        preprocessing=offer.how,
        recorded={
            "imported from": str(foreign.path.resolve()),
            "kind": foreign.title,
            "padded to": offer.padded,
            "sedimental": code_version(),
        },
    )


def _namesakes(folder: Path, one: ImportedModality) -> list[str]:
    """Other imported stores that a table of this name could mean as well."""
    found = []
    for path in sorted(folder.glob(f"{one.modality}-{one.encoder}-*")):
        if path != one.path and path.name[:-9] == one.path.name[:-9]:
            found.append(path.name)
    return found
