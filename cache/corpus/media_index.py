"""What the media files were when their features were made: size, times, and a digest of every byte.

A clip's source in a store is a digest of its file's size, head and tail and of the cut, so that a
corpus is looked over in seconds. What lies between head and tail is watched here: a file whose size
or times are other than they were is read as a whole, and if it is another, the sources of its clips
change by a `salt`.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ...errors import CorruptStoreError, NewerStoreError
from ..checksums import digest_of
from ..store.atomic_write import replace
from ..store.sealed_json import read_record, record

MEDIA = "media.json"
"""Beside the manifest."""
DOUBT_NS = 2 * 10**9
"""A file changed so shortly before it was looked at may have changed again within one tick of its
file system's clock."""


@dataclass(frozen=True)
class MediaFile:
    """One file as it was."""

    size: int
    mtime_ns: int
    ctime_ns: int
    """Moves with every change, also where the other time was set back."""
    seen_ns: int
    """When it was looked at."""
    ends: str
    """Digest of its size, head and tail: what sources are made of."""
    whole: str
    """Digest of every byte."""
    salt: str = ""
    """What its clips' sources are changed by, since it changed between head and tail."""

    def doubtful(self, now: os.stat_result) -> bool:
        """Whether a file with the stat `now` may be another than this."""
        was = self.size, self.mtime_ns, self.ctime_ns
        same = was == (now.st_size, now.st_mtime_ns, now.st_ctime_ns)
        return not same or self.mtime_ns > self.seen_ns - DOUBT_NS


def looked_at(
    path: Path, now: os.stat_result, seen_ns: int, ends: str, before: MediaFile | None
) -> MediaFile:
    """The file at `path`, whose stat was `now` at `seen_ns`, read as a whole; raises OSError.

    `ends` is the digest of its size, head and tail; `before` what was known of it.
    """
    whole = digest_of(path)
    salt = ""
    if before is not None and before.ends == ends:
        salt = before.salt if before.whole == whole else whole[:16]
    times = now.st_mtime_ns, now.st_ctime_ns
    return MediaFile(now.st_size, *times, seen_ns, ends, whole, salt)


def salted(source: str, salt: str) -> str:
    """A clip's source whose file has this `salt`.

    >>> salted("ab", ""), salted("ab", "1") == salted("ab", "2")
    ('ab', False)
    """
    if not salt:
        return source
    return hashlib.blake2b(f"{source} {salt}".encode(), digest_size=8).hexdigest()


def read_media(folder: Path) -> dict[str, MediaFile]:
    """The files known in the corpus's cache `folder`, by path; none where that is gone or damaged.

    What is lost so is found out anew by the next `extract`.
    """
    try:
        body = read_record("media", folder / MEDIA)
        return {path: MediaFile(**entry) for path, entry in body["files"].items()}
    except (OSError, CorruptStoreError, NewerStoreError, KeyError, TypeError, AttributeError):
        return {}


def write_media(folder: Path, files: Mapping[str, MediaFile]) -> None:
    """Keep `files` in the corpus's cache `folder`; raises OSError."""
    entries = {path: asdict(files[path]) for path in sorted(files)}
    replace(folder / MEDIA, record("media", {"files": entries}))


def changed_since(
    root: Path, files: Mapping[str, MediaFile], read: Callable[[Path], str] = digest_of
) -> tuple[list[str], list[str]]:
    """(files that are others now, files that may be), of those that are there at all.

    Doubtful ones are read as a whole as long as they are small together.
    """
    doubtful = []
    for path, known in files.items():
        try:
            now = (root / path).stat()
        except OSError:
            continue  # features can be used where the media are not
        if known.doubtful(now):
            doubtful.append((path, known, now.st_size))
    if sum(size for *_, size in doubtful) > READ_AT_MOST:
        return [p for p, known, size in doubtful if size != known.size], [
            p for p, known, size in doubtful if size == known.size
        ]
    changed = []
    for path, known, size in doubtful:
        try:
            if size != known.size or read(root / path) != known.whole:
                changed.append(path)
        except OSError:
            continue
    return changed, []


READ_AT_MOST = 500_000_000
"""Bytes of doubtful files that a command reads which only wants to know."""
