"""CHERMA: Chinese emotional clips with a class for each modality and one for all.

Sun et al., ACL 2023 (long paper 39): 28,717 utterances, split 6 : 2 : 2. The authors publish
features; the raw clips come on request and their layout is not documented, so the adapter asks for
the least: a label file per split, ``train``, ``valid`` (or ``dev``, ``val``) and ``test``, each
``.csv`` or ``.json``, in the folder or in ``labels/``, with

- ``id`` (or ``name``, ``video``, ``file``): the clip; a file name's ending is dropped;
- ``label`` (or ``emotion``, ``label_M``): anger, disgust, fear, happy, neutral, sad or surprise;
- ``text`` (or ``transcript``, ``utterance``); ``speaker`` if known;

as columns, or as the keys of a JSON list of objects or of an object of objects by id. The clip is
``videos/<id>.mp4`` or ``Raw/<id>.mp4``, or in a folder of the split's name there. All assumed: for
any other layout write a table and use ``kind = "csv"``.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...cache.manifest import Clip, Manifest
from ...cache.spec import Split
from ...errors import ManifestError
from .reading.files import is_there, read_json
from .reading.table import Faults, Line, Row, combined, read_rows

CLASSES = ("anger", "disgust", "fear", "happy", "neutral", "sad", "surprise")
NAMES: Mapping[Split, tuple[str, ...]] = {
    "train": ("train",),
    "valid": ("valid", "dev", "val"),
    "test": ("test",),
}
ID = ("id", "name", "video", "file")
LABEL = ("label", "emotion", "label_M")
TEXT = ("text", "transcript", "utterance")
SUFFIXES = (".mp4", ".avi", ".mkv", ".mov")


def load(name: str, folder: Path) -> Manifest:
    """The corpus in `folder`; each clip its own video. Raises ManifestError with every fault."""
    tables = []
    for split, stems in NAMES.items():
        path = _label_file(folder, stems)
        faults = Faults(path)
        rows: list[tuple[Line, Clip]] = []
        for row in _rows(path, faults):
            id_ = _named(row, ID)
            id_ = id_.removesuffix(Path(id_).suffix) if Path(id_).suffix in SUFFIXES else id_
            column = next((c for c in LABEL if row.text(c)), LABEL[0])
            rows.append(
                (
                    row.line,
                    Clip(
                        id=f"{id_}$_$0",
                        video_id=id_,
                        clip_id="0",
                        split=split,
                        text=_named(row, TEXT, required=False),
                        media=_media(folder, stems, id_),
                        category=row.choice(column, CLASSES),
                        speaker=row.text("speaker"),
                    ),
                )
            )
        tables.append((rows, faults))
    return combined(name, folder, tables)


def _label_file(folder: Path, stems: tuple[str, ...]) -> Path:
    names = [f"{stem}{suffix}" for stem in stems for suffix in (".csv", ".json")]
    for place in (folder, folder / "labels"):
        for name in names:
            if (place / name).is_file():
                return place / name
    raise ManifestError(
        f"{folder}: no label file of the split {stems[0]} ({', '.join(names)}) here or in labels/. "
        'For another layout write one table and use corpus.kind = "csv".'
    )


def _rows(path: Path, faults: Faults) -> Iterator[Row]:
    if path.suffix == ".csv":
        yield from read_rows(path, faults, ())
        return
    found = read_json(path, "Save it as UTF-8 JSON.")
    if isinstance(found, dict):
        found = [{"id": id_, **e} if isinstance(e, dict) else e for id_, e in found.items()]
    for number, entry in enumerate(found if isinstance(found, list) else [found], start=1):
        where = f"entry {number}"
        if not isinstance(entry, dict):
            faults.add(where, "is no object with the keys id, label and text.")
            continue
        yield Row(where, {k: _cell(v) for k, v in entry.items()}, faults)


def _cell(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _named(row: Row, columns: tuple[str, ...], required: bool = True) -> str:
    for column in columns:
        if value := row.text(column):
            return value
    return row.required(columns[0]) if required else ""


def _media(folder: Path, stems: tuple[str, ...], id_: str) -> str:
    """The clip's file relative to `folder`; the first place looked at where there is none."""
    places = [
        Path(top, inner, f"{id_}{suffix}")
        for top in ("videos", "Raw", "")
        for inner in ("", *stems)
        for suffix in SUFFIXES
    ]
    return str(next((p for p in places if is_there(folder / p)), places[0]))
