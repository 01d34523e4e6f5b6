"""Contact sheets of face crops: what a vision encoder was given, drawn for the eye."""

from collections.abc import Mapping, Sequence
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
from .decode.media import decode, media_sources
from .decode.media_files import MediaFiles
from .faces.crops import Picture, resized
from .faces.mtcnn import Boxes
from .faces.track import FaceTrack
from .streams.vision import VisionStream
from .survey import decoders

TILE, SCENE, COLUMNS, LABEL, GAP = 80, 56, 14, 220, 3
"""Pixels: side of a crop, height of the frame below it, crops of a clip, width of the label, space
between."""
PAPER, INK, RED = (250, 250, 248), (40, 40, 40), (205, 40, 40)
CHOSEN, OTHER = (40, 190, 80), (235, 190, 60)
DOUBTFUL = 0.97
"""Probability below which a face deserves a look."""


COUNTS = ("without", "jumps", "doubtful", "several")
"""What is counted of a clip's frames, and summed in a `Sheet`."""


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
    jumps: int
    """Times that the face became another one, by its place."""
    doubtful: int
    """Frames whose face the detector gives less than `DOUBTFUL`."""
    several: int
    """Frames with more than one face."""


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
    ways = {table.cropping: table for table in reversed(tables)}
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
    media = MediaFiles(manifest.root, config.corpus_cache)

    def known(clip: Clip) -> Found | None:
        return boxes_of(clip, stream, media)

    with decoders(config) as pool:
        media.look(manifest.clips, pool)
        boxes_by_clip = zip(manifest.clips, pool.map(known, manifest.clips), strict=True)
        clips = [(clip, boxes) for clip, boxes in boxes_by_clip if boxes is not None]
        if not clips:
            raise NoFacesError(
                f"{config.corpus_cache}: no faces were looked for yet with these settings. "
                "`sedimental extract` finds them."
            )
        if most is not None and most < len(clips):
            clips = [clips[k * len(clips) // most] for k in range(most)]
        progress.start("faces", len(clips))

        def row(job: tuple[Clip, Found]) -> tuple[Picture, Seen]:
            drawn = _row(job[0], job[1], manifest.root, table)
            progress.advance("faces")
            return drawn

        sheets = []
        for begin in range(0, len(clips), per_sheet):
            chosen = clips[begin : begin + per_sheet]
            rows = list(pool.map(row, chosen))
            path = folder / f"{name}-{begin // per_sheet + 1:03d}.png"
            sheet = np.concatenate([picture for picture, _ in rows])
            done, data = cv2.imencode(".png", sheet[:, :, ::-1])
            assert done
            replace(path, data.tobytes())
            seen = [clip for _, clip in rows]
            sheets.append(
                Sheet(
                    path,
                    tuple(clip.id for clip, _ in chosen),
                    frames=sum(len(boxes.counts) for _, boxes in chosen),
                    **{name: sum(clip.counts[name] for clip in seen) for name in COUNTS},
                )
            )
    return sheets


def faces_text(sheets: Sequence[Sheet]) -> str:
    """What the sheets show of the corpus, in a line."""
    frames = max(1, sum(sheet.frames for sheet in sheets))
    faces = frames - sum(sheet.without for sheet in sheets)
    doubtful, several = (sum(getattr(s, name) for s in sheets) for name in ("doubtful", "several"))
    return (
        f"faces in {faces / frames:.1%} of {frames} frames; {doubtful / frames:.1%} below "
        f"probability {DOUBTFUL}, {several / frames:.1%} with several faces; "
        f"{sum(sheet.jumps for sheet in sheets)} jumps to another face"
    )


def boxes_of(clip: Clip, stream: VisionStream, media: MediaFiles) -> Found | None:
    """The faces found in `clip`; None if it was never looked at as it is now, or its file is not
    there. The files of `media` have been looked at."""
    try:
        source = media.source(clip, media_sources([clip], media.root)[0])
        return stream.boxes.get(source) if stream.boxes else None
    except Exception:
        return None


@dataclass(frozen=True)
class Seen:
    """A clip looked through once more: some crops beside their frames, and what is to be told."""

    tiles: tuple[tuple[Picture, Picture], ...]
    """Crops (TILE, TILE, 3), each with its frame (SCENE, TILE, 3)."""
    counts: Mapping[str, int]
    """Of its frames, the `COUNTS`."""
    fault: str = ""


def _row(clip: Clip, faces: Found, root: Path, table: VisionFeatures) -> tuple[Picture, Seen]:
    """The clip's label and crops side by side, the frames below them."""
    seen = look_through(clip, faces, root, table, COLUMNS)
    row = np.full((TILE + SCENE + 2 * GAP, LABEL + COLUMNS * (TILE + GAP), 3), PAPER, np.uint8)
    names = [name for name in ("without", "jumps", "doubtful") if seen.counts[name]]
    doubts = ", ".join(f"{seen.counts[name]} {name}" for name in names)
    lines = [clip.id, seen.fault or f"{len(faces.counts)} frames", doubts]
    several = seen.counts["several"]
    lines += [f"{several} with several faces"] if several else []
    for line, text in enumerate(lines):
        plain = text.encode("ascii", "replace").decode()[-34:]
        at = (6, 34 + 18 * line)
        cv2.putText(row, plain, at, cv2.FONT_HERSHEY_SIMPLEX, 0.38, INK, 1, cv2.LINE_AA)
    for column, (tile, scene) in enumerate(seen.tiles):
        left = LABEL + column * (TILE + GAP)
        row[:TILE, left : left + TILE] = tile
        row[TILE + GAP : TILE + GAP + SCENE, left : left + TILE] = scene
    return row, seen


def look_through(clip: Clip, found: Found, root: Path, table: VisionFeatures, most: int) -> Seen:
    """Follow the clip's face once more; up to `most` crops of it, evenly over its frames."""
    faces, track = found.frames, FaceTrack(table)
    shown = {round(k) for k in np.linspace(0, len(faces) - 1, min(most, len(faces)))}
    tiles: list[tuple[Picture, Picture]] = []

    def take(image: Picture) -> None:
        index = len(track.use)
        if index >= len(faces):
            return
        face = track.next(image, faces[index])
        if index in shown:
            box = track.boxes[index]
            crop = _tile(image, face, bool(np.isfinite(box[0])))
            tiles.append((crop, _scene(image, box, faces[index])))

    fault = ""
    try:
        decode(root / (clip.media or ""), clip.start, clip.end, {table.fps: take}, (), table.track)
    except Exception as raised:
        fault = clip_error("decode", raised).reason
    probabilities = np.array(track.probabilities)
    doubtful = (probabilities > 0) & (probabilities < DOUBTFUL)
    counts = {"without": int((probabilities == 0).sum()), "doubtful": int(doubtful.sum())}
    counts |= {"jumps": track.jumps, "several": track.several}
    return Seen(tuple(tiles), counts, fault)


def _tile(image: Picture, crop: Picture | None, face: bool) -> Picture:
    """The crop; without a face, the frame or what stands in for it, crossed out in red."""
    tile = resized(image if crop is None else crop, (TILE, TILE)).copy()
    if not face:
        tile = (tile // 2 + 96).astype(np.uint8)
        cv2.rectangle(tile, (0, 0), (TILE - 1, TILE - 1), RED, 2)
        cv2.line(tile, (0, 0), (TILE - 1, TILE - 1), RED, 1, cv2.LINE_AA)
    return tile


def _scene(image: Picture, box: Boxes, faces: Boxes) -> Picture:
    """The frame, small, with the chosen face in green and all others that were found in yellow."""
    height, width = image.shape[:2]
    scale = min(TILE / width, SCENE / height)
    small = resized(image, (max(1, round(width * scale)), max(1, round(height * scale)))).copy()
    for other in faces:
        _mark(small, other[:4] * scale, OTHER)
    if np.isfinite(box[0]):
        _mark(small, box * scale, CHOSEN)
    scene = np.full((SCENE, TILE, 3), PAPER, np.uint8)
    top, left = (SCENE - small.shape[0]) // 2, (TILE - small.shape[1]) // 2
    scene[top : top + small.shape[0], left : left + small.shape[1]] = small
    return scene


def _mark(image: Picture, box: Boxes, colour: tuple[int, int, int]) -> None:
    left, top, right, bottom = (round(float(value)) for value in box)
    cv2.rectangle(image, (left, top), (right, bottom), colour, 1)
