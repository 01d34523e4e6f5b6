"""Live inputs: what `train` needs of an encoder that is trained along, and how its items come.

An encoder is none of train's business: `cli` (or `sedimental.train`) hands over a `FindLive`, and
everything else goes by the protocols here. What the encoder reads lies in a store like features;
`Reading` gathers it a batch at a time, with the masks of the frames that it will become.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...cache.runs import InputRecord
from ...cache.spec import FeatureSpec, Modality
from ...cache.store.store import Store
from ...config import Config, InputConfig
from ..models.shared.hooks import Between
from ..models.shared.interface import InputShape
from ..models.shared.missing_frames import hidden_frames
from .gatherer import Gatherer, real_frames
from .inputs import Input


class LiveEncoder(Protocol):
    """An `nn.Module` that makes frames of items."""

    paddable: bool
    """Whether clips of different lengths can share a pass."""

    def __call__(
        self,
        items: Tensor,
        sizes: Sequence[int],
        gone: Tensor | None = None,
        between: Between | None = None,
    ) -> Tensor:
        """Items (batch, …) of which `sizes` are real -> (batch, layers, frames, width).

        `gone` (batch, items) marks words to be read as unknown; `between` works behind the block
        that was opened. Both are for text.
        """

    def open_behind(self, block: int) -> None:
        """Make room for what works behind `block`, from 1; an error if it is not computed."""

    def groups(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Trained weights: matrices; biases and norms."""


class LiveInput(Protocol):
    """One input of [train.inputs] whose encoder is trained: found, not loaded."""

    @property
    def modality(self) -> Modality:
        """What it reads."""

    @property
    def settings(self) -> InputConfig:
        """Its line of [train.inputs]."""

    @property
    def record(self) -> InputRecord:
        """What the run folder says of it."""

    @property
    def spec(self) -> FeatureSpec:
        """Of the hidden states that the encoder gives before it is trained."""

    @property
    def store(self) -> Store:
        """What it reads."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Entries of the store that are read."""

    @property
    def start(self) -> int | None:
        """Block behind which the encoder begins; None: at its input."""

    @property
    def budget(self) -> int:
        """Items, padding counted, that one pass may take up."""

    @property
    def note(self) -> str:
        """What the user should know before training."""

    @property
    def joins(self) -> bool:
        """Whether several clips before are read in one pass."""

    def sizes(self) -> NDArray[np.int64]:
        """(clips of the store,) items of each."""

    def frames(self, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Frames that the encoder makes of so many items."""

    def items(self, rows: Tensor) -> Tensor:
        """Rows of the store (batch, rows, width) as the encoder wants them."""

    def join(self, ids: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        """Items of several clips, oldest first, as one."""

    def token_words(self) -> NDArray[np.int64] | None:
        """(rows of the store,) the number of the word that each token is of; None: not aligned."""

    def build(self, generator: torch.Generator) -> Any:
        """The `LiveEncoder`, with its first weights, on the CPU."""


FindLive = Callable[[Config, Modality, bool], LiveInput]
"""Finds the input of [train.inputs] of a modality; with True it reads words whatever is cached.
Raises an error with its remedy for what is not extracted or cannot be trained."""


def shape_of(one: Input | LiveInput) -> InputShape:
    """What a model must know of an input before it sees data."""
    count, width = len(one.record.layers), one.spec.width
    if one.record.weighted:
        return InputShape(width, layers=count)
    return InputShape(count * width, stacked=count)


@dataclass(frozen=True, kw_only=True)
class Reading(Gatherer):
    """A live modality of the corpus: what is gathered are items that its encoder is yet to read.

    `scaling` is that of a run of an earlier version: by the frames that the encoder gave before it
    was trained.
    """

    rows: Gatherer
    """Rows of the store that the encoder reads."""
    source: LiveInput
    sizes: Tensor
    """(clips,) int64 items of each clip."""
    normed: bool = False
    """Whether each frame, as the encoder gives it now, is brought to mean 0 and deviation 1 over
    its features. Scaling by what the untouched encoder gave is no use: a feature that was dead then
    and wakes up in training would come out a thousandfold."""
    words: Sequence[NDArray[np.int64]] | None = None
    """Of each clip the number of the word that each of its tokens is of; None: not aligned."""
    loss: tuple[float | None, int] | None = None
    """Share of frames that are lost when they are read (None: all, as if no clip had any), and the
    seed that says which. Of text the first and the last token stay, and so does what was said
    before in one pass."""

    def gathers(
        self, indices: Sequence[Tensor], device: torch.device
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Items (batch, …) and masks (batch, frames) of each of `indices` in turn."""
        known = [self._known(index) for index in indices]
        for index, (rows, _) in zip(known, self.rows.gathers(known, device), strict=True):
            yield self.source.items(rows), real_frames(self.lengths(index)).to(device)

    def items_of(self, index: Tensor) -> Tensor:
        """(batch,) items of each clip, on the CPU; none where the index is -1."""
        index = self._known(index)
        return self.sizes[index.clamp(min=0)] * (index >= 0)

    def before(
        self, chain: Sequence[Tensor], device: torch.device
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        """What the clips before, `chain` of indices from the nearest on, are read as in one pass;
        None: each by itself.

        Items (batch, items), masks (batch, frames), and how many items each has (batch,), on the
        CPU.
        """
        if not self.source.joins:
            return None
        ids = [self.gather(index, torch.device("cpu"))[0].numpy() for index in chain]
        sizes = [self.items_of(index).tolist() for index in chain]
        texts = [
            self.source.join([own[k, : n[k]] for own, n in zip(ids, sizes, strict=True)][::-1])
            for k in range(len(sizes[0]) if chain else 0)
        ]
        lengths = torch.tensor([len(text) for text in texts], dtype=torch.int64)
        items = torch.zeros(len(texts), max(1, *lengths.tolist()), dtype=torch.int64)
        for row, text in zip(items, texts, strict=True):
            row[: len(text)] = torch.from_numpy(text)
        mask = torch.arange(items.shape[1]) < lengths[:, None]
        return items.to(device), mask.to(device), lengths

    def gone(self, index: Tensor, device: torch.device) -> Tensor | None:
        """(batch, frames) frames that are to be missing when they are read; None: none."""
        rate, seed = self.loss or (None, 0)
        if rate is None:
            return None
        real = real_frames(self.lengths(index))
        return hidden_frames(real, index, self.source.modality, rate, seed, "keep").to(device)

    def words_of(self, index: Tensor, device: torch.device) -> Tensor | None:
        """(batch, frames) the number of the word that each token is of, -1 where there is none;
        None: not aligned."""
        if self.words is None:
            return None
        index = self._known(index)
        found = torch.full_like(real_frames(self.lengths(index)), -1, dtype=torch.int64)
        for row, clip in zip(found, index.tolist(), strict=True):
            if clip >= 0:
                words = self.words[clip]
                row[: len(words)] = torch.from_numpy(words)
        return found.to(device)

    def _known(self, index: Tensor) -> Tensor:
        whole = self.loss is None or self.loss[0] is not None
        return index if whole else torch.full_like(index, -1)


def laid_side_by_side(hidden: Tensor, weighted: bool) -> Tensor:
    """(batch, layers, frames, width), the layers side by side unless they are `weighted`."""
    return hidden if weighted else hidden.transpose(1, 2).flatten(2)


def passes(sizes: Sequence[int], budget: int, paddable: bool) -> list[list[int]]:
    """Positions of clips with items, in groups of like length; of equal length unless `paddable`.

    A group times its longest clip stays in `budget`, but for a clip longer than that.

    >>> passes([5, 1, 0, 4, 1], 8, True), passes([5, 1, 0, 4, 1], 8, False)
    ([[1, 4], [3], [0]], [[1, 4], [3], [0]])
    """
    found: list[list[int]] = []
    order = sorted((k for k, size in enumerate(sizes) if size), key=lambda k: (sizes[k], k))
    for k in order:
        group = found[-1] if found else []
        fits = (len(group) + 1) * sizes[k] <= budget
        if group and fits and (paddable or sizes[group[0]] == sizes[k]):
            group.append(k)
        else:
            found.append([k])
    return found


def live_of(inputs: Sequence[Any]) -> Mapping[Modality, LiveInput]:
    """Those of `inputs` that are live."""
    return {one.modality: one for one in inputs if one.record.live}
