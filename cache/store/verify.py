"""Whether every byte of a store is the byte that was written, and how to get rid of what is not."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import CorruptStoreError, StoreError, StoreNotFoundError
from ...progress import Progress, Silent
from . import atomic_write as durable
from . import index
from .parts.formats import FORMATS, format_of, stem
from .parts.part import Part, checksum
from .read_ranges import read_range
from .reference_features import probe_fault, probe_path
from .remove import written_by_us
from .sealed_json import COMPLETE, STORE, read_record, record


@dataclass(frozen=True)
class Damage:
    """One file or part that is not as it was written."""

    file: Path
    what: str
    clips: tuple[str, ...] = ()
    """Clips whose features lie in it."""


@dataclass(frozen=True)
class Verdict:
    """What a check of a whole store found."""

    path: Path
    parts: int
    nbytes: int
    """Bytes of features that are as they were written."""
    damage: tuple[Damage, ...]
    repaired: bool
    """Whether the damage was removed; `sedimental extract` then writes the clips anew."""

    @property
    def clips(self) -> tuple[str, ...]:
        """Every clip in a damaged part, sorted."""
        return tuple(sorted({clip for one in self.damage for clip in one.clips}))


def verify(path: Path, repair: bool = False, progress: Progress | None = None) -> Verdict:
    """Read the whole store at `path` and compare it with its checksums.

    With `repair`, damaged parts are removed, and what follows from the others (indices, the store's
    own description) is written anew. Raises StoreNotFoundError if there is no store, and
    NewerStoreError for one of a later version, which is no damage and is not touched.
    """
    if not path.is_dir() or not ((path / STORE).is_file() or index.part_names(path)):
        raise StoreNotFoundError(f"{path}: no feature store here. `sedimental cache ls` lists all.")
    progress = progress or Silent()
    names, known = index.part_names(path), index.indexed(path)
    progress.start("verify", len(names), "part")
    damage: list[Damage] = []
    good: dict[str, Part] = {}
    for name in names:
        if found := list(_part_damage(path, name, known.get(name))):
            damage += found
        else:
            good[name] = index.read_part(path, name)
        progress.advance("verify")
    damage += _lost_parts(path, known)
    others = [*_index_damage(path, good), *_record_damage(path)]
    if repair and (damage or others):
        if not written_by_us(path):
            raise StoreError(
                f"{path}: neither its {STORE} nor any part is intact enough to tell that this is a "
                "feature store; nothing was changed. Remove the folder yourself and extract again."
            )
        with durable.explained(path):
            durable.clear_stale(path)
            for name in set(names) - set(good):
                durable.remove(path / name)
            for one in others:
                _mend(path, one.file, good)
            if damage and (path / COMPLETE).exists():  # with the failures it had
                open_again = {"complete": False, "parts": sorted({stem(name) for name in good})}
                body = read_record("completion", path / COMPLETE) | open_again
                durable.replace(path / COMPLETE, record("completion", body))
    nbytes = sum(part.nbytes for part in good.values())
    all_damage = (*damage, *others)
    return Verdict(path, len(names), nbytes, all_damage, repair and bool(all_damage))


def _part_damage(store: Path, name: str, known: Part | None) -> Iterator[Damage]:
    path = store / name
    clips = known.head.clips if known else ()
    try:
        part = index.read_part(store, name)
        clips = part.head.clips
        structure = FORMATS[format_of(name)].faults(path)
    except CorruptStoreError as fault:  # a disk that cannot give it back damages it as well
        yield Damage(path, str(fault), clips)
        return
    for what in structure:
        yield Damage(path, what, clips)
    for array, sums in part.head.digests.items():
        for piece, expected in enumerate(sums):
            layer = f", layer {part.head.spec['layers'][piece]}" if len(sums) > 1 else ""
            try:
                if checksum(read_piece(store, part, array, piece), expected) != expected:
                    yield Damage(path, f"{array}{layer}: not the bytes that were written", clips)
            except StoreError as fault:
                if not isinstance(fault, CorruptStoreError) and part.file(store, array).exists():
                    raise  # it may not be read by us: no damage
                yield Damage(path, f"{array}{layer}: {fault}", clips)


def read_piece(store: Path, part: Part, array: str, piece: int) -> memoryview:
    """The bytes of one of the equal pieces that checksums are taken of."""
    size = part.head.arrays[array].nbytes // len(part.head.digests[array])
    start = part.places[array].offset + piece * size
    return read_range(part.file(store, array), start, size).data


def _lost_parts(store: Path, known: Mapping[str, Part]) -> Iterator[Damage]:
    try:
        recorded = set(read_record("completion", store / COMPLETE)["parts"])
    except (FileNotFoundError, CorruptStoreError):
        return
    clips = {stem(name): part.head.clips for name, part in known.items()}
    for name in sorted(recorded - {stem(n) for n in index.part_names(store)}):
        yield Damage(store / name, "a part that is gone", clips.get(name, ()))


def _index_damage(store: Path, good: Mapping[str, Part]) -> Iterator[Damage]:
    truth = {name: index.brief(part) for name, part in good.items()}
    for manifest in sorted(store.glob(index.MANIFESTS)):
        found = list(index.lines(manifest))
        if None in (found[:-1] if _torn(manifest) else found):
            yield Damage(manifest, "a line of the index is not as it was written")
        elif any(part and truth.get(part.name, part) != part for part in found):
            yield Damage(manifest, "a line of the index differs from its part")


def _torn(manifest: Path) -> bool:
    """Whether its writer died within a line, which is harmless."""
    try:
        return not manifest.read_bytes().endswith(b"\n")
    except OSError:
        return False


def _record_damage(store: Path) -> Iterator[Damage]:
    for kind, name in (("store", STORE), ("completion", COMPLETE)):
        try:
            read_record(kind, store / name)
        except FileNotFoundError:
            if name == STORE:
                yield Damage(store / name, "missing")
        except CorruptStoreError as fault:
            yield Damage(store / name, str(fault))
    probe = probe_path(store)
    if probe and (what := probe_fault(probe)):
        yield Damage(probe, what)


def _mend(store: Path, file: Path, good: Mapping[str, Part]) -> None:
    if file.name == STORE:
        spec = next(iter(good.values())).head.spec
        durable.replace(file, record("store", {"spec": spec}))
    elif file.match(index.MANIFESTS):
        intact = [part for part in index.lines(file) if part and part.name in good]
        durable.replace(file, b"".join(index.line(good[part.name]) for part in intact))
    else:
        durable.remove(file)
