"""Which parts a store has: the folder's listing is the truth, the manifests an index of it.

A writer appends a line a part to a manifest of its own. A line that is torn, damaged, absent or of
a part that is gone costs time and nothing else: the part is then asked itself.
"""

import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import CorruptStoreError
from .file_system import sync_descriptor, sync_folder
from .parts.formats import FORMATS, format_of
from .parts.part import PART_NAME, Head, Part, Place
from .sealed_json import digest, dump

MANIFESTS = "manifest-*.jsonl"
_DIGITS = 32
_OPENING = b'{"blake2b":"'
_MIDDLE = b'","part":'


def append(manifest: Path, part: Part) -> None:
    """Add the line of `part` to the writer's own `manifest`, durably."""
    text = line(part)
    made = not manifest.exists()
    descriptor = os.open(manifest, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(descriptor, text)
        sync_descriptor(descriptor)
    finally:
        os.close(descriptor)
    if made:
        sync_folder(manifest.parent)


def part_names(store: Path) -> list[str]:
    """Names of the parts on disk, oldest first."""
    with os.scandir(store) as entries:
        return sorted(entry.name for entry in entries if PART_NAME.fullmatch(entry.name))


def new_part(store: Path) -> str:
    """A name no other part has, without its suffix, that sorts behind all parts on disk.

    It counts, and asks no clock: clocks go back, and differ between machines.
    """
    numbers = [int(name[6:].partition("-")[0]) for name in part_names(store) if name[5] == "n"]
    return f"part-n{max(numbers, default=0) + 1:08d}-{secrets.token_hex(4)}"


def read_parts(store: Path, fingerprint: str) -> tuple[Part, ...]:
    """All parts, oldest first, without their digests and specs.

    Raises CorruptStoreError if a part cannot describe itself or was made for another fingerprint.
    """
    names = part_names(store)
    known = indexed(store)
    parts = [known.get(name) or read_part(store, name) for name in names]
    for part in parts:
        if part.head.fingerprint != fingerprint:
            raise CorruptStoreError(
                f"{store / part.name}: a part of another store (its fingerprint is "
                f"{part.head.fingerprint}, this store's {fingerprint}). Move it away."
            )
    return tuple(parts)


def read_part(store: Path, name: str) -> Part:
    """The part as it describes itself."""
    head, places = FORMATS[format_of(name)].read_head(store / name)
    return Part(name, head, places)


def indexed(store: Path) -> Mapping[str, Part]:
    """Parts that an intact line speaks of, by name."""
    found: dict[str, Part] = {}
    for manifest in sorted(store.glob(MANIFESTS)):
        for part in lines(manifest):
            if part is not None:
                found[part.name] = part
    return found


def lines(manifest: Path) -> Iterator[Part | None]:
    """The part of each line; None for a line that is not as written, or a file nobody can read."""
    start = len(_OPENING) + _DIGITS + len(_MIDDLE)
    try:
        content = manifest.read_bytes()
    except OSError:
        yield None
        return
    for text in content.splitlines():
        body = text[start:-1]
        if text == _sealed(body):
            yield _part(json.loads(body))
        else:
            yield None


def winners(parts: Sequence[Part]) -> Mapping[str, tuple[int, int]]:
    """Per clip, the part that speaks for it, the newest, and its rank in that part."""
    return {clip: (p, k) for p, part in enumerate(parts) for k, clip in enumerate(part.head.clips)}


def held(parts: Sequence[Part]) -> dict[str, str]:
    """Per clip, what its features were made from."""
    return {clip: parts[p].head.sources[k] for clip, (p, k) in winners(parts).items()}


def brief(part: Part) -> Part:
    """`part` without what its readers do not need: its digests and its spec."""
    return replace(part, head=replace(part.head, digests={}, spec={}))


def line(part: Part) -> bytes:
    """The line of `part` in a manifest."""
    places = {name: [place.file, place.offset] for name, place in part.places.items()}
    body = {"name": part.name, "places": places, **brief(part).head.to_json()}
    return _sealed(dump(body)) + b"\n"


def new_manifest(store: Path) -> Path:
    """Where a new writer puts its lines: a name no other has."""
    return store / f"manifest-{secrets.token_hex(8)}.jsonl"


def _sealed(body: bytes) -> bytes:
    return _OPENING + digest(body).encode() + _MIDDLE + body + b"}"


def _part(values: dict[str, Any]) -> Part:
    places = {name: Place(file, offset) for name, (file, offset) in values["places"].items()}
    return Part(values["name"], Head.from_json(values), places)
