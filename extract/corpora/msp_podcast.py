"""MSP-Podcast: turns of podcasts with an emotion and three dimensions.

Lotfian and Busso, IEEE Transactions on Affective Computing 2019. The folder is the unpacked
release::

    Labels/labels_consensus.csv    FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set
    Audios/MSP-PODCAST_0001_0008.wav
    Transcripts/MSP-PODCAST_0001_0008.txt

Classes are A anger, C contempt, D disgust, F fear, H happy, N neutral, S sad, U surprise; turns of
another emotion (O) and without agreement (X) have none. Dimensions go from 1 to 7. Of the releases'
test sets `tests` names the one that is read; the others' turns are left out, and counted in a note.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from ...cache.manifest import Clip, Manifest
from ...cache.spec import Split
from ...errors import ManifestError
from .reading.files import first_file, read_text
from .reading.table import Table, finished, named

CLASSES: Mapping[str, str | None] = {
    "A": "anger",
    "C": "contempt",
    "D": "disgust",
    "F": "fear",
    "H": "happy",
    "N": "neutral",
    "S": "sad",
    "U": "surprise",
    "O": None,
    "X": None,
}
COLUMNS = ("FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Split_Set")
SCORES = {"valence": "EmoVal", "arousal": "EmoAct", "dominance": "EmoDom"}
SETS: Mapping[str, Split] = {"train": "train", "development": "valid", "validation": "valid"}
TESTS = ("test1", "test2", "test3")


def load(name: str, folder: Path, tests: str = "test1") -> Manifest:
    """The corpus in `folder`, each file its own video; raises ManifestError with every fault."""
    table = Table(first_file(folder, "labels_consensus.csv", ("Labels", "labels", "")))
    left_out = Counter[str]()
    media = next((p for p in ("Audios", "Audio") if (folder / p).is_dir()), "Audios")
    for row in table.rows(COLUMNS):
        part = row.choice("Split_Set", (*SETS, *TESTS))
        if part in TESTS and part != tests:
            left_out[part] += 1
            continue
        file = row.required("FileName")
        stem, code = Path(file).stem, row.required("EmoClass")
        if code and code not in CLASSES:
            row.fault(f"EmoClass is {code!r}, not one of {', '.join(CLASSES)}.")
        scores = {dim: value for dim, c in SCORES.items() if (value := row.number(c)) is not None}
        speaker = row.text("SpkrID")
        clip = Clip(
            *named(stem),
            split=SETS.get(part, "test"),
            text=_words(folder / "Transcripts" / f"{stem}.txt"),
            media=f"{media}/{file}",
            category=CLASSES.get(code),
            dimensions=scores,
            speaker=None if (speaker or "Unknown").lower() == "unknown" else speaker,
        )
        table.add(row.line, clip)
    counts = ", ".join(f"{count} of {which}" for which, count in sorted(left_out.items()))
    note = f"{table.path}: left out {counts}; `tests` in [corpus] chooses the set."
    return finished(name, folder, table, notes=[note] if counts else [])


def _words(path: Path) -> str:
    try:
        return read_text(path).strip()
    except ManifestError:  # not there, or not text: a turn without words
        return ""
