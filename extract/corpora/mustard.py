"""MUStARD: 690 lines of television series, half of them sarcastic.

Castro et al., ACL 2019, arXiv:1906.01815. The folder holds ``sarcasm_data.json`` (or
``data/sarcasm_data.json``, as in the authors' repository), one object by clip id, like "1_60", with
the keys utterance, speaker, context (the lines before, oldest first), context_speakers, show and
sarcasm (true or false), and the clips of the utterances, ``utterances_final/<id>.mp4`` (also looked
for below ``mmsd_raw_data/`` and ``data/videos/``: assumed). Clips of the context are not read.

The authors cross-validate, so there is one split here for all: see `SHARED` and `APART`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ...cache.manifest import Clip, Manifest
from ...cache.spec import Split
from ...errors import ManifestError
from .reading.files import first_file, read_json
from .reading.table import Faults, finished

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
    path = first_file(folder, "sarcasm_data.json", ("", "data"))
    faults = Faults(path)
    entries = _entries(path)
    usable = {id_: e for id_, e in entries.items() if _check(id_, e, faults)}
    splits = shared(usable) if speakers == "shared" else apart(usable)
    media = next((p for p in PLACES if (folder / p).is_dir()), PLACES[0])
    clips = [
        Clip(
            id=f"{id_}$_$0",
            video_id=id_,
            clip_id="0",
            split=splits[id_],
            text=entry["utterance"].strip(),
            media=f"{media}/{id_}.mp4",
            category="sarcastic" if entry["sarcasm"] else "sincere",
            speaker=entry.get("speaker") or None,
            context_text=tuple(entry.get("context") or ()),
        )
        for id_, entry in usable.items()
    ]
    return finished(name, folder, list(enumerate(clips, start=1)), faults)


def shared(entries: Mapping[str, Any]) -> dict[str, Split]:
    """Splits with equal shares of both classes in each."""
    splits: dict[str, Split] = {}
    for sarcastic in (True, False):
        ids = _shuffled([id_ for id_, e in entries.items() if bool(e["sarcasm"]) is sarcastic])
        count = round(len(ids) * SHARED)
        for index, id_ in enumerate(ids):
            splits[id_] = "test" if index < count else "valid" if index < 2 * count else "train"
    return splits


def apart(entries: Mapping[str, Any]) -> dict[str, Split]:
    """Splits that share no show between training and test."""
    rest = _shuffled([id_ for id_, e in entries.items() if e.get("show") != APART])
    valid = set(rest[: round(len(rest) / 10)])
    return {
        id_: "test" if e.get("show") == APART else "valid" if id_ in valid else "train"
        for id_, e in entries.items()
    }


def _shuffled(ids: Sequence[str]) -> list[str]:
    return sorted(ids, key=lambda id_: hashlib.blake2b(id_.encode(errors="replace")).digest())


def _entries(path: Path) -> dict[str, Any]:
    found = read_json(path, "Fetch the file again.")
    if not isinstance(found, dict):
        raise ManifestError(f"{path}: not an object of clips by their id.")
    return found


def _check(id_: str, entry: Any, faults: Faults) -> bool:
    if not isinstance(entry, dict):
        faults.add(f"clip {id_}", "is no object.")
        return False
    sound = True
    if not isinstance(entry.get("utterance"), str):
        faults.add(f"clip {id_}", "has no text `utterance`.")
        sound = False
    if entry.get("sarcasm") not in (True, False):
        faults.add(f"clip {id_}", f"sarcasm is {entry.get('sarcasm')!r}, not true or false.")
        sound = False
    return sound
