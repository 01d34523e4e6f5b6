"""Contact sheets of face crops: what a vision encoder was given, drawn for the eye."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..cache.face_boxes import Found
from ..cache.manifest import Clip
from ..cache.store.atomic_write import replace
from ..config import Config, ConfigError, VisionFeatures
from ..errors import SedimentalError
from ..progress import Progress, Silent
from .corpora import load_manifest
from .decode.clip_error import clip_error
from .decode.media import decode, media_source
from .faces.track import Picture, Track, resized
from .streams.vision import VisionStream
from .survey import decoders

TILE, COLUMNS, LABEL, GAP = 80, 14, 220, 3
"""Pixels: side of a crop, crops of a clip, width of the label, space between."""
PAPER, INK, RED = (250, 250, 248), (40, 40, 40), (205, 40, 40)


class NoFacesError(SedimentalError):
    """There is nothing to draw yet."""


@dataclass(frozen=True)
class Sheet:
    """One picture that was written."""

    path: Path
    clips: tuple[str, ...]
    frames: int
    without: int
    """Frames without a face."""


def contact_sheets(
    config: Config,
    into: Path | None = None,
    per_sheet: int = 24,
    most: int | None = None,
    progress: Progress | None = None,
) -> tuple[Sheet, ...]:
    """Write a PNG for every `per_sheet` clips whose faces were found; `most` takes some evenly.

    Of every [[features]] table for vision that crops in its own way. Raises ConfigError where there
    is none, NoFacesError where nothing was extracted yet.
    """
    tables = [f for f in config.features if isinstance(f, VisionFeatures) and not f.imported]
    if not tables:
        raise ConfigError('[[features]]: no table looks for faces (modality = "vision").')
    ways = {(t.fps, t.face_size, t.margin, t.no_face, t.detect_size): t for t in reversed(tables)}
    folder = into or config.corpus_cache / "faces"
    sheets: list[Sheet] = []
    for number, table in enumerate(reversed(ways.values()), start=1):
        name = "faces" if number == 1 else f"faces-{number}"
        sheets += _sheets(config, table, folder, name, per_sheet, most, progress or Silent())
    return tuple(sheets)


def _sheets(
    config: Config,
    table: VisionFeatures,
    folder: Path,
    name: str,
    per_sheet: int,
    most: int | None,
    progress: Progress,
) -> list[Sheet]:
    manifest = load_manifest(config.corpus)
    stream = VisionStream(table, config.cache.dtype, config.corpus_cache)

    def known(clip: Clip) -> Found | None:
        return boxes_of(clip, stream, manifest.root)

    with decoders(config) as pool:
        found = zip(manifest.clips, pool.map(known, manifest.clips), strict=True)
        clips = [(clip, boxes) for clip, boxes in found if boxes is not None]
        if not clips:
            raise NoFacesError(
                f"{config.corpus_cache}: no faces were looked for yet with these settings. "
                "`sedimental extract` finds them."
            )
        if most is not None and most < len(clips):
            clips = [clips[k * len(clips) // most] for k in range(most)]
        progress.start("faces", len(clips))

        def row(job: tuple[Clip, Found]) -> tuple[Picture, int]:
            drawn = _row(job[0], job[1], manifest.root, table)
            progress.advance("faces")
            return drawn

        sheets = []
        for begin in range(0, len(clips), per_sheet):
            chosen = clips[begin : begin + per_sheet]
            rows = list(pool.map(row, chosen))
            path = folder / f"{name}-{begin // per_sheet + 1:03d}.png"
            _write(path, [picture for picture, _ in rows])
            frames = sum(len(boxes.counts) for _, boxes in chosen)
            ids = tuple(clip.id for clip, _ in chosen)
            sheets.append(Sheet(path, ids, frames, sum(without for _, without in rows)))
    return sheets


def boxes_of(clip: Clip, stream: VisionStream, root: Path) -> Found | None:
    """The faces found in `clip`; None if it was never looked at, or its file is not there."""
    try:
        return stream.boxes.get(media_source(clip, root)) if stream.boxes else None
    except Exception:
        return None


def _row(clip: Clip, found: Found, root: Path, table: VisionFeatures) -> tuple[Picture, int]:
    """The clip's label and crops side by side, and how many of its frames have no face."""
    tiles, fault = tiles_of(clip, found, root, table, COLUMNS)
    frames, without = len(found.counts), int((found.counts == 0).sum())
    counted = f"{frames} frames, {without} without" if without else f"{frames} frames"
    row = np.full((TILE + GAP, LABEL + COLUMNS * (TILE + GAP), 3), PAPER, np.uint8)
    for line, text in enumerate((clip.id, fault or counted)):
        plain = text.encode("ascii", "replace").decode()[-34:]
        at = (6, 34 + 18 * line)
        cv2.putText(row, plain, at, cv2.FONT_HERSHEY_SIMPLEX, 0.38, INK, 1, cv2.LINE_AA)
    for column, tile in enumerate(tiles):
        left = LABEL + column * (TILE + GAP)
        row[:TILE, left : left + TILE] = tile
    return row, without


def tiles_of(
    clip: Clip, found: Found, root: Path, table: VisionFeatures, most: int
) -> tuple[list[Picture], str]:
    """Up to `most` crops of the clip, evenly over its frames, and why there are no more, if so."""
    faces, track = found.frames, Track(table)
    shown = {round(k) for k in np.linspace(0, len(faces) - 1, min(most, len(faces)))}
    tiles: list[Picture] = []

    def take(image: Picture) -> None:
        index = len(track.use)
        if index >= len(faces):
            return
        made = track.next(image, faces[index])
        if index in shown:
            tiles.append(_tile(image, made, bool(len(faces[index]))))

    try:
        decode(root / (clip.media or ""), clip.start, clip.end, {table.fps: take}, (), table.track)
    except Exception as fault:
        return tiles, clip_error("decode", fault).reason
    return tiles, ""


def _tile(image: Picture, crop: Picture | None, face: bool) -> Picture:
    """The crop; without a face, the frame or what stands in for it, crossed out in red."""
    tile = resized(image if crop is None else crop, (TILE, TILE)).copy()
    if not face:
        tile = (tile // 2 + 96).astype(np.uint8)
        cv2.rectangle(tile, (0, 0), (TILE - 1, TILE - 1), RED, 2)
        cv2.line(tile, (0, 0), (TILE - 1, TILE - 1), RED, 1, cv2.LINE_AA)
    return tile


def _write(path: Path, rows: Sequence[Picture]) -> None:
    sheet = np.concatenate(rows)
    done, data = cv2.imencode(".png", sheet[:, :, ::-1])
    assert done
    replace(path, data.tobytes())
