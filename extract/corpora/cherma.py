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

from ...cache.manifest import Clip, Manifest
from ...cache.spec import Split
from ...errors import ManifestError
from .reading.files import first_there, read_json
from .reading.table import Row, Table, finished, named

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
        table = Table(_label_file(folder, stems))
        for row in _rows(table):
            id_ = _first_of(row, ID) or row.required(ID[0])
            id_ = id_.removesuffix(Path(id_).suffix) if Path(id_).suffix in SUFFIXES else id_
            clip = Clip(
                *named(id_),
                split=split,
                text=_first_of(row, TEXT),
                media=_media(folder, stems, id_),
                category=row.choice(next((c for c in LABEL if row.text(c)), LABEL[0]), CLASSES),
                speaker=row.text("speaker"),
            )
            table.add(row.line, clip)
        tables.append(table)
    return finished(name, folder, *tables)


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


def _rows(table: Table) -> Iterator[Row]:
    if table.path.suffix == ".csv":
        yield from table.rows(())
        return
    entries = read_json(table.path, "Save it as UTF-8 JSON.")
    if isinstance(entries, dict):
        entries = [{"id": id_, **e} if isinstance(e, dict) else e for id_, e in entries.items()]
    for number, entry in enumerate(entries if isinstance(entries, list) else [entries], start=1):
        where = f"entry {number}"
        if not isinstance(entry, dict):
            table.fault(where, "is no object with the keys id, label and text.")
            continue
        cells = {k: "" if v is None else str(v).strip() for k, v in entry.items()}
        yield Row(where, cells, table)


def _first_of(row: Row, columns: tuple[str, ...]) -> str:
    """The first cell that is not empty, or ""."""
    return next(filter(None, map(row.text, columns)), "")


def _media(folder: Path, stems: tuple[str, ...], id_: str) -> str:
    places = [Path(top, inner) for top in ("videos", "Raw", "") for inner in ("", *stems)]
    return first_there(folder, [p / f"{id_}{suffix}" for p in places for suffix in SUFFIXES])
