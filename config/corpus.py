"""[corpus]: which clips, their words and their labels."""

from typing import Literal

from pydantic import Field

from .base import FOLDER, Place, Section


class CorpusConfig(Section):
    """[corpus]: the clips, their words and their labels."""

    kind: Literal["demo", "csv", "mmsa", "meld", "mustard", "urfunny", "cherma", "imported"] = (
        "demo"
    )
    """`demo` ships with the package; `csv` is any table; `mmsa` is label.csv and
    Raw/<video>/<clip>.mp4 (CMU-MOSI, CMU-MOSEI, CH-SIMS); `imported` is what `sedimental cache
    import` made of a file of features; the others are the corpora of their name, as they are
    published."""
    path: Place | None = None
    """The table (csv), the corpus's folder in the cache (imported) or the folder (any other),
    relative to pipeline.toml."""
    label: Literal["emotion", "sentiment"] = "emotion"
    """Which of MELD's two labels is the clip's class."""
    speakers: Literal["shared", "apart"] = "shared"
    """MUStARD has no splits of its own: clips drawn at random (`shared`), or the show Friends
    tested by models that saw the other shows (`apart`)."""
    name: str | None = Field(default=None, pattern=FOLDER)
    """Folder of this corpus in the cache and among the runs; by default taken from the path."""

    @property
    def slug(self) -> str:
        """Name of this corpus among the caches and the runs."""
        if self.name is None and self.path is not None:
            return self.path.stem if self.kind == "csv" else self.path.name
        return self.name or self.kind
