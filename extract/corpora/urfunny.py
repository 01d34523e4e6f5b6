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
from .reading.table import Faults, Line, finished

PLACES = ("", "urfunny2_features", "extracted_features", "features", "data", "sdk")
VIDEOS = ("urfunny2_videos", "videos")


def load(name: str, folder: Path) -> Manifest:
    """The corpus in `folder`; classes are "humor" and "none", each segment its own video.

    The sentences before a punchline are its `context_text`. Raises ManifestError with every fault,
    and PickleRefusedError for a pickle of anything but plain data.
    """
    words = _table(first_file(folder, "language_sdk.pkl", PLACES))
    labels = _table(first_file(folder, "humor_label_sdk.pkl", PLACES))
    folds_path = first_file(folder, "data_folds.pkl", PLACES)
    folds = _table(folds_path)
    faults = Faults(folds_path)
    videos = next((v for v in VIDEOS if (folder / v).is_dir()), VIDEOS[0])
    rows: list[tuple[Line, Clip]] = []
    for fold, ids in folds.items():
        if str(fold).lower() not in SPLIT_NAMES:
            faults.add(f"fold {fold!r}", "is not train, dev or test.")
            continue
        for id_ in ids:
            where = f"segment {id_}"
            entry, label = _found(words, id_), _found(labels, id_)
            if not isinstance(entry, Mapping) or "punchline_sentence" not in entry:
                faults.add(where, "has no punchline_sentence in language_sdk.pkl.")
            elif label not in (0, 1):
                faults.add(where, f"its label in humor_label_sdk.pkl is {label!r}, not 0 or 1.")
            else:
                rows.append(
                    (
                        where,
                        Clip(
                            id=f"{id_}$_$0",
                            video_id=str(id_),
                            clip_id="0",
                            split=SPLIT_NAMES[str(fold).lower()],
                            text=_sentence(entry["punchline_sentence"]),
                            media=f"{videos}/{id_}.mp4",
                            category="humor" if label else "none",
                            context_text=tuple(
                                map(_sentence, entry.get("context_sentences") or ())
                            ),
                        ),
                    )
                )
    return finished(name, folder, rows, faults)


def _table(path: Path) -> Mapping[Any, Any]:
    found = load_plain(path)
    if not isinstance(found, Mapping):
        raise ManifestError(f"{path}: holds {type(found).__name__}, not a table by id.")
    return found


def _found(table: Mapping[Any, Any], id_: Any) -> Any:
    """The entry of an id that one file may hold as a number and another as text."""
    for key in (id_, str(id_), int(id_) if str(id_).isdigit() else id_):
        if key in table:
            return table[key]
    return None


def _sentence(value: Any) -> str:
    """A sentence written as text, as a list of words, or as a list of one text."""
    if isinstance(value, str):
        return value.strip()
    return " ".join(map(str, value)).strip() if isinstance(value, Iterable) else str(value)
