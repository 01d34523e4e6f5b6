"""pipeline.toml as types: one class a section, in the file's own order; every fault at once."""

import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from .errors import ConfigError as ConfigError  # the type of what load_config raises
from .faults import cross_faults, worded
from .faults import nearest as nearest

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


def _layer_choice(value: Any) -> Any:
    """One fault in plain words where pydantic would list one a member of the union."""
    numbers = value if isinstance(value, (list, tuple)) and value else [value]
    if value in ("weighted", "final") or all(type(n) is int for n in numbers):
        return tuple(value) if isinstance(value, list) else value
    raise ValueError('should be a layer number, a list of them, "weighted" or "final"')


def _listed(value: Any) -> Any:
    """One value as a list of one."""
    return (value,) if isinstance(value, str) else value


LayerChoice = Annotated[
    int | Literal["weighted", "final"] | tuple[int, ...], BeforeValidator(_layer_choice)
]
ModelName = Literal[
    "uegd",
    "emt_dlfr",
    "glomo",
    "sugrm",
    "mmml",
    "ef_lstm",
    "lf_dnn",
    "tfn",
    "lmf",
    "mult",
    "misa",
    "self_mm",
    "mmim",
    "tfr_net",
    "mag_bert",
]
MODEL_NAMES: tuple[str, ...] = get_args(ModelName)


class Section(BaseModel):
    """A table of pipeline.toml: immutable, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class CorpusConfig(Section):
    """[corpus]: the clips, their words and their labels."""

    kind: Literal["demo", "csv", "mmsa", "meld", "mustard", "urfunny", "cherma", "imported"] = (
        "demo"
    )
    """`demo` ships with the package; `csv` is any table; `mmsa` is label.csv and
    Raw/<video>/<clip>.mp4 (CMU-MOSI, CMU-MOSEI, CH-SIMS); `imported` is what `sedimental cache
    import` made of a file of features; the others are the corpora of their name, as they are
    published."""
    path: Path | None = None
    """The table (csv), the corpus's folder in the cache (imported) or the folder (any other),
    relative to pipeline.toml."""
    label: Literal["emotion", "sentiment"] = "emotion"
    """Which of MELD's two labels is the clip's class."""
    speakers: Literal["shared", "apart"] = "shared"
    """MUStARD has no splits of its own: clips drawn at random (`shared`), or the show Friends
    tested by models that saw the other shows (`apart`)."""
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][\w.-]*$")
    """Folder of this corpus in the cache and among the runs; by default taken from the path."""

    @property
    def slug(self) -> str:
        """Name of this corpus among the caches and the runs."""
        if self.name is None and self.path is not None:
            return self.path.stem if self.kind == "csv" else self.path.name
        return self.name or self.kind


class CacheConfig(Section):
    """[cache]: where features lie and how they are packed."""

    root: Path = Path("features")
    """Folder of all stores, relative to pipeline.toml."""
    format: Literal["zarr", "hdf5"] = "zarr"
    """What one part of a store is: a Zarr v3 group or an HDF5 file."""
    dtype: Literal["float16", "float32"] = "float16"
    """Stored number type; a value that does not fit is an error, never an infinity."""
    part_mb: Positive = 150
    """Size of one part in megabytes (10^6 bytes), the unit of writing, checking and resuming."""
    part_clips: Positive = 128
    """Most clips in one part, so that little is lost when small features are interrupted."""


class Features(Section):
    """What every [[features]] table has."""

    encoder: str
    """A preset (`sedimental extract --encoders`), a Hub id, or a `save_pretrained` folder."""
    weights: str | None = Field(default=None, pattern=r"^(hub|imported|random:\d+|.*/.*|\.)$")
    """`hub`, a folder with a slash in its name, or `random:<seed>`; unset: what the preset says.
    `imported`: nothing is extracted, `sedimental cache import` has brought features of this name,
    and the other keys of the table mean nothing."""
    revision: str | None = None
    """Commit, tag or branch on the Hub; the commit it resolves to is recorded."""
    layers: Literal["all"] | tuple[int, ...] = "all"
    """Which layers to keep: 0 is the embedding, n the output of block n, -1 the last block."""

    @property
    def imported(self) -> bool:
        """Whether the features were made elsewhere, so that there is nothing to extract."""
        return self.weights == "imported"


class VisionFeatures(Features):
    """[[features]] with modality = "vision": faces, a frame at a time."""

    modality: Literal["vision"]
    fps: Annotated[float, Field(gt=0)] = 3.0
    """Frames a second, picked by time stamp."""
    face_size: Positive = 256
    """Side of the square face crop in pixels."""
    margin: Annotated[int, Field(ge=0)] = 0
    """Pixels kept around the detected box, at the size of the crop."""
    no_face: Literal["zero", "hold", "full-frame"] = "zero"
    """A frame without a face: zero features, the face before it again, or the whole frame."""
    detect_size: Positive = 640
    """Frames whose longer side exceeds this many pixels are shrunk to it for the detector."""


class AudioFeatures(Features):
    """[[features]] with modality = "audio": the waveform."""

    modality: Literal["audio"]
    rate: Annotated[float, Field(gt=0, le=50)] = 5.0
    """Kept frames a second; 5 keeps every tenth 20 ms frame."""
    pool: Literal["stride", "mean"] = "stride"
    """Keep one frame of each hop, or the mean of its frames."""


class TextFeatures(Features):
    """[[features]] with modality = "text": the transcript."""

    modality: Literal["text"]
    max_length: Positive = 512
    """Tokens kept, special tokens counted."""
    context: Annotated[int, Field(ge=0)] = 0
    """Utterances of the same video and split read before the clip's own words, in one pass."""
    case: Literal["kept", "lower"] = "kept"
    """`lower`: all letters but the first become small, as MMML reads its transcripts."""


AnyFeatures = Annotated[
    VisionFeatures | AudioFeatures | TextFeatures, Field(discriminator="modality")
]


class ExtractConfig(Section):
    """[extract]: how stage 1 uses the machine; nothing here changes a number beyond rounding."""

    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """`auto` takes the first GPU, else the CPU."""
    precision: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    """Arithmetic of the encoders; `auto` is fp16 on a GPU and fp32 on a CPU."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Decoding threads; 0 = one a core."""


class InputConfig(Section):
    """[train.inputs] text | audio | vision: which layers a model reads, cached or live.

    The keys below `live` are those of a live encoder.
    """

    encoder: str
    """As in [[features]]."""
    layers: LayerChoice = -1
    """One layer, a list (stacked along the width), `"weighted"` (learned softmax over all blocks),
    or `"final"` (after the encoder's last norm)."""
    live: bool = False
    """Train the encoder along with the model, on words or sound; needs train.mode = "finetune"."""
    top: Positive | None = None
    """Train only so many blocks, counted down from the highest layer used. What is below stays as
    it is and is not computed at all where its hidden states are cached in full: text always, audio
    at the encoder's own rate. Unset: all but an audio encoder's convolutions."""
    lora: Positive | None = None
    """Rank of low-rank adapters trained in place of the encoder's weights; needs `peft`."""
    learning_rate: Annotated[float, Field(ge=0)] | None = None
    """Peak rate of the encoder's weights; unset: that of the model's paper."""
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    """Weight decay of the encoder's weights; unset: that of the model's paper."""
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Share dropped everywhere in the encoder; unset: what its own configuration says."""
    checkpointing: bool = False
    """Keep no block's inner values for the backward pass but compute them again: less memory, a
    third more time."""
    seconds: Annotated[float, Field(gt=0)] | None = None
    """Audio: only the first so many seconds of a clip are heard; MMML has 6."""
    budget: Positive | None = None
    """Tokens (text; 8192) or seconds (audio; 160) that one pass of the encoder may take up, padding
    counted. A batch with more goes through in several passes of like length, and each is computed
    again on the way back: still one step, but in bounded memory."""
    context: Literal["joined", "apart"] = "joined"
    """Text, for a model that reads the clips before: in one pass, or clip by clip."""


LIVE_KEYS = tuple(InputConfig.model_fields)[3:]
"""Keys of an input that mean something of a live encoder alone."""


class Inputs(Section):
    """[train.inputs]: a line a modality; leave a modality out and no model sees it."""

    text: InputConfig | None = None
    audio: InputConfig | None = None
    vision: InputConfig | None = None


class TrainConfig(Section):
    """[train]: light models on cached layers, or with encoders that are trained along."""

    mode: Literal["frozen", "finetune"] = "frozen"
    """`finetune` trains the encoders of inputs that are `live` together with the model."""
    models: tuple[ModelName, ...] = ("uegd",)
    """Models to train, one after the other."""
    modalities: tuple[str, ...] | None = None
    """Subsets of T, A and V to train on, each a run of its own: `["TAV", "T", "A", "V"]`.
    Unset: all modalities of [train.inputs] together. A model's own table may name others."""
    seeds: tuple[int, ...] = (1111, 1112, 1113)
    """A run a seed."""
    inputs: Inputs = Inputs()
    preset: str | None = None
    """Corpus whose published settings each model starts from, where its paper has some: `mosi`,
    `mosei`, `sims`, … A model's own table may name another. Unset: the model's defaults."""
    task: Literal["auto", "regression", "classification"] = "auto"
    """What is predicted: scores or classes; `auto` is scores where the corpus has any."""
    criterion: str = "valid_loss"
    """What the kept epoch is best in, on validation: `valid_loss` (the task's own loss), or a
    metric by its key (`MAE`, `Corr`, `Non0_acc_2`, `Accuracy`, …)."""
    also: tuple[str, ...] = ()
    """Other criteria whose best epochs are scored and recorded as well; nothing else is kept of
    them."""
    epochs: Positive | None = None
    """Passes over the training split; the best one on validation is kept. This key and those down
    to `mask_width` are the model's recipe where they are unset, and may stand in its own table."""
    patience: Annotated[int, Field(ge=0)] | None = None
    """Stop after this many epochs without a better one; 0: run all epochs."""
    batch_size: Positive | None = None
    accumulate: Positive | None = None
    """Batches whose gradients are summed before a step."""
    loss: Literal["l1", "l2", "huber"] | None = None
    """Distance of score and label; classes are trained by cross-entropy."""
    optimizer: Literal["adam", "adamw"] | None = None
    """How weight decay is applied: as part of the gradient (adam) or beside it (adamw)."""
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """Peak of the schedule."""
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    warmup: Fraction | None = None
    """Share of all steps in which the rate rises from zero."""
    schedule: Literal["cosine", "constant"] | None = None
    """What the rate does after the warm-up."""
    clip_norm: Annotated[float, Field(ge=0)] | None = None
    """Largest gradient norm; 0: no clipping."""
    mask_time: Fraction | None = None
    """Largest share of a clip's frames hidden in training."""
    mask_width: Fraction | None = None
    """Largest share of the feature axis hidden in training."""
    missing_rate: Fraction = 0.0
    """Share of frames that are gone from training, validation and test clips alike, at random and
    for good: the incomplete setting of TFR-Net and EMT-DLFR. `sedimental robustness --incomplete`
    trains at every rate."""
    input_scaling: Literal["none", "standardize"] = "standardize"
    """`standardize`: each feature less its training mean, over its training deviation. Frozen
    layers differ in scale by orders of magnitude; on the demo corpus the mean validation MAE over
    two seeds is 0.76 against 1.05 with `none` for UEGD, 0.78 / 0.99 GLoMo, 0.84 / 1.03 EMT-DLFR,
    0.88 / 1.04 MMML, 1.20 / 1.35 SUGRM: hence the default."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Arithmetic of training; weights, losses and all scoring stay in fp32. `fp16` needs a GPU."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """As in [extract]."""
    threads: Positive = 1
    """CPU threads of one run; light models are slower with more."""
    memory_mb: Positive | None = None
    """Megabytes (10^6 bytes) that cached layers may take; an input that does not fit is read batch
    by batch, which changes no number. Unset: half of the memory that is free."""
    checkpoint_minutes: Annotated[float, Field(ge=0)] = 10.0
    """Minutes of work within an epoch that a crash may cost: so often all is kept, and `train` goes
    on from there to the very numbers of a run without the crash. Between epochs it is kept anyway;
    together it takes at most a twentieth of the time. 0: between epochs alone. When the system
    asks to end (SIGTERM) all is kept at the next step."""
    stack: Literal["auto", "on", "off"] = "auto"
    """Seeds together: as one stacked model on a GPU, as a process a core on a CPU; `auto` where
    that is faster."""
    uegd: Mapping[str, Any] = Field(default_factory=dict)
    """Fields of UEGD's Options."""
    emt_dlfr: Mapping[str, Any] = Field(default_factory=dict)
    """Fields of EMT-DLFR's Options."""
    glomo: Mapping[str, Any] = Field(default_factory=dict)
    """Fields of GLoMo's Options."""
    sugrm: Mapping[str, Any] = Field(default_factory=dict)
    """Fields of SUGRM's Options."""
    mmml: Mapping[str, Any] = Field(default_factory=dict)
    """Fields of MMML's Options."""
    ef_lstm: Mapping[str, Any] = Field(default_factory=dict)
    """Fields of EF-LSTM's Options."""
    lf_dnn: Mapping[str, Any] = Field(default_factory=dict)
    """Fields of LF-DNN's Options."""
    tfn: Mapping[str, Any] = Field(default_factory=dict)
    """Fields of TFN's Options."""
    lmf: Mapping[str, Any] = Field(default_factory=dict)
    """Fields of LMF's Options."""
    mult: Mapping[str, Any] = Field(default_factory=dict)
    """Fields of MulT's Options."""
    tfr_net: Mapping[str, Any] = Field(default_factory=dict)
    """Fields of TFR-Net's Options."""
    mag_bert: Mapping[str, Any] = Field(default_factory=dict)
    """Fields of MAG-BERT's Options."""
    misa: Mapping[str, Any] = Field(default_factory=dict)
    """Fields of MISA's Options."""
    self_mm: Mapping[str, Any] = Field(default_factory=dict)
    """Fields of Self-MM's Options."""
    mmim: Mapping[str, Any] = Field(default_factory=dict)
    """Fields of MMIM's Options."""

    @property
    def live(self) -> "Mapping[str, InputConfig]":
        """The inputs whose encoders are trained, by modality."""
        named = ((m, getattr(self.inputs, m)) for m in Inputs.model_fields)
        return {m: one for m, one in named if one is not None and one.live}

    @property
    def frozen(self) -> "TrainConfig":
        """The same on cached layers alone."""
        lines = {
            m: one.model_copy(update={"live": False})
            for m in Inputs.model_fields
            if (one := getattr(self.inputs, m)) is not None
        }
        inputs = self.inputs.model_copy(update=lines)
        return self.model_copy(update={"mode": "frozen", "inputs": inputs})

    @property
    def subsets(self) -> tuple[str, ...]:
        """The subsets to train on, as letters."""
        given = "".join(
            m[0].upper() for m in ("text", "audio", "vision") if getattr(self.inputs, m)
        )
        return self.modalities if self.modalities is not None else (given,) if given else ()


class SweepConfig(Section):
    """[sweep]: which layer is best, modality by modality; the rest of the settings is [train]'s."""

    model: Annotated[tuple[ModelName, ...], BeforeValidator(_listed)] = ("uegd",)
    """One model, or a list of them."""
    layers: Literal["all"] | tuple[int, ...] = "all"
    """Stored layers to try, counted as in [train.inputs]."""
    weighted: bool = True
    """Also train on the learned weighted sum of all layers, to compare with."""
    modalities: tuple[Literal["T", "A", "V"], ...] | None = None
    """Modalities to try layers of, each alone; unset: all of [train.inputs]."""
    fusions: tuple[str, ...] | None = None
    """Subsets of several modalities to train on the layers picked: `["TAV", "TA"]`.
    Unset: all modalities of [train.inputs] together."""
    seeds: tuple[int, ...] | None = None
    """A run a seed; unset: those of [train]."""
    epochs: Positive | None = None
    """Passes over the training split; unset: those of [train]."""
    criterion: str | None = None
    """Validation metric by which a layer is picked; unset: `Corr`, or `Weighted_F1` for classes."""
    options: Mapping[str, Any] = Field(default_factory=dict)
    """Fields of the model's Options to try, each a list of values: `{ dropout = [0.1, 0.3] }`.
    Every combination is swept for itself."""
    processes: Annotated[int, Field(ge=0)] = 0
    """Runs trained at once on a CPU, each on one thread; 0 = one a core."""


class EvaluateConfig(Section):
    """[evaluate]: which numbers, and how sure."""

    protocol: Literal["mosi", "sims"] = "mosi"
    """Metric keys and bins: CMU-MOSI/MOSEI (labels in -3..3) or CH-SIMS (-1..1)."""
    bootstrap: Annotated[int, Field(ge=0)] = 1000
    """Resamples of the test clips for confidence intervals; 0: none."""


class RunsConfig(Section):
    """[runs]: where results lie."""

    root: Path = Path("runs")
    """Folder of all experiments, relative to pipeline.toml."""
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][\w.-]*$")
    """This experiment's folder; by default the corpus name."""


class Config(Section):
    """The whole of pipeline.toml."""

    corpus: CorpusConfig = CorpusConfig()
    cache: CacheConfig = CacheConfig()
    features: tuple[AnyFeatures, ...] = ()
    extract: ExtractConfig = ExtractConfig()
    train: TrainConfig = TrainConfig()
    sweep: SweepConfig | None = None
    """Unset: `sedimental run` sweeps nothing, `sedimental sweep` with these defaults."""
    evaluate: EvaluateConfig = EvaluateConfig()
    runs: RunsConfig = RunsConfig()

    @property
    def corpus_cache(self) -> Path:
        """Folder of this corpus's stores and manifest."""
        return self.cache.root / self.corpus.slug

    @property
    def experiment(self) -> Path:
        """Folder of this experiment's runs and report."""
        return self.runs.root / (self.runs.name or self.corpus.slug)

    @property
    def frozen(self) -> "Config":
        """The same pipeline on cached layers alone."""
        return self.model_copy(update={"train": self.train.frozen})

    def features_of(self, modality: str) -> "AnyFeatures | None":
        """The [[features]] table that [train.inputs] names for this modality, if it does."""
        wanted = getattr(self.train.inputs, modality)
        tables = (f for f in self.features if f.modality == modality)
        return next((f for f in tables if wanted is not None and f.encoder == wanted.encoder), None)

    def live_input(self, features: Features) -> "InputConfig | None":
        """The live input that trains the encoder of this [[features]] table, if one does."""
        modality = getattr(features, "modality", "")
        one = self.train.live.get(modality)
        return one if one is not None and one.encoder == features.encoder else None


TAGS: Mapping[str, type[BaseModel]] = {
    "vision": VisionFeatures,
    "audio": AudioFeatures,
    "text": TextFeatures,
}
"""The kinds of [[features]] tables, by their modality."""


Check = Callable[[Mapping[str, Any]], Iterable[str]]
"""Finds faults in the raw table that need knowledge of a stage: ``key.path: what is wrong``."""


def load_config(path: str | Path = "pipeline.toml", checks: Sequence[Check] = ()) -> Config:
    """Read and check the file at `path`; its relative paths become absolute.

    Raises ConfigError with every fault, each with its file, key path and nearest valid name.
    """
    file = Path(path)
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file. `sedimental init` writes one.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise ConfigError(f"{file}: not valid TOML: {fault}.") from None
    faults = [*cross_faults(raw, LIVE_KEYS), *(fault for check in checks for fault in check(raw))]
    try:
        config = Config.model_validate(raw)
    except ValidationError as found:
        faults = [worded(fault, Config, TAGS) for fault in found.errors()] + faults
    if faults:
        raise ConfigError("\n".join(f"{file}: {fault}" for fault in faults))
    return _rooted(config, file.resolve().parent)


def _rooted(config: Config, base: Path) -> Config:
    def at(section: Section, key: str) -> Section:
        value: Path | None = getattr(section, key)
        return section if value is None else section.model_copy(update={key: base / value})

    return config.model_copy(
        update={
            "corpus": at(config.corpus, "path"),
            "cache": at(config.cache, "root"),
            "runs": at(config.runs, "root"),
        }
    )
