"""CREMA-D: 91 actors say twelve sentences in six emotions; all that is known stands in file names.

Cao et al., IEEE Transactions on Affective Computing 2014. The folder holds ``VideoFlash/`` (.flv),
or ``AudioWAV/`` (.wav) where there is sound alone; files are called
``<actor>_<sentence>_<emotion>_<level>``, like ``1001_IEO_ANG_HI.flv``. The class is the emotion
that was acted, not what crowds heard. There are no published splits: actors are dealt out as under
``split = "auto"``.
"""

from collections.abc import Mapping
from pathlib import Path

from ...cache.manifest import Clip, Manifest
from .reading.coded_files import coded
from .reading.table import Table, named

EMOTIONS: Mapping[str, str] = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}
SENTENCES: Mapping[str, str] = {
    "IEO": "It's eleven o'clock.",
    "TIE": "That is exactly what happened.",
    "IOM": "I'm on my way to the meeting.",
    "IWW": "I wonder what this is about.",
    "TAI": "The airplane is almost full.",
    "MTI": "Maybe tomorrow it will be cold.",
    "IWL": "I would like a new alarm clock.",
    "ITH": "I think I have a doctor's appointment.",
    "DFA": "Don't forget a jacket.",
    "ITS": "I think I've seen this before.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
LEVELS = ("LO", "MD", "HI", "XX", "X")
PLACES = ("VideoFlash", "VideoMP4", "AudioWAV", "AudioMP3")


def load(name: str, folder: Path) -> Manifest:
    """The corpus in `folder`, all of it for training; raises ManifestError with every fault."""
    place = next((p for p in PLACES if (folder / p).is_dir()), "")

    def clip(stem: str, media: str, table: Table) -> Clip | None:
        parts = stem.split("_")
        if len(parts) != 4 or not parts[0].isdigit() or parts[3] not in LEVELS:
            table.fault(media, "is not called <actor>_<sentence>_<emotion>_<level>.")
            return None
        actor, sentence, emotion, _ = parts
        if sentence not in SENTENCES or emotion not in EMOTIONS:
            table.fault(media, f"{sentence}, {emotion}: no such sentence, or no such emotion.")
            return None
        return Clip(
            *named(stem),
            split="train",
            text=SENTENCES[sentence],
            media=media,
            category=EMOTIONS[emotion],
            speaker=actor,
        )

    return coded(name, folder, place, clip)
