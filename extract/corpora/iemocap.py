"""IEMOCAP: ten actors in five sessions, each turn with an emotion and three dimensions.

Busso et al., Language Resources and Evaluation 2008. The folder is the unpacked release, or its
``IEMOCAP_full_release``::

    Session1/dialog/EmoEvaluation/Ses01F_impro01.txt    [6.2901 - 8.2357] TURN neu [2.5, 2.5, 2.5]
    Session1/dialog/transcriptions/Ses01F_impro01.txt   TURN [006.2901-008.2357]: Excuse me.
    Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav                        a TURN

The three numbers are valence, activation (here ``arousal``) and dominance from 1 to 5. `emotions`
chooses the classes: ``four`` (anger, happiness with excitement, neutral, sadness), as most papers
have it; ``six`` (excitement and frustration of their own); ``all``. Turns of other emotions, and
those on which raters did not agree (xxx), have no class, and keep their dimensions. Pictures are
not read, as both actors are in them.

Splits: sessions 1 to 3 train, 4 validates, 5 tests. With ``folds = 5`` each session is a fold.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from ...cache.manifest import Clip, Manifest
from ...cache.spec import Split
from ...errors import ManifestError
from .reading.files import read_text
from .reading.table import Table, finished, named

SESSIONS: Mapping[int, Split] = {1: "train", 2: "train", 3: "train", 4: "valid", 5: "test"}
FOUR = {"ang": "anger", "hap": "happy", "exc": "happy", "neu": "neutral", "sad": "sad"}
SIX = FOUR | {"exc": "excited", "fru": "frustrated"}
ALL = SIX | {"sur": "surprise", "fea": "fear", "dis": "disgust", "oth": "other"}
CLASSES: Mapping[str, Mapping[str, str]] = {"four": FOUR, "six": SIX, "all": ALL}
CODES = frozenset({*ALL, "xxx"})
RATED = re.compile(
    r"\[(\d+\.?\d*) - (\d+\.?\d*)\]\t(\S+)\t(\w+)\t"
    r"\[(\d\.?\d*), (\d\.?\d*), (\d\.?\d*)\]\s*",
    re.ASCII,
)
DIMENSIONS = ("valence", "arousal", "dominance")
SPOKEN = re.compile(r"(\S+) \[[^\]]*\]:(.*)")
LATIN = ("utf-8", "cp1252", "latin-1")


def load(
    name: str, folder: Path, emotions: Literal["four", "six", "all"] = "four", folds: bool = False
) -> Manifest:
    """The corpus in `folder`; its videos are dialogues. Raises ManifestError with every fault."""
    root = folder / "IEMOCAP_full_release"
    root = root if root.is_dir() else folder
    tables = []
    for session, split in SESSIONS.items():
        place = Path(f"Session{session}", "dialog")
        if not (root / place / "EmoEvaluation").is_dir():
            raise ManifestError(
                f"{root}: no {place / 'EmoEvaluation'} in this folder. corpus.path is the folder "
                "that the corpus was unpacked to, with Session1 to Session5."
            )
        for path in sorted((root / place / "EmoEvaluation").glob("Ses*.txt")):
            table, words = Table(path), _words(root / place / "transcriptions" / path.name)
            for number, line in enumerate(read_text(path, LATIN).splitlines(), start=1):
                if not line.startswith("["):
                    continue
                rated = RATED.fullmatch(line)
                if rated is None or rated[4] not in CODES:
                    table.fault(number, "should be [begin - end], turn, emotion, [v, a, d].")
                    continue
                turn = rated[3]
                scores = zip(DIMENSIONS, map(float, rated.groups()[4:]), strict=True)
                clip = Clip(
                    *named(path.stem, turn),
                    split=split,
                    text=words.get(turn, ""),
                    media=f"Session{session}/sentences/wav/{path.stem}/{turn}.wav",
                    category=CLASSES[emotions].get(rated[4]),
                    dimensions=dict(scores),
                    # Ses01F_impro01_M003 is said by the man of session 1
                    speaker=f"Ses{session:02}{turn.rpartition('_')[2][:1]}",
                    fold=session - 1 if folds else None,
                )
                table.add(number, clip)
            tables.append(table)
    manifest = finished(name, root, *tables)
    return manifest.of_fold(0) if folds else manifest


def _words(path: Path) -> dict[str, str]:
    """What is said, by turn."""
    lines = read_text(path, LATIN).splitlines() if path.is_file() else []
    return {turn[1]: turn[2].strip() for line in lines if (turn := SPOKEN.fullmatch(line))}
