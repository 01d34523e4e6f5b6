"""RAVDESS: 24 actors speak two statements in eight emotions; file names say all in seven numbers.

Livingstone and Russo, PLoS ONE 2018, doi:10.1371/journal.pone.0196391. Below the folder lie, in
whatever folders the archives unpack to, files like ``01-01-06-01-02-01-12.mp4``: modality (01 sound
and pictures, 02 pictures alone, 03 sound alone), channel (01 speech, 02 song), emotion, intensity,
statement, repetition, actor. Speech alone is read; of each recording the file with sound and
pictures, or where there is none the one with sound. There are no published splits: actors are dealt
out as under ``split = "auto"``.
"""

import re
from pathlib import Path

from ...cache.manifest import Clip, Manifest
from .reading.coded_files import coded
from .reading.table import Table, named

EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
STATEMENTS = ("Kids are talking by the door.", "Dogs are sitting by the door.")
CODE = re.compile(r"0([1-3])-0([12])-0([1-8])-0[12]-0([12])-0[12]-(0[1-9]|1\d|2[0-4])")


def load(name: str, folder: Path) -> Manifest:
    """The corpus in `folder`, all of it for training; raises ManifestError with every fault."""

    def clip(stem: str, media: str, table: Table) -> Clip | None:
        code = CODE.fullmatch(stem)
        if code is None:
            table.fault(media, "is not called by seven numbers, as 01-01-06-01-02-01-12 is.")
            return None
        modality, channel, emotion, statement, actor = code.groups()
        if modality == "2" or channel == "2":
            return None
        return Clip(
            *named(stem.partition("-")[2]),
            split="train",
            text=STATEMENTS[int(statement) - 1],
            media=media,
            category=EMOTIONS[int(emotion) - 1],
            speaker=f"Actor_{actor}",
        )

    return coded(name, folder, "", clip, best=lambda media: Path(media).name)
