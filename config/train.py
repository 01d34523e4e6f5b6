"""[train]: light models on cached layers, or with encoders that are trained along."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from ..model_table import MODELS
from .base import (
    Count,
    Fraction,
    LayerChoice,
    ModelNames,
    ModelTable,
    Number,
    Positive,
    Section,
    Seed,
    Switch,
    no_nul,
)
from .features import Collapse
from .wording import DEVICE, nearest


class InputConfig(Section):
    """[train.inputs] text | audio | vision: which layers a model reads, cached or live.

    The keys below `live` are those of a live encoder.
    """

    encoder: Annotated[str, AfterValidator(no_nul)] = ""
    """As in [[features]]; unset: that of the modality's [[features]] table, where there is one."""
    layers: LayerChoice = -1
    """One layer, a list (stacked along the width), `"weighted"` (learned softmax over all blocks),
    or `"final"` (after the encoder's last norm)."""
    align: Literal["words"] | None = None
    """`words`: one row a word, its tokens or the frames heard and seen meanwhile made one; see
    [words]. Of live text, for a model that works inside the encoder: which token is of which word.
    """
    collapse: Collapse = "mean"
    """What becomes of several rows over one word under `align`."""
    live: Switch = False
    """Train the encoder along with the model, on words or sound; needs train.mode = "finetune"."""
    top: Positive | None = None
    """Train only so many blocks, counted down from the highest layer used. What is below stays as
    it is and is not computed at all where its hidden states are cached in full: text always, audio
    at the encoder's own rate. Unset: all but an audio encoder's convolutions."""
    lora: Positive | None = None
    """Rank of low-rank adapters trained in place of the encoder's weights; needs `peft`."""
    learning_rate: Annotated[Number, Field(ge=0)] | None = None
    """Peak rate of the encoder's weights; unset: that of the model's paper."""
    weight_decay: Annotated[Number, Field(ge=0)] | None = None
    """Weight decay of the encoder's weights; unset: that of the model's paper."""
    dropout: Annotated[Number, Field(ge=0, lt=1)] | None = None
    """Share dropped everywhere in the encoder; unset: what its own configuration says."""
    checkpointing: Switch = False
    """Keep no block's inner values for the backward pass but compute them again: less memory, a
    third more time."""
    seconds: Annotated[Number, Field(gt=0)] | None = None
    """Audio: only the first so many seconds of a clip are heard; MMML has 6."""
    budget: Positive | None = None
    """Tokens (text; 8192) or seconds (audio; 160) that one pass of the encoder may take up, padding
    counted. A batch with more goes through in several passes of like length, and each is computed
    again on the way back: still one step, but in bounded memory."""
    context: Literal["joined", "apart"] = "joined"
    """Text, for a model that reads the clips before: in one pass, or clip by clip."""


LIVE_KEYS = tuple(InputConfig.model_fields)[5:]
"""Keys of an input that mean something of a live encoder alone."""


class Inputs(Section):
    """[train.inputs]: a line a modality; leave a modality out and no model sees it.

    Without the table every modality is read that [[features]] has, the last layer of its encoder.
    """

    text: InputConfig | None = None
    audio: InputConfig | None = None
    vision: InputConfig | None = None


class _Unknown(str):
    """A key of [train] that is neither a field nor the name of a model."""


def _model_table(value: Any) -> Any:
    if isinstance(value, _Unknown):
        hint = nearest(value, [*TrainConfig.model_fields, *MODELS])
        raise ValueError(f"unknown key.{hint}")
    return value


class TrainConfig(Section):
    """[train]: light models on cached layers, or with encoders that are trained along."""

    mode: Literal["frozen", "finetune"] = "frozen"
    """`finetune` trains the encoders of inputs that are `live` together with the model."""
    models: ModelNames = ("uegd",)
    """Models to train, one after the other."""
    modalities: tuple[str, ...] | None = None
    """Subsets of T, A and V to train on, each a run of its own: `["TAV", "T", "A", "V"]`.
    Unset: all modalities of [train.inputs] together. A model's own table may name others."""
    seeds: tuple[Seed, ...] = (1111, 1112, 1113)
    """A run a seed."""
    inputs: Inputs = Inputs()
    preset: str | None = None
    """Corpus whose published settings each model starts from, where its paper has some: `mosi`,
    `mosei`, `sims`, … A model's own table may name another. Unset: the model's defaults."""
    task: Literal["auto", "regression", "classification", "dimensions", "emotions"] = "auto"
    """What is predicted: a score, a class, several scores (valence, arousal), or which emotions are
    there, where several may be; `auto` is the first of these that the corpus has."""
    criterion: str = "valid_loss"
    """What the kept epoch is best in, on validation: `valid_loss` (the task's own loss), or a
    metric by its key (`MAE`, `Corr`, `Non0_acc_2`, `Accuracy`, …)."""
    also: tuple[str, ...] = ()
    """Other criteria whose best epochs are scored and recorded as well; nothing else is kept of
    them."""
    epochs: Positive | None = None
    """Passes over the training split; the best one on validation is kept. This key and those down
    to `mask_width` are the model's recipe where they are unset, and may stand in its own table."""
    patience: Count | None = None
    """Stop after this many epochs without a better one; 0: run all epochs."""
    batch_size: Positive | None = None
    """Clips of a step."""
    accumulate: Positive | None = None
    """Batches whose gradients are summed before a step."""
    loss: Literal["l1", "l2", "huber", "ccc"] | None = None
    """Distance of score and label, or `ccc`: one less the concordance correlation of a batch.
    Classes are trained by cross-entropy, emotions by the binary one of each."""
    optimizer: Literal["adam", "adamw"] | None = None
    """How weight decay is applied: as part of the gradient (adam) or beside it (adamw)."""
    learning_rate: Annotated[Number, Field(gt=0)] | None = None
    """Peak of the schedule."""
    weight_decay: Annotated[Number, Field(ge=0)] | None = None
    """How far each step draws weights to zero, times the learning rate in adamw."""
    warmup: Fraction | None = None
    """Share of all steps in which the rate rises from zero."""
    schedule: Literal["cosine", "constant"] | None = None
    """What the rate does after the warm-up."""
    clip_norm: Annotated[Number, Field(ge=0)] | None = None
    """Largest gradient norm; 0: no clipping."""
    mask_time: Fraction | None = None
    """Largest share of a clip's frames hidden in training."""
    mask_width: Fraction | None = None
    """Largest share of the feature axis hidden in training."""
    missing_rate: Fraction = 0.0
    """Share of frames that are gone from training, validation and test clips alike, at random and
    for good: the incomplete setting of TFR-Net and EMT-DLFR. `sedimental robustness --incomplete`
    trains at every rate."""
    special_tokens: Literal["missing", "mean", "keep"] = "missing"
    """What becomes of [CLS] and [SEP] of cached text whose frames go missing, in training and in
    `sedimental robustness`: lost as any other; [CLS] the mean of the states that are left; or kept,
    though [CLS] has read every word. Before a live encoder words become [UNK], and both stay."""
    input_scaling: Literal["none", "standardize"] = "standardize"
    """`standardize`: each feature less its training mean, over its training deviation (of a live
    encoder, whose features move: each frame to mean 0 and deviation 1 over its features). Frozen
    layers differ in scale by orders of magnitude; on the demo corpus the mean validation MAE over
    two seeds is 0.76 against 1.05 with `none` for UEGD, 0.78 / 0.99 GLoMo, 0.84 / 1.03 EMT-DLFR,
    0.88 / 1.04 MMML, 1.20 / 1.35 SUGRM: hence the default."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Arithmetic of training; weights, losses and all scoring stay in fp32. `fp16` needs a GPU."""
    device: str = Field(default="auto", pattern=DEVICE)
    """As in [extract]."""
    threads: Positive = 1
    """CPU threads of one run; light models are slower with more."""
    memory_mb: Positive | None = None
    """Megabytes (10^6 bytes) that cached layers may take; an input that does not fit is read batch
    by batch, which changes no number. Unset: half of the memory that is free."""
    checkpoint_minutes: Annotated[Number, Field(ge=0)] = 10.0
    """Minutes of work within an epoch that a crash may cost: so often all is kept, and `train` goes
    on from there to the very numbers of a run without the crash. Between epochs it is kept anyway;
    together it takes at most a twentieth of the time. 0: between epochs alone. When the system
    asks to end (SIGTERM) all is kept at the next step."""
    tune: Positive = 30
    """Settings that `sedimental tune` tries of each model and subset; the first are the pipeline's
    own."""
    tracker: Literal["tensorboard", "mlflow", "wandb"] | None = None
    """Where else the curves of training go: files of TensorBoard or a database of MLflow in
    `trackers/` beside the runs, or Weights & Biases. Its package has to be installed."""
    stack: Literal["auto", "on", "off"] = "auto"
    """Seeds together: as one stacked model on a GPU, as a process a core on a CPU; `auto` where
    that is faster."""
    __pydantic_extra__: dict[str, Annotated[ModelTable, BeforeValidator(_model_table)]] = Field(
        init=False
    )
    """The table of each model, empty where the file has none."""
    model_config = ConfigDict(extra="allow")

    @model_validator(mode="before")
    @classmethod
    def _tables_of_models(cls, value: Any) -> Any:
        """A table for every registered model; any other key that is no field is a fault."""
        if not isinstance(value, Mapping):
            return value
        fields = cls.model_fields.keys()
        marked = {
            k: v if k in fields or k in MODELS else _Unknown(str(k)) for k, v in value.items()
        }
        return {name: {} for name in MODELS if name not in fields} | marked

    @property
    def live(self) -> "Mapping[str, InputConfig]":
        """The inputs whose encoders are trained, by modality."""
        named = ((m, getattr(self.inputs, m)) for m in Inputs.model_fields)
        return {m: one for m, one in named if one is not None and one.live}

    @property
    def aligned(self) -> bool:
        """Whether any input is aligned with words."""
        lines = (getattr(self.inputs, m) for m in Inputs.model_fields)
        return any(line is not None and line.align is not None for line in lines)

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

    @property
    def lacking(self) -> str:
        """Why [train] asks for no run at all; empty where it asks for some."""
        asked = {"models": self.models, "seeds": self.seeds, "modalities": self.modalities != ()}
        empty = [key for key, value in asked.items() if not value]
        several = ""
        if self.modalities is None and not self.subsets:
            empty.append("[train.inputs]")
            several = (
                " Where a modality has several encoders in [[features]], [train.inputs] names the "
                'one that is read: text = { encoder = "bert-large" }.'
            )
        words = " and ".join(empty)
        return f"[train] asks for no run: it lacks {words}.{several}" if empty else ""
