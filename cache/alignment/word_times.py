"""When each word of each clip was said, kept beside the manifest in files of JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import CorruptStoreError, StoreError
from ..store.atomic_write import explained, replace
from ..store.sealed_json import read_record, record
from .word import Word

WORDS = "words.json"
KIND = "words"
REMEDY = "Remove it; `sedimental extract` finds the word times anew."


@dataclass(frozen=True)
class WordTimes:
    """The words of one clip, in order."""

    words: tuple[Word, ...]
    source: str
    """Digest of what they were made from: transcript, and times or sound and aligner."""

    @property
    def seconds(self) -> NDArray[np.float64]:
        """(words, 2) begin and end, NaN where not known."""
        rows = [(w.start, w.end) for w in self.words]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    @property
    def characters(self) -> NDArray[np.int64]:
        """(words, 2) first character and the one behind the last."""
        return np.array([(w.begins, w.ends) for w in self.words], dtype=np.int64).reshape(-1, 2)


def write_words(path: Path, clips: Mapping[str, WordTimes]) -> None:
    """Write the words of some clips to the file at `path`, at once."""
    body = {
        clip: [own.source, [[w.text, w.start, w.end, w.begins, w.ends] for w in own.words]]
        for clip, own in clips.items()
    }
    with explained(path):
        replace(path, record(KIND, {"clips": body}))


def read_words(folder: Path) -> dict[str, WordTimes]:
    """Of every clip with word times below the corpus's cache `folder`; empty if there are none.

    Shares of an extraction have files of their own. Raises CorruptStoreError for a damaged one.
    """
    found: dict[str, WordTimes] = {}
    for path in sorted(folder.glob(f"{Path(WORDS).stem}*.json")):
        try:
            for clip, (source, rows) in read_record(KIND, path)["clips"].items():
                found[clip] = WordTimes(tuple(Word(*row) for row in rows), source)
        except FileNotFoundError:
            continue
        except CorruptStoreError:
            raise CorruptStoreError(
                f"{path}: damaged: it is not what was written. {REMEDY}"
            ) from None
    return found


def refuse_wordless(folder: Path, words: Mapping[str, WordTimes], where: str) -> None:
    """Raise StoreError if no clip has word times, though `where` asks for them."""
    if not words:
        raise StoreError(
            f"{where}: {folder} holds no word times. Give them in a column word_times of the "
            "table or by [words] path, or name an aligner in [words]; then `sedimental extract`."
        )
