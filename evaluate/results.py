"""The values a report consists of: everything a reader needs, nothing about how it is shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any, Literal

from ..cache.runs import InputRecord, OtherCriterion, Run
from ..cache.runs.identity import variants
from ..cache.spec import LETTERS, MODALITIES, Several, Split
from ..cache.sweeps import Sweep
from ..result_table import ResultTable
from .analysis.analysis import Analyses
from .analysis.cross_corpus import CrossCorpus
from .analysis.missing_rates import Robustness
from .analysis.published import Published
from .json_values import plain
from .metrics import Scheme
from .protocols import CorpusProtocol, protocol_of
from .selection import LeftOut
from .statistics import FEWEST_GROUPS, Difference, Spread


@dataclass(frozen=True, repr=False)
class Drawing:
    """A finished figure for an HTML page; a notebook shows it."""

    key: str
    title: str
    caption: str
    """What is drawn, and how to read it."""
    svg: str
    """An ``<svg>`` element; its colours follow the page. Empty: the figure would say nothing, and
    the caption says why."""
    wide: bool = False
    """Whether it takes the whole width of the page."""
    row: str = ""
    """The row it is of, where each row has one of its own and the reader chooses."""
    figure: Any = field(default=None, repr=False, compare=False)
    """What matplotlib has drawn, for files of other types."""

    def __repr__(self) -> str:
        """Its title alone."""
        return f"Drawing({self.key!r}, {self.title!r})"

    def _repr_html_(self) -> str:
        """The figure with its title and caption."""
        return f"<h4>{escape(self.title)}</h4>{self.svg}<p>{escape(self.caption)}</p>"


@dataclass(frozen=True)
class Row:
    """One line of the results table: a model on a subset of modalities, over its seeds."""

    model: str
    letters: str
    """Modalities in short: ``TAV``; empty for the floor, which looks at nothing."""
    seeds: tuple[int, ...]
    test: Mapping[str, Spread]
    """By metric key, in the protocol's order."""
    valid: Mapping[str, Spread]
    parameters: int
    """Trainable weights."""
    best_epochs: tuple[int, ...]
    """The epoch that validation chose, a seed each."""
    seconds: float
    """Mean training time of one seed."""
    epoch_seconds: float = float("nan")
    """Median time of one epoch, validation included, over all seeds; NaN without epochs."""
    memory: int = 0
    """Most bytes at a time of any seed, its features included; 0: not measured."""
    training: str = "frozen"
    """Of the encoders: ``frozen`` or ``fine-tuned``."""

    @property
    def name(self) -> str:
        """``uegd TAV``: unique among the rows."""
        return f"{self.model} {self.letters}".strip()


@dataclass(frozen=True)
class Caution:
    """Something a reader must know before believing a number."""

    kind: Literal["untrained", "warning", "note"]
    text: str


@dataclass(frozen=True)
class InputUse:
    """One input of the experiment and the rows that read it."""

    record: InputRecord
    rows: tuple[str, ...]

    @property
    def untrained(self) -> bool:
        """Whether the encoder had random weights."""
        return self.record.untrained


@dataclass(frozen=True)
class RunLine:
    """One training run, as the per-seed table shows it."""

    row: str
    seed: int
    key: str
    best_epoch: int
    epochs: int
    seconds: float
    valid: Mapping[str, float]
    test: Mapping[str, float]
    rivals: Mapping[str, OtherCriterion]
    """What other criteria would have kept, by their names."""


@dataclass(frozen=True)
class RowSettings:
    """What one row was trained with; nothing of any other row. Dotted key -> value."""

    name: str
    recipe: Mapping[str, str]
    """The resolved keys of [train]; empty tables are left out."""
    options: Mapping[str, str]
    """The model's own, resolved."""
    environment: Mapping[str, str]
    """Versions and machine, where not all rows have the same."""


@dataclass(frozen=True)
class Provenance:
    """Where the numbers come from."""

    version: str
    """Of this package."""
    commit: str
    """Of its code, where it lies in a git checkout, marked where files differ from it; or empty."""
    lock: str
    """Digest of the versions of all packages that are installed beside it."""
    written: str
    """When the report was made, UTC, ISO 8601."""
    manifest: str | None
    """Digest of the corpus table; None: no manifest was given."""
    criterion: str
    """What the chosen epochs are best in, on validation."""
    rows: tuple[RowSettings, ...]
    environment: Mapping[str, str]
    """Versions and machine of the training runs, as far as they are those of all rows."""
    resamples: int
    """Bootstrap resamples of the test videos; 0: no intervals."""


@dataclass(frozen=True)
class Tuned:
    """What training the encoders along gave one model, and what it cost."""

    frozen: Row
    finetuned: Row
    differences: Mapping[str, Difference]
    """Fine-tuned minus frozen on the same test clips, by metric; empty without bootstrap."""


@dataclass(frozen=True, repr=False)
class Report(ResultTable):
    """The results of one experiment folder."""

    name: str
    """The experiment's folder name."""
    corpus: str
    protocol: str
    """Its key: ``mosi``, ``sims``, or ``classes``."""
    classes: tuple[str, ...]
    """Names of the classes; empty where scores are predicted."""
    rows: tuple[Row, ...]
    baseline: Row
    """The floor: the mean training label, or the most frequent class."""
    probe: Row | None
    """The best linear probe, if `sedimental sweep` or `sweep --probe` left one."""
    headline: str
    """Name of the row with the best validation correlation; test had no say in it."""
    differences: Mapping[str, Mapping[str, Difference]]
    """Headline minus each other row, by row name and metric; empty without bootstrap."""
    tuned: tuple["Tuned", ...]
    """Every model on the same inputs with frozen and with fine-tuned encoders."""
    test_clips: int
    test_videos: int
    coverage: Mapping[Split, Mapping[str, int]]
    """Per split: ``clips``, and how many of them have features of each modality."""
    cautions: tuple[Caution, ...]
    """The gravest first."""
    inputs: tuple[InputUse, ...]
    runs: tuple[RunLine, ...]
    analyses: Analyses
    published: tuple[Published, ...]
    """Numbers from papers on this corpus."""
    sweeps: tuple[Sweep, ...]
    """Scores layer by layer: the probe's, then the sweep's."""
    robustness: tuple[Robustness, ...]
    """Scores under missing features, a row each."""
    drawings: tuple[Drawing, ...]
    """Figures that need more of the runs than stands here."""
    provenance: Provenance
    cross: tuple[CrossCorpus, ...] = ()
    """Rows on the test clips of other corpora."""
    several: Several | None = None
    """The dimensions or emotions of which each clip has a label; None: it has one."""
    left_out: tuple[LeftOut, ...] = ()
    """Runs of the experiment that do not belong in it."""
    news: tuple[str, ...] = ()
    """What changed in the corpus since its features were made."""
    faces: Mapping[str, bytes] = field(default_factory=dict)
    """JPEGs of the face crops of the worst clips by id, where media are at hand."""

    @property
    def title(self) -> str:
        """What was scored, and whether it means anything."""
        said = f"{self.corpus}, {self.test_clips} test clips, best on validation: {self.headline}"
        return said + (f"; untrained: {', '.join(self.untrained)}" if self.untrained else "")

    def records(self) -> Sequence[Mapping[str, Any]]:
        """A row a model and floor: mean and standard deviation over seeds of each test metric."""
        return [
            {
                "model": row.model,
                "inputs": row.letters,
                "seeds": len(row.seeds),
                **{key: spread.mean for key, spread in row.test.items()},
                **{f"{key} ±": spread.std for key, spread in row.test.items() if row.seeds[1:]},
            }
            for row in (*self.rows, *self.floors)
        ]

    @property
    def metrics(self) -> CorpusProtocol:
        """What the metric keys mean and how they are printed."""
        return protocol_of(self.scheme)

    @property
    def scheme(self) -> Scheme:
        """How clips are scored."""
        return self.classes or self.several or self.protocol

    @property
    def floors(self) -> tuple[Row, ...]:
        """The rows that models must beat: the floor and, where there is one, the best probe."""
        return (self.baseline,) if self.probe is None else (self.baseline, self.probe)

    @property
    def best(self) -> Row:
        """The headline row."""
        return self.row(self.headline)

    @property
    def untrained(self) -> tuple[str, ...]:
        """Encoders with random weights, as ``audio tiny-wavlm``; each once."""
        named = (
            f"{use.record.modality} {use.record.encoder}" for use in self.inputs if use.untrained
        )
        return tuple(dict.fromkeys(named))

    @property
    def drawn_over(self) -> str:
        """What the bootstrap draws: ``videos``, or ``clips`` where there are too few videos."""
        return "videos" if self.test_videos >= FEWEST_GROUPS else "clips"

    def row(self, name: str) -> Row:
        """The row of that name, the floors included; KeyError if there is none."""
        for row in (*self.rows, *self.floors):
            if row.name == name:
                return row
        raise KeyError(name)

    @property
    def without_text(self) -> "Report":
        """The same without what any clip says."""
        worst = tuple(replace(clip, text="") for clip in self.analyses.worst)
        return replace(self, analyses=replace(self.analyses, worst=worst))

    @property
    def embeds(self) -> Mapping[str, int]:
        """Of how many clips the page shows the transcript, and of how many the face."""
        return {
            "transcripts": sum(bool(clip.text) for clip in self.analyses.worst),
            "faces": len(self.faces),
        }

    def to_json(self) -> dict[str, Any]:
        """All but per-clip values and pictures as plain JSON values; undefined numbers are None."""
        kept = plain(replace(self, drawings=(), faces={}))
        del kept["drawings"], kept["faces"]
        added = {"drawn_over": self.drawn_over, "embeds": self.embeds}
        return {**kept, "untrained": list(self.untrained), **added}


def grouped(runs: Sequence[Run]) -> dict[str, tuple[Run, ...]]:
    """Runs by row: models as they come, more modalities first, then T, A, V; seeds ascending.

    A row is one configuration. Where there are several of the same model and modalities, the names
    say in what they differ: ``uegd (epochs 20) TAV``.
    """
    models = list(dict.fromkeys(run.label for run in runs))
    order = [LETTERS[m] for m in MODALITIES]

    def place(run: Run) -> tuple[int, int, list[int], int]:
        letters = [order.index(letter) for letter in run.letters]
        return models.index(run.label), -len(letters), letters, run.seed

    rows: dict[str, dict[str, list[Run]]] = {}
    for run in sorted(runs, key=place):
        own = run.identity.digest if run.identity else ""
        rows.setdefault(run.row, {}).setdefault(own, []).append(run)
    return {
        f"{model} {own[0].letters}": tuple(own)
        for each in rows.values()
        for model, own in zip(_model_names(each), each.values(), strict=True)
    }


def _model_names(each: Mapping[str, Sequence[Run]]) -> list[str]:
    """What the rows of several configurations call their model."""
    first = [own[0] for own in each.values()]
    apart = variants([run.identity.configuration if run.identity else {} for run in first])
    return [f"{run.label} ({a})" if a else run.label for run, a in zip(first, apart, strict=True)]
