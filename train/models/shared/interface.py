"""What a fusion model is: padded, masked features of a batch in; scores and named terms out."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn

from ....cache.spec import Modality


@dataclass(frozen=True)
class InputShape:
    """What a model knows of one input before it sees data."""

    width: int
    """Length of a frame's feature vector."""
    layers: int | None = None
    """Number of layers the model must mix itself (`layers = "weighted"`); None: already one."""
    stacked: int = 1
    """Layers that lie side by side in `width`, each width / stacked long, in the order asked."""
    aligned: bool = False
    """Whether rows are words: row k of every aligned input is of the clip's k-th word, also where
    the mask says that this word has none of this modality."""


@dataclass(frozen=True)
class Batch:
    """Some clips, padded to the longest of them, on one device.

    A clip without features of a modality has no real frame in that mask. Padded frames are zero,
    but a model must not rely on it: the mask decides.
    """

    features: Mapping[Modality, Tensor]
    """(batch, frames, width), or (batch, layers, frames, width) for a weighted input; float."""
    masks: Mapping[Modality, Tensor]
    """(batch, frames) bool, True = real frame."""
    labels: Tensor
    """(batch,) float, or int64 class numbers where classes are predicted."""
    index: Tensor
    """(batch,) int64: each clip's row in the corpus table, for models that remember clips."""
    targets: Mapping[Modality, Tensor] = field(default_factory=dict)
    """Labels of single modalities, (batch,) float, NaN where a clip has none; empty where the
    corpus has none at all."""
    previous: tuple["Batch", ...] = ()
    """For a `hooks.Contextual` model, the clips before each clip in its video, nearest first, a
    batch of the same size a step back; where a video has no earlier clip, no frame is real."""

    live: Mapping[Modality, Tensor] = field(default_factory=dict)
    """For each modality that an encoder is yet to read: how many items (tokens, samples, …) each
    clip has, (batch,) int64 on the CPU. Its `features` are those items then, (batch, items, …), and
    its mask is that of the frames they will become. No fusion model sees a batch with any."""
    gone: Mapping[Modality, Tensor] = field(default_factory=dict)
    """Frames (batch, frames) of such a modality that are to be missing when it is read."""
    after: Mapping[Modality, Callable[[Tensor], Tensor]] = field(default_factory=dict)
    """What is done to the frames that come of such a modality."""
    reread: Mapping[Modality, Callable[[Tensor], Tensor]] = field(default_factory=dict)
    """For text that a live encoder has read: reads it again, to the same shape, with the tokens
    (batch, frames) it is given as [UNK]."""

    words: Mapping[Modality, Tensor] = field(default_factory=dict)
    """For tokens of aligned text that a live encoder reads: the number of the word that each is of,
    (batch, frames) int64, -1 of none."""

    @property
    def size(self) -> int:
        """Number of clips."""
        return len(self.labels)


@dataclass(frozen=True)
class Output:
    """What a model says about one batch."""

    prediction: Tensor
    """(batch,), in the labels' unit; or (batch, classes), unnormalised."""
    losses: Mapping[str, Tensor] = field(default_factory=dict)
    """Named scalars, means over the batch and already weighted, added to the task's own loss."""
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    """Named values of each clip, (batch, …), kept with the run: ``gate``."""
    representations: Mapping[str, Tensor] = field(default_factory=dict)
    """Vectors of each clip, (batch, width), without gradients, for the eye: ``fused``, what the
    head reads, and by a modality's name its own, where the model has such."""


def shaped(answers: Tensor) -> Tensor:
    """What a head gives, as a `prediction`: (batch, 1) -> (batch,); logits of classes stay."""
    return answers.squeeze(-1) if answers.shape[-1] == 1 else answers


class FusionModel(Protocol):
    """The part of `nn.Module` that the loop uses, with types; a model is an `nn.Module`."""

    def __call__(self, batch: Batch) -> Output:
        """Score the clips of `batch`."""

    def outputs(self) -> Mapping[str, Tensor]:
        """Named values of the model itself, kept with the run: ``layers_text`` (layers,)."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Trainable weights."""

    def state_dict(self) -> Mapping[str, Tensor]:
        """Every weight and buffer by name."""

    def load_state_dict(self, state: Mapping[str, Tensor]) -> Any:
        """Take the weights that `state_dict` gave."""

    def train(self, mode: bool = True) -> Any:
        """Switch dropout on."""

    def eval(self) -> Any:
        """Switch dropout off."""

    def to(self, device: Any) -> Any:
        """Move to a device, in place."""
