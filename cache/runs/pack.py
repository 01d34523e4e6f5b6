"""A configuration's runs as one zip file to hand on, and back again.

The archive holds ``<configuration>/<seed>/…`` as the folders of runs do, a README.md that is the
model's card, and ``pack.json`` with size and digest of every member. Nothing that an archive of
others says about paths is followed: members have to be named as here, or all is refused.
"""

import hashlib
import json
import re
import shutil
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import RunError
from ..store.atomic_write import fresh
from .folder import damages

CARD, INDEX, FORMAT = "README.md", "pack.json", "sedimental-pack-1"
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,120}"
_MEMBER = re.compile(rf"(?P<folder>{_NAME})/(?P<seed>seed--?\d+(-fold-\d+)?)/(?P<file>{_NAME})")
_MOST, _BLOCK = 20_000, 1 << 20
"""Members of an archive, and bytes read at a time."""
_INDEX_BYTES = 16 << 20
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
_DAY = (1980, 1, 1, 0, 0, 0)
"""The same runs give the same bytes."""


def pack(folders: Sequence[Path], card: str, target: Path) -> Path:
    """Write the runs in `folders`, seeds of one configuration, and their `card` to `target`.

    Raises RunError for a damaged run, OSError where the disk takes no more.
    """
    if faults := [fault for folder in folders for fault in damages(folder)]:
        raise RunError("\n".join(faults))
    members = {
        f"{folder.parent.name}/{folder.name}/{file.name}": file
        for folder in folders
        for file in sorted(folder.iterdir())
        if file.is_file()
    }
    if odd := next((name for name in members if not _MEMBER.fullmatch(name)), None):
        raise RunError(f"{odd}: a file of this name cannot be packed. Move it out of the run.")
    text = card.encode()
    files = {CARD: [len(text), hashlib.sha256(text).hexdigest()]}
    files |= {name: [file.stat().st_size, _digest(file)] for name, file in members.items()}
    with fresh(target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        index = json.dumps({"format": FORMAT, "files": files}, indent=1).encode()
        archive.writestr(_entry(INDEX), index)
        archive.writestr(_entry(CARD), text)
        for name, file in members.items():
            archive.writestr(_entry(name), file.read_bytes())
    return target


def unpack(source: Path, into: Path) -> tuple[Path, ...]:
    """The runs of the archive `source` as folders below `into`; returns them, a seed each.

    Each appears whole, after every byte of it was compared with its digest. What is there already
    stays: the same run is left alone, another one is a fault. Raises RunError for a file that is
    no such archive, that is damaged, or that names a member otherwise than `pack` does.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            files = _index(source, archive)
            groups: dict[tuple[str, str], list[str]] = {}
            for name in files:
                if found := _MEMBER.fullmatch(name):
                    groups.setdefault((found["folder"], found["seed"]), []).append(name)
            if not groups:
                raise RunError(f"{source}: holds no run.")
            rows = {row for row, _ in groups}
            if len(rows) > 1:
                raise RunError(f"{source}: holds runs of {len(rows)} configurations, not of one.")
            made = []
            for (row, seed), names in sorted(groups.items()):
                folder = into / row / seed
                if folder.exists():
                    _same(source, folder, names, files)
                else:
                    with fresh(folder, existing="keep") as temporary:
                        temporary.mkdir()
                        for name in names:
                            target = temporary / name.rpartition("/")[2]
                            _extract(source, archive, name, files[name], target)
                        if faults := damages(temporary):
                            raise RunError(f"{source}: {row}/{seed} is no whole run: {faults[0]}")
                made.append(folder)
    except _UNREADABLE as fault:
        raise RunError(f"{source}: cannot be read as a packed run: {fault}.") from fault
    return tuple(made)


def _index(source: Path, archive: zipfile.ZipFile) -> Mapping[str, Any]:
    """Size and digest of every member but pack.json; raises RunError unless all is as `pack` has
    it."""
    there = archive.infolist()
    names = [info.filename for info in there]
    if INDEX not in names or len(set(names)) < len(names) or len(names) > _MOST:
        raise RunError(f"{source}: is no packed run, as `sedimental runs pack` writes them.")
    if archive.getinfo(INDEX).file_size > _INDEX_BYTES:
        raise RunError(f"{source}: its {INDEX} is too long to be one.")
    try:
        found = json.loads(archive.read(INDEX))
        format_, files = found["format"], dict(found["files"])
        sizes = {str(n): (int(size), str(digest)) for n, (size, digest) in files.items()}
    except (ValueError, KeyError, TypeError):
        raise RunError(f"{source}: its {INDEX} is damaged.") from None
    if format_ != FORMAT:
        raise RunError(f"{source}: of format {format_!r}, this sedimental reads {FORMAT}.")
    for name in (*names, *sizes):
        if name not in (INDEX, CARD) and not _MEMBER.fullmatch(name):
            raise RunError(f"{source}: refused, as it names a file {name!r}; nothing was written.")
    if set(names) != {INDEX, *sizes}:
        raise RunError(f"{source}: members and {INDEX} do not agree; nothing was written.")
    for info in there:
        if info.filename != INDEX and info.file_size != sizes[info.filename][0]:
            raise RunError(f"{source}: {info.filename} is damaged: its size is another.")
    return sizes


def _extract(
    source: Path, archive: zipfile.ZipFile, name: str, known: tuple[int, str], target: Path
) -> None:
    """One member, no byte more than was announced, compared with its digest."""
    size, digest = known
    free = shutil.disk_usage(target.parent).free
    if size > free:
        raise RunError(
            f"{source}: {name} has {size:,} bytes, and {free:,} are free where it is to be "
            "unpacked. Make room, or unpack into another folder (--into)."
        )
    found, written = hashlib.sha256(), 0
    with archive.open(name) as member, target.open("wb") as file:
        while block := member.read(_BLOCK):
            written += len(block)
            if written > size:
                break
            found.update(block)
            file.write(block)
    if written != size or found.hexdigest() != digest:
        raise RunError(f"{source}: {name} is damaged; no run of it was kept.")


def _same(source: Path, folder: Path, names: Sequence[str], files: Mapping[str, Any]) -> None:
    for name in names:
        file = folder / name.rpartition("/")[2]
        if not file.is_file() or _digest(file) != files[name][1]:
            raise RunError(
                f"{folder}: is there already, and is another run than that of {source}. Unpack "
                "into another folder (--into)."
            )


def _entry(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _DAY)
    info.external_attr = 0o644 << 16
    stored = name.endswith((".safetensors", ".npz"))  # which compression would not make smaller
    info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    return info


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
