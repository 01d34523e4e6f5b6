"""EmoBox: the splits of 32 corpora of emotional speech, as its JSON Lines files have them.

Ma et al., Interspeech 2024, arXiv:2406.07162. The folder is one fold of one corpus, like
``data/iemocap/fold_1``, with a file a split, ``<corpus>_train_fold_1.jsonl``, ``…_test_…`` and,
for some corpora, ``…_valid_…``. A line is an object a recording::

    {"key": "iemocap-Ses01F_impro01_F000", "dataset": "iemocap", "wav": "downloads/…/a.wav",
     "sample_rate": 16000, "length": 1.9, "task": "category", "emo": "neutral"}

Paths of sound count from the first folder, of this one and those above it, from where the first is
found. Where there is no file for validation, a tenth of the training recordings is validated on, in
order of the hash of their key. Splits of recordings in parts (``channel``, ``start_time``) are cut.
"""

import json
from pathlib import Path
from typing import Any

from ...cache.manifest import Clip, Manifest
from ...cache.spec import Split
from ...errors import ManifestError
from .reading.files import is_there, read_text
from .reading.table import Table, finished, named

WORDS: dict[Split, tuple[str, ...]] = {
    "train": ("train",),
    "valid": ("valid", "dev", "val"),
    "test": ("test",),
}
ABOVE = 4
"""So many folders above are looked into for the sound."""


def load(name: str, folder: Path) -> Manifest:
    """The fold in `folder`, each recording its own video; raises ManifestError with every fault."""
    files = {split: _file(folder, words) for split, words in WORDS.items()}
    lacking = [split for split in ("train", "test") if files[split] is None]
    if lacking:
        raise ManifestError(
            f"{folder}: no .jsonl file with {' or '.join(lacking)} in its name. corpus.path is the "
            "folder of one fold, like data/iemocap/fold_1."
        )
    tables = []
    for split, path in files.items():
        if path is not None:
            tables.append(_read(path, split))
            if split == "train" and files["valid"] is None:
                tables[-1].validate_on_a_tenth()
    first = next((clip.media for t in tables for _, clip in t.clips if clip.media), "")
    places = [folder, *folder.resolve().parents[:ABOVE]]
    root = next((place for place in places if first and is_there(place / first)), folder)
    return finished(name, root, *tables)


def _file(folder: Path, words: tuple[str, ...]) -> Path | None:
    files = sorted(folder.glob("*.jsonl")) if folder.is_dir() else []
    return next((p for word in words for p in files if word in p.stem.lower().split("_")), None)


def _read(path: Path, split: Split) -> Table:
    table = Table(path)
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            entry: Any = json.loads(line)
        except (ValueError, RecursionError) as fault:
            table.fault(number, f"not valid JSON: {fault or 'nested too deeply'}.")
            continue
        values = [entry.get(k) for k in ("key", "wav", "emo")] if isinstance(entry, dict) else []
        texts = [text for text in values if isinstance(text, str) and text]
        if len(texts) < 3:
            table.fault(number, "should be an object with the texts key, wav and emo.")
            continue
        key, wav, emotion = texts
        clip = Clip(
            *named(key),
            split=split,
            media=wav,
            start=_seconds(entry, "start_time", number, table),
            end=_seconds(entry, "end_time", number, table),
            category=emotion,
        )
        table.add(number, clip)
    return table


def _seconds(entry: dict[str, Any], key: str, line: int, table: Table) -> float | None:
    value = entry.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e9:
        table.fault(line, f"{key} is {value!r}, not seconds.")
        return None
    return float(value)
