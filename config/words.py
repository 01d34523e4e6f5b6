"""[words]: when each word was said, for inputs with align = "words"."""

from typing import Literal

from .base import Place, Section, Word

Collapse = Literal["mean", "weighted", "max", "min", "sum", "first", "last"]
"""How the frames over one word become one row; `weighted` is the mean by seconds of overlap."""


class WordsConfig(Section):
    """[words]: when each word was said, for inputs with align = "words".

    A clip's times come from the first of these that has any: the table's column word_times, the
    files below `path`, the `aligner`.
    """

    path: Place | None = None
    """Folder of .ctm, .TextGrid, .vtt or .csd files, relative to pipeline.toml."""
    aligner: Word | None = None
    """CTC encoder (a Hub id or a `save_pretrained` folder) that lays transcripts over the sound."""
    revision: str | None = None
    """The aligner's commit, tag or branch on the Hub."""
