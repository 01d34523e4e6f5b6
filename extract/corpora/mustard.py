"""MUStARD: 690 lines of television series, half of them sarcastic.

Castro et al., ACL 2019, arXiv:1906.01815. The folder holds ``sarcasm_data.json`` (or
``data/sarcasm_data.json``, as in the authors' repository), one object by clip id, like "1_60", with
the keys utterance, speaker, context (the lines before, oldest first), context_speakers, show and
sarcasm (true or false), and the clips of the utterances, ``utterances_final/<id>.mp4`` (also looked
for below ``mmsd_raw_data/`` and ``data/videos/``: assumed). Clips of the context are not read.

The authors cross-validate, so there is one split here for all: see `SHARED` and `APART`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ...cache.manifest import Clip, Manifest
from ...cache.spec import Split
from ...errors import ManifestError
from .reading.files import by_hash, first_file, read_json
from .reading.table import Table, finished, named

PLACES = ("utterances_final", "mmsd_raw_data/utterances_final", "data/videos/utterances_final")
SHARED = 68 / 675
"""`speakers = "shared"`: this share of each class is validated on and as much tested on, in order
of the hash of the clip's id; the shares of the GLoMo paper (539 / 68 / 68 of 675), which does not
say which clips they are. Of all 690 clips it makes 550 / 70 / 70."""
APART = "FRIENDS"
"""`speakers = "apart"`: this show is tested, as in the paper's speaker-independent setting; of the
others' clips a tenth, in order of the hash of the id, is validated on."""


def load(name: str, folder: Path, speakers: Literal["shared", "apart"] = "shared") -> Manifest:
    """The corpus in `folder`; classes are "sarcastic" and "sincere", each clip its own video.

    What was said before a clip is its `context_text`. Raises ManifestError with every fault.
    """
    table = Table(first_file(folder, "sarcasm_data.json", ("", "data")))
    entries = read_json(table.path, "Fetch the file again.")
    if not isinstance(entries, dict):
        raise ManifestError(f"{table.path}: not an object of clips by their id.")
    usable = {id_: e for id_, e in entries.items() if _check(id_, e, table)}
    splits = shared(usable) if speakers == "shared" else apart(usable)
    media = next((p for p in PLACES if (folder / p).is_dir()), PLACES[0])
    for number, (id_, entry) in enumerate(usable.items(), start=1):
        clip = Clip(
            *named(id_),
            split=splits[id_],
            text=entry["utterance"].strip(),
            media=f"{media}/{id_}.mp4",
            category="sarcastic" if entry["sarcasm"] else "sincere",
            speaker=entry.get("speaker") or None,
            context_text=tuple(entry.get("context") or ()),
        )
        table.add(number, clip)
    return finished(name, folder, table)


def shared(entries: Mapping[str, Any]) -> dict[str, Split]:
    """Splits with equal shares of both classes in each."""
    splits: dict[str, Split] = {}
    for sarcastic in (True, False):
        ids = by_hash([id_ for id_, e in entries.items() if bool(e["sarcasm"]) is sarcastic])
        count = round(len(ids) * SHARED)
        for index, id_ in enumerate(ids):
            splits[id_] = "test" if index < count else "valid" if index < 2 * count else "train"
    return splits


def apart(entries: Mapping[str, Any]) -> dict[str, Split]:
    """Splits that share no show between training and test."""
    rest = by_hash([id_ for id_, e in entries.items() if e.get("show") != APART])
    valid = set(rest[: round(len(rest) / 10)])
    return {
        id_: "test" if e.get("show") == APART else "valid" if id_ in valid else "train"
        for id_, e in entries.items()
    }


def _check(id_: str, entry: Any, table: Table) -> bool:
    """Whether an entry can be read; if not, that is among the faults."""
    if not isinstance(entry, dict):
        table.fault(f"clip {id_}", "is no object.")
        return False
    sound = True
    if not isinstance(entry.get("utterance"), str):
        table.fault(f"clip {id_}", "has no text `utterance`.")
        sound = False
    if entry.get("sarcasm") not in (True, False):
        table.fault(f"clip {id_}", f"sarcasm is {entry.get('sarcasm')!r}, not true or false.")
        sound = False
    return sound
