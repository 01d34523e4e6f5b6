"""CH-SIMS v2: Chinese clips with a score for all modalities and one for each, and unlabelled ones.

Liu et al., ICMI 2022. The folder holds what the authors share, the labelled part and, if wanted,
the unlabelled one::

    ch-simsv2s/meta.csv     video_id,clip_id,text,label,label_T,label_A,label_V,annotation,mode
    ch-simsv2s/Raw/<video_id>/<clip_id>.mp4
    ch-simsv2u/meta.csv     the same columns, of which the labels are empty or not there
    ch-simsv2u/Raw/<video_id>/<clip_id>.mp4

Tables are also known as ``meta(s).csv`` and ``meta(u).csv``, and may lie beside the folders. With
`unlabelled` the clips of the second part are among the training clips, without a label: they are
extracted, and training and scores leave them out.
"""

from pathlib import Path

from ...cache.manifest import Clip, Manifest
from ...errors import ManifestError
from .mmsa import SUFFIXES
from .reading.files import is_there
from .reading.table import Faults, Line, combined, read_rows

COLUMNS = ("video_id", "clip_id", "text")


def load(name: str, folder: Path, unlabelled: bool = False) -> Manifest:
    """The corpus in `folder`; raises ManifestError with every fault."""
    parts = [_part(folder, "s")] + ([_part(folder, "u")] if unlabelled else [])
    return combined(name, folder, parts)


def _part(folder: Path, letter: str) -> tuple[list[tuple[Line, Clip]], Faults]:
    own, labelled = f"ch-simsv2{letter}", letter == "s"
    names = [f"{own}/meta.csv", f"{own}/meta({letter}).csv", f"meta({letter}).csv"]
    names += ["meta.csv", "label.csv"] if labelled else []
    path = next((folder / n for n in names if is_there(folder / n)), None)
    if path is None:
        raise ManifestError(
            f"{folder}: none of {', '.join(names)} in this folder. Check corpus.path in "
            "pipeline.toml: it holds the folders ch-simsv2s and ch-simsv2u."
        )
    faults, rows = Faults(path), list[tuple[Line, Clip]]()
    for row in read_rows(path, faults, (*COLUMNS, "label", "mode") if labelled else COLUMNS):
        video, clip = row.required("video_id"), row.required("clip_id")
        found = Clip(
            id=f"{video}$_${clip}",
            video_id=video,
            clip_id=clip,
            split=row.split("mode") if labelled else "train",
            text=row.text("text") or "",
            media=_media(folder, own, video, clip),
            label=row.number("label") if labelled else None,
            label_T=row.number("label_T") if labelled else None,
            label_A=row.number("label_A") if labelled else None,
            label_V=row.number("label_V") if labelled else None,
        )
        rows.append((row.line, found))
    return rows, faults


def _media(folder: Path, part: str, video: str, clip: str) -> str:
    paths = [Path(p, "Raw", video, f"{clip}{end}") for p in (part, "") for end in SUFFIXES]
    return str(next((path for path in paths if is_there(folder / path)), paths[0]))
