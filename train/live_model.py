"""A fusion model with its encoders in front: to the training loop, one model among others."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, pad
from torch.utils.checkpoint import checkpoint

from ..cache.spec import Modality
from .data.live_inputs import LiveEncoder, Reading, laid_side_by_side, passes
from .fit.optimizer import groups_of
from .models.shared.hooks import (
    Between,
    Contextual,
    Forgets,
    Group,
    Remembers,
    Training,
    WithinText,
)
from .models.shared.interface import Batch, FusionModel, Output


@dataclass(frozen=True)
class Tuning:
    """How one live encoder is trained, every key resolved."""

    learning_rate: float
    """Peak rate of its weights."""
    weight_decay: float
    """Of its matrices."""
    spare: bool
    """Whether biases and norms are not decayed."""


class LiveModel(nn.Module):
    """Reads the live modalities of a batch and hands an ordinary batch to the fusion model.

    A batch that takes up more than an encoder's budget goes through it in passes of like length,
    each computed again on the way back. The step is the same up to rounding (and, with dropout, its
    draws); the fusion model, with all that looks at a batch as a whole, sees the whole of it.
    """

    def __init__(
        self,
        fusion: FusionModel,
        encoders: Mapping[Modality, Any],
        readings: Mapping[Modality, Reading],
        tuning: Mapping[Modality, Tuning],
        learning_rate: float,
    ) -> None:
        """`learning_rate` is the run's own, which the rates of `tuning` are set against."""
        super().__init__()
        self.fusion: Any = fusion
        self.encoders = nn.ModuleDict({str(m): encoder for m, encoder in encoders.items()})
        self._readings, self._tuning, self._rate = dict(readings), dict(tuning), learning_rate
        for m, reading in readings.items():
            for name in ("mean", "deviation"):
                value = None if reading.scaling is None else getattr(reading.scaling, name)
                # the run's file has them among its inputs
                self.register_buffer(f"{name}_{m}", value, persistent=False)
        self._inside = fusion if isinstance(fusion, WithinText) and "text" in encoders else None
        if self._inside is not None:
            self._encoder("text").open_behind(self._inside.text_block)

    @property
    def previous_clips(self) -> int:
        """As the fusion model has it."""
        return self.fusion.previous_clips if isinstance(self.fusion, Contextual) else 0

    def forward(self, batch: Batch) -> Output:
        """What the fusion model says of the batch once it is read."""
        output: Output = self.fusion(self.read(batch))
        return output

    def read(self, batch: Batch) -> Batch:
        """`batch` with hidden states for items; each modality is read when it is asked for."""
        readers = dict[Modality, Callable[[], Tensor]]()
        again = dict[Modality, Callable[[Tensor], Tensor]]()
        done = replace(
            batch,
            features=Lazily(batch.features, readers),
            live={},
            gone={},
            after={},
            reread=again,
            previous=tuple(self.read(before) for before in batch.previous),
        )
        for m in batch.live:
            readers[m] = partial(self._frames, batch, done, m)
            if m == "text":
                again[m] = partial(self._frames, batch, done, m)
        return done

    def begin(self, training: Training) -> None:
        """Hand on to a fusion model that remembers clips."""
        if isinstance(self.fusion, Remembers):
            self.fusion.begin(training)

    def forget(self) -> None:
        """Hand on to a fusion model that remembers clips."""
        if isinstance(self.fusion, Forgets):
            self.fusion.forget()

    def after_step(self, batch: Batch, output: Output, epoch: int) -> None:
        """Hand on to a fusion model that remembers clips."""
        if isinstance(self.fusion, Remembers):
            self.fusion.after_step(batch, output, epoch)

    def groups(self) -> Sequence[Group]:
        """The fusion model's own, and two an encoder: matrices, and biases and norms."""
        found = groups_of(self.fusion)
        for m, tuning in self._tuning.items():
            matrices, rest = self._encoder(m).groups()
            rate = tuning.learning_rate / self._rate
            found.append(Group(tuple(matrices), rate, tuning.weight_decay))
            found.append(Group(tuple(rest), rate, 0.0 if tuning.spare else tuning.weight_decay))
        return found

    def outputs(self) -> Mapping[str, Tensor]:
        """The fusion model's own; of live text it is tokens that go missing, not their states."""
        found = dict(self.fusion.outputs())
        if "text" in self.encoders and found.pop("text_states_zeroed", None) is not None:
            found["text_tokens_masked"] = torch.ones(())
        return found

    def state_dict(self) -> Mapping[str, Tensor]:  # type: ignore[override]
        """Weights by name but for those that are never trained: the encoder's checkpoint has
        them."""
        frozen = self._frozen()
        return {k: v for k, v in super().state_dict().items() if k not in frozen}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> Any:  # type: ignore[override]
        """Take the weights that `state_dict` gave; raises RuntimeError for any other set."""
        missing, unexpected = super().load_state_dict(state, strict=False)
        lacking = sorted(set(missing) - self._frozen())
        if lacking or unexpected:
            raise RuntimeError(f"weights missing: {lacking}; not known here: {unexpected}.")
        return None

    def _frozen(self) -> set[str]:
        """Names of encoders' weights that are not trained, and of their buffers."""
        trained = {k for k, weight in self.named_parameters() if weight.requires_grad}
        return {
            name
            for name in super().state_dict()
            if name.startswith("encoders.") and name not in trained
        }

    def _encoder(self, m: Modality) -> LiveEncoder:
        found: Any = self.encoders[m]
        encoder: LiveEncoder = found
        return encoder

    def _frames(self, batch: Batch, done: Batch, m: Modality, gone: Tensor | None = None) -> Tensor:
        """([batch, layers, frames, width] or without layers), scaled; zero where not real.

        `done` is `batch` as it will be, of which the other modalities can be asked for. `gone`
        (batch, frames): words that are read as unknown, frames of sound that are zero.
        """
        sizes: list[int] = batch.live[m].tolist()
        lost, mask, encoder = batch.gone.get(m), batch.masks[m], self._encoder(m)
        if gone is not None:
            lost = gone if lost is None else lost | gone
        words = lost if m == "text" else None
        source, shape = self._readings[m].source, self._readings[m].shape
        groups = passes(sizes, source.budget, encoder.paddable)
        cost = sum(len(group) * max(sizes[k] for k in group) for group in groups)
        again = cost > source.budget and torch.is_grad_enabled() and self._learns(m)
        parts, order = list[Tensor](), list[int]()
        for group in groups:
            own = [sizes[k] for k in group]
            items = batch.features[m][group, : max(own)]
            hidden = None if words is None else words[group, : max(own)]
            between = self._between(done, group, mask.device) if m == "text" else None
            if again:
                found = checkpoint(encoder, items, own, hidden, between, use_reentrant=False)
            else:
                found = encoder(items, own, hidden, between)
            laid = self._scaled(laid_side_by_side(found, shape.layers is not None), m)
            parts.append(pad(laid, (0, 0, 0, mask.shape[1] - laid.shape[-2])))
            order += group
        real = mask if m == "text" or lost is None else mask & ~lost
        wide = real[:, :, None] if shape.layers is None else real[:, None, :, None]
        if not parts:  # not a clip of this batch has anything to read
            layers = (shape.layers,) if shape.layers else ()
            return mask.new_zeros(len(mask), *layers, mask.shape[1], shape.width).float()
        joined = torch.cat(parts)
        if order != list(range(len(mask))):
            place = torch.tensor(order, device=joined.device)
            joined = joined.new_zeros(len(mask), *joined.shape[1:]).index_copy(0, place, joined)
        made = joined.masked_fill(~wide, 0)
        return batch.after[m](made) if m in batch.after else made

    def _between(self, done: Batch, group: Sequence[int], device: torch.device) -> Between | None:
        """What the fusion model does inside the text encoder, to the clips of one pass."""
        if self._inside is None:
            return None
        return self._inside.between(done, torch.tensor(group, device=device))

    def _learns(self, m: Modality) -> bool:
        return any(len(group) for group in self._encoder(m).groups())

    def _scaled(self, hidden: Tensor, m: Modality) -> Tensor:
        reading = self._readings[m]
        if reading.normed:  # each layer for itself, also where several lie side by side
            parts = hidden.reshape(*hidden.shape[:-1], reading.shape.stacked, -1)
            return layer_norm(parts, parts.shape[-1:]).flatten(-2)
        mean, deviation = getattr(self, f"mean_{m}"), getattr(self, f"deviation_{m}")
        if mean is None:
            return hidden
        if hidden.dim() == 4:  # (batch, layers, frames, width) by (layers, width)
            mean, deviation = mean.unsqueeze(1), deviation.unsqueeze(1)
        scaled: Tensor = (hidden - mean) / deviation
        return scaled


class Lazily(Mapping[Modality, Tensor]):
    """Features of a batch, those of live modalities read once, when first asked for."""

    def __init__(
        self, items: Mapping[Modality, Tensor], readers: dict[Modality, Callable[[], Tensor]]
    ) -> None:
        self._values, self._readers = dict(items), readers

    def __getitem__(self, m: Modality) -> Tensor:
        if m in self._readers:
            self._values[m] = self._readers.pop(m)()
        return self._values[m]

    def __iter__(self) -> Iterator[Modality]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
