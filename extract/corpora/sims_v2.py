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
from .reading.files import first_there, is_there
from .reading.table import Table, finished, named

COLUMNS = ("video_id", "clip_id", "text")


def load(name: str, folder: Path, unlabelled: bool = False) -> Manifest:
    """The corpus in `folder`; raises ManifestError with every fault."""
    parts = "su" if unlabelled else "s"
    return finished(name, folder, *(_read(folder, part) for part in parts))


def _read(folder: Path, letter: str) -> Table:
    part, labelled = f"ch-simsv2{letter}", letter == "s"
    names = [f"{part}/meta.csv", f"{part}/meta({letter}).csv", f"meta({letter}).csv"]
    names += ["meta.csv", "label.csv"] if labelled else []
    path = next((folder / n for n in names if is_there(folder / n)), None)
    if path is None:
        raise ManifestError(
            f"{folder}: none of {', '.join(names)} in this folder. Check corpus.path in "
            "pipeline.toml: it holds the folders ch-simsv2s and ch-simsv2u."
        )
    table = Table(path)
    for row in table.rows((*COLUMNS, "label", "mode") if labelled else COLUMNS):
        video, number = row.required("video_id"), row.required("clip_id")
        files = [Path(p, "Raw", video, f"{number}{end}") for p in (part, "") for end in SUFFIXES]
        clip = Clip(
            *named(video, number),
            split=row.split("mode") if labelled else "train",
            text=row.text("text") or "",
            media=first_there(folder, files),
            label=row.number("label") if labelled else None,
            label_T=row.number("label_T") if labelled else None,
            label_A=row.number("label_A") if labelled else None,
            label_V=row.number("label_V") if labelled else None,
        )
        table.add(row.line, clip)
    return table
