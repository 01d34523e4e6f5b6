"""UR-FUNNY v2: segments of TED talks whose last sentence made the audience laugh, or did not.

Hasan et al., EMNLP 2019, arXiv:1904.06618; second version of the data, as its repository describes
it. The folder holds the published pickles and the unpacked videos, by segment id::

    language_sdk.pkl        {id: {"punchline_sentence": …, "context_sentences": […], …}}
    humor_label_sdk.pkl     {id: 1 or 0}
    data_folds.pkl          {"train": [ids], "dev": [ids], "test": [ids]}
    urfunny2_videos/<id>.mp4

Pickles may also lie in a folder of their own (assumed). They are read by an unpickler that knows
plain data only; feature pickles are not opened. A sentence may be a string or a list of words.
The video holds the context and the punchline. Where in it the punchline lies is not cut out, since
the release does not say whether its word intervals count from the segment's start: `text` is the
punchline, sound and pictures are the whole segment.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...cache.manifest import Clip, Manifest
from ...cache.safe_pickle.load import load_plain
from ...cache.spec import SPLIT_NAMES
from ...errors import ManifestError
from .reading.files import first_file
from .reading.table import Table, finished, named

PLACES = ("", "urfunny2_features", "extracted_features", "features", "data", "sdk")
VIDEOS = ("urfunny2_videos", "videos")


def load(name: str, folder: Path) -> Manifest:
    """The corpus in `folder`; classes are "humor" and "none", each segment its own video.

    The sentences before a punchline are its `context_text`. Raises ManifestError with every fault,
    and PickleRefusedError for a pickle of anything but plain data.
    """
    words = _entries(first_file(folder, "language_sdk.pkl", PLACES))
    labels = _entries(first_file(folder, "humor_label_sdk.pkl", PLACES))
    table = Table(first_file(folder, "data_folds.pkl", PLACES))
    videos = next((v for v in VIDEOS if (folder / v).is_dir()), VIDEOS[0])
    for fold, ids in _entries(table.path).items():
        if str(fold).lower() not in SPLIT_NAMES:
            table.fault(f"fold {fold!r}", "is not train, dev or test.")
            continue
        for id_ in ids:
            where = f"segment {id_}"
            entry, label = _entry(words, id_), _entry(labels, id_)
            if not isinstance(entry, Mapping) or "punchline_sentence" not in entry:
                table.fault(where, "has no punchline_sentence in language_sdk.pkl.")
                continue
            if label not in (0, 1):
                table.fault(where, f"its label in humor_label_sdk.pkl is {label!r}, not 0 or 1.")
                continue
            clip = Clip(
                *named(str(id_)),
                split=SPLIT_NAMES[str(fold).lower()],
                text=_sentence(entry["punchline_sentence"]),
                media=f"{videos}/{id_}.mp4",
                category="humor" if label else "none",
                context_text=tuple(map(_sentence, entry.get("context_sentences") or ())),
            )
            table.add(where, clip)
    return finished(name, folder, table)


def _entries(path: Path) -> Mapping[Any, Any]:
    entries = load_plain(path)
    if not isinstance(entries, Mapping):
        raise ManifestError(f"{path}: holds {type(entries).__name__}, not a table by id.")
    return entries


def _entry(entries: Mapping[Any, Any], id_: Any) -> Any:
    """The entry of an id that one file may hold as a number and another as text."""
    keys = (id_, str(id_), int(id_) if str(id_).isdigit() else id_)
    return next((entries[key] for key in keys if key in entries), None)


def _sentence(value: Any) -> str:
    """A sentence written as text, as a list of words, or as a list of one text."""
    if isinstance(value, str):
        return value.strip()
    return " ".join(map(str, value)).strip() if isinstance(value, Iterable) else str(value)
