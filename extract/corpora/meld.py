"""MELD: utterances of the series Friends, each with an emotion and a sentiment.

Poria et al., ACL 2019, arXiv:1810.02508. The folder is the unpacked MELD.Raw, where each split
has a label file and a folder of clips, named by dialogue and utterance, which count from 0 in each
split::

    train_sent_emo.csv    train_splits/dia0_utt0.mp4
    dev_sent_emo.csv      dev_splits_complete/
    test_sent_emo.csv     output_repeated_splits_test/

Label files have the columns Sr No., Utterance, Speaker, Emotion, Sentiment, Dialogue_ID,
Utterance_ID, Season, Episode, StartTime, EndTime (the last two count from the episode's start, not
the clip's). Folders may also lie in one more folder of the split's name, as the archives unpack
(assumed). Clips without a line in a label file, and `final_videos_…` copies, are not read. Known
faults of the release, which surface as failures of their clips: dev dia110_utt7 does not exist,
train dia125_utt3 cannot be decoded, and a few clips are minutes long.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from ...cache.manifest import Clip, Manifest
from ...cache.spec import Split
from .reading.files import first_file
from .reading.table import Table, finished, named

FILES: Mapping[Split, tuple[str, str]] = {
    "train": ("train", "train_splits"),
    "valid": ("dev", "dev_splits_complete"),
    "test": ("test", "output_repeated_splits_test"),
}
EMOTIONS = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
SENTIMENTS = ("neutral", "positive", "negative")
COLUMNS = ("Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID")


def load(name: str, folder: Path, label: Literal["emotion", "sentiment"] = "emotion") -> Manifest:
    """The corpus in `folder`; a clip's class is its `label`, its video the dialogue.

    Raises ManifestError with every fault of the three files.
    """
    allowed = EMOTIONS if label == "emotion" else SENTIMENTS
    tables = []
    for split, (prefix, media) in FILES.items():
        places = ("", prefix, "data", "data/MELD")
        table = Table(first_file(folder, f"{prefix}_sent_emo.csv", places))
        where = _media_folder(folder, prefix, media)
        for row in table.rows(COLUMNS, encodings=("utf-8-sig", "cp1252")):
            dialogue, utterance = row.required("Dialogue_ID"), row.required("Utterance_ID")
            clip = Clip(
                *named(f"{split}_dia{dialogue}", utterance),
                split=split,
                text=fix_mojibake(row.text("Utterance") or ""),
                media=str(where / f"dia{dialogue}_utt{utterance}.mp4"),
                category=row.choice(label.capitalize(), allowed),
                speaker=fix_mojibake(row.text("Speaker") or "") or None,
            )
            table.add(row.line, clip)
        tables.append(table)
    return finished(name, folder, *tables)


def fix_mojibake(text: str) -> str:
    """`text` with the quotes and dashes that were saved as control characters put right.

    Windows-1252 bytes were once read as Latin-1 and saved as UTF-8: what should be a curly
    apostrophe is U+0092.

    >>> fix_mojibake("It\\x92s me")
    'It\u2019s me'
    """
    return "".join(
        bytes([ord(c)]).decode("cp1252", "ignore") if 0x80 <= ord(c) < 0xA0 else c for c in text
    )


def _media_folder(folder: Path, prefix: str, media: str) -> Path:
    """Where the split's clips lie, relative to `folder`; the published place if nowhere."""
    places = (Path(media), Path(prefix, media), Path(prefix), Path(f"{prefix}_splits"))
    return next((p for p in places if (folder / p).is_dir()), places[0])
