"""What a model may ask of the training loop beyond a forward pass: methods the loop looks for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from torch import Tensor, nn

from ....cache.spec import Modality
from .interface import Batch, Output


@dataclass(frozen=True)
class Group:
    """Weights that share a learning rate and a weight decay."""

    parameters: tuple[nn.Parameter, ...]
    rate: float = 1.0
    """Times the run's learning rate."""
    weight_decay: float | None = None
    """None: the run's own."""


@runtime_checkable
class Grouped(Protocol):
    """A model whose weights do not all learn alike."""

    def groups(self) -> Sequence[Group]:
        """Every trainable weight in exactly one group."""


@dataclass(frozen=True)
class Training:
    """What a model that learns about clips may know before the first epoch."""

    table: int
    """Clips in the corpus table: `Batch.index` is below it."""
    index: Tensor
    """(training clips,) int64 rows of the table, on the model's device."""
    labels: Tensor
    """(training clips,) float, in the order of `index`."""
    seed: int


@runtime_checkable
class Remembers(Protocol):
    """A model that keeps something of every training clip (generated labels, feature banks).

    What it keeps lies in buffers, so that a checkpoint has it. Where several processes share a
    batch, `after_step` is told of all its clips: labels, index, targets, prediction and extras of
    which every one is (batch, …); there are no features and no losses.
    """

    def begin(self, training: Training) -> None:
        """Called once before the first epoch; where a run resumes, buffers are put back after."""

    def after_step(self, batch: Batch, output: Output, epoch: int) -> None:
        """Called after every training batch, without gradients; epochs count from 1."""


@runtime_checkable
class Forgets(Protocol):
    """A model that remembers clips, and can also be asked about those of another table."""

    def forget(self) -> None:
        """Nothing is known of any clip, as before `Remembers.begin`."""


@runtime_checkable
class AcrossClips(Protocol):
    """A model, or a part of one, whose answer or loss is no mean over the batch's clips: counts,
    shares, moments.

    What it sums over clips, and how many there are, goes through `total`. That is `alone` at first;
    where several processes share a batch, it is the sum over all of them, with gradients.
    """

    total: Callable[[Tensor], Tensor]


@runtime_checkable
class AmongClips(Protocol):
    """A model, or a part of one, whose loss compares the clips of a batch with each other.

    What it has of each clip, (clips, …), goes through `gather`. That is `alone` at first; where
    several processes share a batch, it has the rows of all clips, in order and with gradients.
    """

    gather: Callable[[Tensor], Tensor]


@runtime_checkable
class Contextual(Protocol):
    """A model that reads the clips before each clip in its video, as `Batch.previous`."""

    previous_clips: int
    """How many."""


Between = Callable[[Tensor, Tensor], Tensor]
"""Hidden states (clips, tokens, width) that leave a block, and which tokens are real, (clips,
tokens) -> the states that enter the next one."""


@runtime_checkable
class WithinText(Protocol):
    """A model that works inside a live text encoder, between two of its blocks.

    Its class says ``within_text = True``, by which `plan` and the config's checks know that there
    is no such model on cached text.
    """

    within_text: bool
    text_block: int
    """The block, from 1, behind which it works."""

    def between(self, batch: Batch, clips: Tensor) -> Between:
        """What it does to the text of the rows `clips` of `batch`, whose other modalities are read.

        Called once for every pass that the batch takes through the encoder.
        """


@runtime_checkable
class Stackable(Protocol):
    """A model whose forward pass `torch.func.vmap` can run for several seeds at once.

    Its shapes depend on no data, but for what `Packed` takes care of in `padded_mode`;
    no buffers.
    """

    stackable: bool


@dataclass(frozen=True)
class Recipe:
    """How a paper trains its model: what [train] takes for every key that it leaves unset."""

    learning_rate: float = 1e-4
    batch_size: int = 16
    epochs: int = 30
    patience: int | None = None
    weight_decay: float = 0.0
    warmup: float = 0.1
    schedule: Literal["cosine", "constant"] = "cosine"
    clip_norm: float | None = None
    clip_value: float | None = None
    """Largest entry of a gradient, either way; as in the reference toolkit gradients are clipped
    after every batch, those of a group as far as they are summed."""
    accumulate: int = 1
    """Batches whose gradients are summed before a step; the last, shorter group steps too."""
    whole_groups: bool = False
    """Whether that last group is dropped instead, as in the reference toolkit, where it is not the
    epoch's only one."""
    loss: Literal["l1", "l2", "huber", "ccc"] = "l1"
    mask_time: float = 0.0
    mask_width: float = 0.0
    optimizer: Literal["adam", "adamw"] = "adam"
    drops: tuple[int, ...] = ()
    """Epochs, from 1, at whose beginning the rate falls to a tenth of what the schedule says."""
    plateau: int | None = None
    """Epochs without a better validation loss after which, with one more, the rate falls to
    `plateau_factor` of what it was, and so on; None: never."""
    plateau_factor: float = 0.1
    source: str = field(default="", kw_only=True)
    """Where the numbers stand: paper and table."""


@dataclass(frozen=True)
class EncoderRecipe:
    """How a paper trains the encoder that it fine-tunes, in a group of its own."""

    learning_rate: float = 2e-5
    weight_decay: float = 0.01
    spare: bool = True
    """Whether biases and weights of norms are not decayed."""
    source: str = field(default="", kw_only=True)
    """Where the numbers stand."""


Targets = Mapping[Modality, Tensor]
"""Labels of single modalities, each (batch,), NaN where the corpus has none."""
