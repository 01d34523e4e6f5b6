"""The media files of a corpus as a survey finds them: which changed since they were extracted."""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ...cache.checksums import digest_of
from ...cache.corpus.media_index import (
    MediaFile,
    looked_at,
    read_media,
    salted,
    write_media,
)
from ...cache.manifest import Clip, Manifest
from .header import not_a_file
from .media import source_digest

Check = Literal["stat", "full"]
"""``stat``: a file is read as a whole where its size or times moved; ``full``: every file is."""


class MediaFiles:
    """Files by their path below `root`, and what the corpus's cache `folder` knows of them."""

    def __init__(self, root: Path, folder: Path, check: Check = "stat") -> None:
        self.root, self.folder, self.check = root, folder, check
        self.known = read_media(folder)
        self.stats: dict[str, tuple[os.stat_result, int]] = {}
        self.changed: tuple[str, ...] = ()
        """Files that changed between head and tail since their features were made."""

    def look(self, clips: Iterable[Clip], pool: ThreadPoolExecutor) -> None:
        """Look at every file of `clips`; those that are known and doubtful are read as a whole."""
        paths = sorted({clip.media for clip in clips if clip.media})
        before = {path: self.known[path] for path in paths if path in self.known}
        self.known = dict(before)
        for path, file in zip(paths, pool.map(self._look, paths), strict=True):
            if file is not None:
                self.known[path] = file
        self.changed = tuple(p for p, was in before.items() if self.known[p].salt != was.salt)

    def source(self, clip: Clip, ends: str) -> str:
        """A clip's source, given the one by the ends of its file."""
        known = self.known.get(clip.media or "")
        return salted(ends, known.salt) if known else ends

    def keep(
        self, clips: Iterable[Clip], pool: ThreadPoolExecutor, advance: Callable[[], None]
    ) -> None:
        """Read the files of `clips` that are not known yet, and write down all that are.

        A file that changed since it was looked at stays unknown. Raises OSError if the cache cannot
        be written.
        """
        paths = self.unknown(clips)
        for path, file in zip(paths, pool.map(self._first_look, paths), strict=True):
            if file is not None:
                self.known[path] = file
            advance()
        others = {p: f for p, f in read_media(self.folder).items() if p not in self.known}
        gone = others.keys() - self.stats.keys()
        elsewhere = {p: f for p, f in others.items() if p not in gone}
        if self.known or elsewhere:
            write_media(self.folder, elsewhere | self.known)

    def unknown(self, clips: Iterable[Clip]) -> list[str]:
        """Paths of the files of `clips` that were never read as a whole."""
        paths = {clip.media for clip in clips if clip.media}
        return sorted(p for p in paths if p in self.stats and p not in self.known)

    def _look(self, path: str) -> MediaFile | None:
        file, known = self.root / path, self.known.get(path)
        try:
            if not_a_file(file):
                return None
            seen = time.time_ns()
            now = file.stat()
            self.stats[path] = now, seen
            if known is None or not (self.check == "full" or known.doubtful(now)):
                return known
            return looked_at(file, now, seen, source_digest(file, None, None), known)
        except OSError:  # said by the clip's source
            return known

    def _first_look(self, path: str) -> MediaFile | None:
        file, (then, seen) = self.root / path, self.stats[path]
        try:
            looked = looked_at(file, then, seen, source_digest(file, None, None), None)
            now = file.stat()
        except OSError:
            return None
        same = (then.st_size, then.st_mtime_ns) == (now.st_size, now.st_mtime_ns)
        return looked if same else None


def with_twins(manifest: Manifest, media: MediaFiles | None) -> Manifest:
    """`manifest` with the digests of its media files that are known, or that may be the same.

    Files that were never read as a whole are compared by size, then by their ends, and only what is
    alike in both is read.
    """
    if media is None:
        return manifest
    digests = {path: known.whole for path, known in media.known.items()}
    sizes: dict[int, list[str]] = defaultdict(list)
    for path, (now, _) in media.stats.items():
        sizes[now.st_size].append(path)
    for size, paths in sizes.items():
        if len(paths) < 2 or not size:
            continue
        ends: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            with suppress(OSError):
                ends[source_digest(media.root / path, None, None)].append(path)
        for alike in (same for same in ends.values() if len(same) > 1):
            for path in alike:
                if path not in digests:
                    with suppress(OSError):
                        digests[path] = digest_of(media.root / path)
    return replace(manifest, media_digests=digests)
