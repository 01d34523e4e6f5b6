"""[corpus]: which clips, their words and their labels."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, Strict, field_validator

from ..registries import ADDED_CORPORA, CORPORA
from .base import FOLDER, Count, Fraction, Number, Place, Section, Seed, Switch
from .wording import nearest

_GENERIC = """
    all annotation annotations annots anno clip clips corpora corpus csv data dataset datasets dev
    emotion emotions example examples features file files final full gold home index info input
    label labels list manifest media meta metadata mnt my new old public raw release root sample
    samples sentiment sentiments set split splits subset table tables tag tags target targets test
    text texts tmp train training transcript transcripts tsv txt utterance utterances val valid
    validation video videos work workspace
"""
GENERIC = frozenset(_GENERIC.split())
"""Words that say nothing of which corpus a table is."""


SCALES: Mapping[str, tuple[float, float]] = {"iemocap": (1.0, 5.0), "msp-podcast": (1.0, 7.0)}
"""Of dimensions, as released."""


def _kind(name: str) -> str:
    known = (*CORPORA, *ADDED_CORPORA.places)
    if name not in known:
        hint = nearest(name, known) or f" Known: {', '.join(known)}."
        raise ValueError(f'"{name}" is no kind of corpus.{hint}')
    return name


CorpusKind = Annotated[str, AfterValidator(_kind)]


class CorpusConfig(Section):
    """[corpus]: the clips, their words and their labels."""

    kind: CorpusKind = "demo"
    """`demo` ships with the package; `csv` is any table; `mmsa` is label.csv and
    Raw/<video>/<clip>.mp4 (CMU-MOSI, CMU-MOSEI, CH-SIMS), `mosei` the same with six emotions;
    `imported` is what `sedimental cache import` made of a file of features; the others are the
    corpora of their name, as they are published: `meld`, `mustard`, `urfunny`, `cherma`, `iemocap`,
    `crema-d`, `ravdess`, `msp-podcast`, `mer2023`, `sims-v2`, and `emobox`, a fold of its splits.
    Installed packages may add others."""
    path: Place | None = None
    """The table (csv), the corpus's folder in the cache (imported) or the folder (any other),
    relative to pipeline.toml."""
    label: Literal["emotion", "sentiment"] = "emotion"
    """Which of MELD's two labels is the clip's class."""
    emotions: Literal["four", "six", "all"] = "four"
    """IEMOCAP's classes: anger, happiness with excitement, neutral and sadness; the same with
    excitement and frustration of their own; or all that were rated."""
    tests: Literal["test1", "test2", "test3"] = "test1"
    """Which test set of MSP-Podcast or MER2023 is read."""
    unlabelled: Switch = False
    """CH-SIMS v2, MER2023: also the clips without labels, as training clips; they are extracted,
    and training and scores leave them out."""
    range: tuple[Number, Number] | None = None
    """Lowest and highest score of dimensions, by which they are mapped onto another corpus's;
    unset: that of the corpus's release (IEMOCAP 1 to 5, MSP-Podcast 1 to 7)."""
    speakers: Literal["shared", "apart"] = "shared"
    """MUStARD has no splits of its own: clips drawn at random (`shared`), or the show Friends
    tested by models that saw the other shows (`apart`)."""
    split: Literal["table", "auto"] = "table"
    """`auto`: splits are dealt out anew, by whole speakers where every clip has one, else by whole
    videos, with like shares of the labels in each; a table then needs no split column."""
    fractions: tuple[Fraction, Fraction, Fraction] = (0.7, 0.1, 0.2)
    """Of the clips that are for training, validation and test under split = "auto"."""
    split_seed: Seed = 0
    """What is left to chance in `split = "auto"` and `folds`."""
    folds: Annotated[int, Strict(), Field(ge=3, le=1000)] | Literal["speaker"] | None = None
    """Cross-validation: so many parts, by whole speakers or videos as above, each tested once by
    models trained on the others (the next part is validated on); `"speaker"`: a part a speaker."""
    fold: Count | None = None
    """Train this part of `folds` alone, counted from 0: for a job a fold. Unset: all of them."""
    name: str | None = Field(default=None, pattern=FOLDER)
    """Folder of this corpus in the cache and among the runs; by default that of the table,
    or of its folder where any table may be called so."""

    @field_validator("range")
    @classmethod
    def _rising(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[0] >= value[1]:
            raise ValueError("should be the lowest and the highest score")
        return value

    @field_validator("fractions")
    @classmethod
    def _whole(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(value) <= 0 or abs(sum(value) - 1) > 0.001:
            raise ValueError("should be three shares above 0 that make 1 together")
        return value

    @property
    def scale(self) -> tuple[float, float] | None:
        """Of dimensions, where it is known."""
        return self.range or SCALES.get(self.kind)

    @property
    def slug(self) -> str:
        """Name of this corpus among the caches and the runs.

        Never a name that any corpus has, like that of ``label.csv``: the folder's stands in.
        """
        if self.name is not None or self.path is None:
            return self.name or self.kind
        whole = Path(os.path.abspath(self.path))  # noqa: PTH100
        names = [whole.stem if self.kind == "csv" else whole.name, *(p.name for p in whole.parents)]
        return next((name for name in names if name and not is_generic(name)), self.kind)

    @property
    def earlier_slug(self) -> str:
        """What earlier versions called it: after its path, however little that says."""
        if self.name is not None or self.path is None:
            return self.slug
        return self.path.stem if self.kind == "csv" else self.path.name


def is_generic(name: str) -> bool:
    """Whether a file or folder of any corpus may bear `name`.

    >>> is_generic("label"), is_generic("Train_labels-v2"), is_generic("MOSI"), is_generic("mosi")
    (True, True, False, False)
    """
    words = [word for word in re.split(r"[\W\d_]+", name.lower()) if word not in ("", "v")]
    return all(word in GENERIC for word in words)
