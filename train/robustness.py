"""What trained runs still know when features go missing: scored again on damaged test clips.

As in TFR-Net (Yuan et al., ACM MM 2021) and EMT-DLFR (arXiv:2208.07589): each real frame is lost
with the missing rate, its features replaced by zeros, while the model is told that it is there. A
frame lost at one rate is lost at every higher one. Whole modalities can be taken away as well: then
the clip has none of their frames, as one that failed in extraction.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from ..cache.progress import Progress, Silent
from ..cache.spec import LETTERS, Modality
from ..config import Config
from .data import Gatherer, Items, Selection
from .live import FindLive, Reading, live_of
from .loop import predict
from .models.base import FusionModel, InputShape
from .models.hooks import Remembers, Training
from .plan import Plan
from .run import Workshop, built
from .scaling import Scaling

TASK = "robustness"
"""The one task whose progress is told: damaged test sets."""
FILE = "robustness.npz"
"""Beside run.json; `evaluate.robust` reads it."""
VERSION = 1


@dataclass(frozen=True)
class Case:
    """One way of losing features."""

    kind: str
    """``rate``: frames at random; ``drop``: a whole modality."""
    of: str
    """A modality's letter, or ``all``."""
    rate: float


def robustness(
    config: Config,
    rates: Sequence[float],
    masks: int = 1,
    progress: Progress | None = None,
    fresh: bool = False,
    live: FindLive | None = None,
) -> tuple[Path, ...]:
    """Test every finished run of [train]; the answers lie as ``robustness.npz`` in its folder.

    Each of `rates` is tried on all modalities together and, for runs on several, on each alone,
    with `masks` random masks from the run's seed. A run that was tested so before is not tested
    again unless `fresh`; one that is not trained is left out. `live` finds inputs whose encoders
    were trained along: their words are lost before they are read, as [UNK]. Returns the files, of
    all runs.
    """
    told = progress or Silent()
    shop = Workshop(config, told, live)
    plans = [plan for plan in shop.plans if plan.finished() is not None and _whole(plan, told)]
    cases = {plan.title: _cases(plan, rates) for plan in plans}
    told.start(TASK, sum(len(own) for own in cases.values()) * masks, "test set")
    found = []
    for plan in plans:
        file, own = plan.folder / FILE, cases[plan.title]
        if fresh or _head(file) != _wanted(plan, own, masks):
            data = shop.open(plans).select(plan.modalities)
            model = restore(plan, data)
            values = np.empty((len(own), masks, len(data.rows["test"])))
            for number, case in enumerate(own):
                for mask in range(masks):
                    values[number, mask] = _answers(model, damaged(data, case, plan.seed, mask))
                    told.advance(TASK)
            _write(file, _wanted(plan, own, masks), values)
        else:
            told.advance(TASK, len(own) * masks)
        found.append(file)
    return tuple(found)


def restore(plan: Plan, data: Selection) -> FusionModel:
    """The model of a finished run with its best weights, on the device of `data`."""
    model = built(plan, data)
    rows = data.rows["train"].to(data.labels.device)
    if isinstance(model, Remembers):  # makes room for what it remembers of each clip
        with torch.no_grad():
            model.begin(Training(len(data.table.ids), rows, data.labels[rows], plan.seed))
    weights = load_file(plan.folder / "weights.safetensors")
    model.load_state_dict({k: v for k, v in weights.items() if not k.startswith("inputs.")})
    return model


def damaged(data: Selection, case: Case, seed: int, mask: int = 0) -> Selection:
    """`data` as `case` leaves it; the same frames are lost whatever batch they are in."""
    sources: dict[Modality, Gatherer] = {}
    for modality, source in data.sources.items():
        if case.of not in ("all", LETTERS[modality]):
            sources[modality] = source
        else:
            draws = None if case.kind == "drop" else _draws(source, modality, seed, mask)
            if isinstance(source, Reading):
                sources[modality] = _LossyItems(source, draws, case.rate, modality == "text")
            else:
                sources[modality] = _Lossy(source, draws, case.rate)
    return replace(data, sources=sources)


def _whole(plan: Plan, progress: Progress) -> bool:
    """Whether words can be taken away from the run; where they were read before, they cannot."""
    text = live_of(plan.inputs).get("text")
    if text is None or text.start is None:
        return True
    progress.note(
        f"{plan.title}: left out; its text begins at cached hidden states (train.inputs.text.top), "
        "which have read every word"
    )
    return False


@dataclass(frozen=True)
class _Lossy:
    """A modality that comes with losses; without `draws`, as if no clip had it."""

    whole: Gatherer
    draws: Tensor | None
    """(clips, frames) uniform numbers: a frame is lost at every rate above its own."""
    rate: float

    @property
    def shape(self) -> InputShape:
        return self.whole.shape

    @property
    def length_here(self) -> Tensor:
        return self.whole.length_here

    @property
    def present(self) -> NDArray[np.bool_]:
        return self.whole.present

    @property
    def scaling(self) -> Scaling | None:
        return self.whole.scaling

    def gather(self, index: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        return self._lose(index, *self.whole.gather(index, device))

    def gathers(
        self, indices: Sequence[Tensor], device: torch.device
    ) -> Iterator[tuple[Tensor, Tensor]]:
        for index, pair in zip(indices, self.whole.gathers(indices, device), strict=True):
            yield self._lose(index, *pair)

    def _lose(self, index: Tensor, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        if self.draws is None:
            return torch.zeros_like(features), torch.zeros_like(mask)
        lost = self.draws[index.clamp(min=0), : mask.shape[1]].to(mask.device) < self.rate
        if features.dim() == 4:  # layers share their losses
            return features.masked_fill(lost[:, None, :, None], 0), mask
        return features.masked_fill(lost.unsqueeze(2), 0), mask


@dataclass(frozen=True)
class _LossyItems:
    """A live modality that comes with losses, made when it is read.

    Of text the first and the last token stay, and so does what was said before in one pass.
    """

    whole: Reading
    draws: Tensor | None
    rate: float
    text: bool

    @property
    def shape(self) -> InputShape:
        return self.whole.shape

    @property
    def length_here(self) -> Tensor:
        return self.whole.length_here

    @property
    def present(self) -> NDArray[np.bool_]:
        return self.whole.present

    @property
    def scaling(self) -> Scaling | None:
        return self.whole.scaling

    def gather(self, index: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        return self.whole.gather(self._kept(index), device)

    def gathers(
        self, indices: Sequence[Tensor], device: torch.device
    ) -> Iterator[tuple[Tensor, Tensor]]:
        return self.whole.gathers([self._kept(index) for index in indices], device)

    def items_of(self, index: Tensor) -> Tensor:
        return self.whole.items_of(self._kept(index))

    def before(self, chain: Sequence[Tensor], device: torch.device) -> Items | None:
        return self.whole.before([self._kept(index) for index in chain], device)

    def gone(self, index: Tensor, device: torch.device) -> Tensor | None:
        if self.draws is None:
            return None
        length = self.length_here[index.clamp(min=0)] * (index >= 0)
        steps = torch.arange(max(1, int(length.max())))
        lost = self.draws[index.clamp(min=0), : len(steps)] < self.rate
        if self.text:
            lost &= (steps > 0) & (steps < length[:, None] - 1)
        return lost.to(device)

    def _kept(self, index: Tensor) -> Tensor:
        return torch.full_like(index, -1) if self.draws is None else index


def _draws(source: Gatherer, modality: Modality, seed: int, mask: int) -> Tensor:
    text = f"{seed}:missing:{modality}:{mask}"
    digest = hashlib.blake2b(text.encode(), digest_size=7).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest))
    frames = max(1, int(source.length_here.max()))
    return torch.rand(len(source.length_here), frames, generator=generator)


def _cases(plan: Plan, rates: Sequence[float]) -> tuple[Case, ...]:
    letters = [LETTERS[m] for m in plan.modalities]
    alone = letters if len(letters) > 1 else []
    return (
        *(Case("rate", of, rate) for of in ("all", *alone) for rate in rates),
        *(Case("drop", letter, 1.0) for letter in alone),
    )


def _answers(model: FusionModel, data: Selection) -> NDArray[np.float64]:
    """(test clips,) scores, or class numbers."""
    found = predict(model, data, data.rows["test"]).values
    return found.argmax(axis=1).astype(np.float64) if found.ndim == 2 else found


def _wanted(plan: Plan, cases: Sequence[Case], masks: int) -> dict[str, Any]:
    own = [vars(case) for case in cases]
    return {"version": VERSION, "key": plan.key, "masks": masks, "cases": own}


def _head(file: Path) -> Any:
    try:
        with np.load(file, allow_pickle=False) as kept:
            return json.loads(str(kept["head"]))
    except (OSError, ValueError, KeyError):
        return None


def _write(file: Path, head: dict[str, Any], values: NDArray[np.float64]) -> None:
    data = io.BytesIO()
    np.savez(data, head=np.array(json.dumps(head)), values=values)
    temporary = file.with_name(f".tmp-{file.name}")
    temporary.write_bytes(data.getvalue())
    temporary.replace(file)
