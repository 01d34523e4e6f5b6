"""Face crops of single clips as small pictures: what a report shows beside a transcript.

They are kept beside the stores, so that only the first report of a corpus decodes anything.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ..cache.corpus.corpus_table import cached_manifest
from ..cache.manifest import Clip
from ..cache.store.atomic_write import replace
from ..config import Config, VisionFeatures
from ..errors import ManifestError

CROPS = 6
"""Of a clip, evenly over its frames."""
RULE = 2
"""Version of how frames are chosen, cropped and drawn."""
QUALITY = 82
"""JPEG's: a strip is some 15 kB."""


def face_strips(config: Config, ids: Sequence[str]) -> Mapping[str, bytes]:
    """A JPEG of the face crops of each clip of `ids`, as the first vision encoder was given them.

    Frames without a face are crossed out. Clips whose media are not at hand, or in which no faces
    were looked for, have none: the pictures are a help, never a condition.
    """
    tables = (f for f in config.features if isinstance(f, VisionFeatures))
    table = next((f for f in tables if not f.imported), None)
    try:
        manifest = cached_manifest(config)
    except ManifestError:
        return {}
    if table is None:
        return {}
    wanted = {clip.id: clip for clip in manifest.clips if clip.id in set(ids)}
    folder = config.corpus_cache / "faces" / "strips"
    files = {n: folder / f"{_name(clip, manifest.root, table)}.jpg" for n, clip in wanted.items()}
    missing = [clip for name, clip in wanted.items() if not files[name].is_file()]
    if missing:
        for name, data in _drawn(config, table, manifest.root, missing).items():
            replace(files[name], data)
    return {
        name: files[name].read_bytes() for name in ids if name in files and files[name].is_file()
    }


def _name(clip: Clip, root: Path, table: VisionFeatures) -> str:
    """Of the strip's file: by what it shows."""
    state: list[int] = []
    with suppress(OSError):
        now = (root / (clip.media or "")).stat()
        state = [now.st_size, now.st_mtime_ns]
    shown = [*state, table.cropping, RULE, CROPS, QUALITY]
    text = json.dumps([clip.id, clip.media, clip.start, clip.end, *shown])
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


def _drawn(
    config: Config, table: VisionFeatures, root: Path, clips: Sequence[Clip]
) -> dict[str, bytes]:
    """Strips of `clips`, by id; it loads PyTorch, by which a report should not begin."""
    import cv2
    import numpy as np

    from .contact_sheets import GAP, TILE, boxes_of, look_through
    from .decode.media_files import MediaFiles
    from .streams.vision import VisionStream
    from .survey import decoders

    stream = VisionStream(table, config.cache.dtype, config.corpus_cache)
    media = MediaFiles(root, config.corpus_cache)

    def strip(clip: Clip) -> bytes | None:
        faces = boxes_of(clip, stream, media)
        seen = None if faces is None else look_through(clip, faces, root, table, CROPS)
        if seen is None or not seen.tiles:
            return None
        tiles = [tile for tile, _ in seen.tiles]
        row = np.full((TILE, len(tiles) * (TILE + GAP) - GAP, 3), 255, np.uint8)
        for column, tile in enumerate(tiles):
            left = column * (TILE + GAP)
            row[:, left : left + TILE] = tile
        done, data = cv2.imencode(".jpg", row[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        return data.tobytes() if done else None

    with decoders(config) as pool:
        media.look(clips, pool)
        strips = zip(clips, pool.map(strip, clips), strict=True)
        return {clip.id: data for clip, data in strips if data is not None}
