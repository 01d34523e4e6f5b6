"""Several processes that train one model together, each on its share of every batch.

Each process has the whole model and a few clips of each batch; before a step their gradients are
summed, each counting as many clips as it had, so that the step is that of one process which had
the whole batch. Validation and scoring are shared likewise. Process 0 leads: it alone reads what
was kept, writes and speaks.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..models.shared.hooks import AcrossClips, AmongClips
from ..models.shared.interface import Batch, FusionModel, Output

BUCKET = 2**23
"""Numbers that travel at once: while some are on their way, the next are packed."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class Share:
    """What one process has of a batch: some neighbouring clips of it."""

    rows: Tensor
    """(clips,) int64 rows of the table. A process that has none borrows one, to take part."""
    first: int
    """Position of its first clip in the whole batch."""
    whole: int
    """Clips of the whole batch."""
    own: int
    """Clips that count: all of `rows`, or none if they are borrowed."""


class Ranks:
    """The processes that train together, as one of them sees them."""

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        """By default there is but this one, and whatever is asked of the others costs nothing."""
        self.rank, self.count = rank, count
        self._share: Share | None = None

    @property
    def lead(self) -> bool:
        """Whether this process reads, writes and speaks for all."""
        return self.rank == 0

    def join(self, model: FusionModel) -> None:
        """All begin with the lead's weights and buffers; what looks at a whole batch sees it."""
        if self.count == 1:
            return
        for value in model.state_dict().values():
            dense = value.contiguous()
            dist.broadcast(dense, 0)
            value.copy_(dense)
        assert isinstance(model, nn.Module)
        for part in model.modules():
            if isinstance(part, AcrossClips):
                part.total = self.total
            if isinstance(part, AmongClips):
                part.gather = self.gather

    def share(self, rows: Tensor) -> Share:
        """What this process has of the batch `rows`."""
        first, end = _cut(len(rows), self.rank, self.count)
        if first == end:
            return Share(rows[:1], 0, len(rows), 0)
        return Share(rows[first:end], first, len(rows), end - first)

    @contextmanager
    def at(self, share: Share) -> Iterator[None]:
        """Within, `total` and `gather` reach over the batch that `share` is a part of."""
        self._share = share if self.count > 1 else None
        try:
            yield
        finally:
            self._share = None

    def total(self, values: Tensor) -> Tensor:
        """Sum over the processes of a batch, with gradients; outside of `at`, `values` itself."""
        if self._share is None:
            return values
        counted = values if self._share.own else values * 0
        total: Tensor = _Total.apply(counted)
        return total

    def gather(self, rows: Tensor) -> Tensor:
        """Rows of own clips -> of all clips of a batch, with gradients; outside of `at`, `rows`."""
        if (share := self._share) is None:
            return rows
        sizes = share.first, share.whole - share.first - share.own
        before, after = (rows.new_zeros(size, *rows.shape[1:]) for size in sizes)
        placed = torch.cat([before, rows[: share.own], after])
        if torch.is_grad_enabled() and not placed.requires_grad:
            placed.requires_grad_()  # on the way back the others wait for all, whatever they had
        return self.total(placed)

    def weighted(self, loss: Tensor, share: Share) -> Tensor:
        """The part of a batch's mean loss that comes from the clips of `share`."""
        return loss if self.count == 1 else loss * (share.own / share.whole)

    def sum_gradients(self, weights: Sequence[nn.Parameter]) -> None:
        """Every weight's gradient becomes the sum over all processes."""
        if self.count == 1:
            return
        sent = []
        for bucket in _buckets(weights):
            grads = [torch.zeros_like(w) if w.grad is None else w.grad for w in bucket]
            known = grads[0].new_tensor([w.grad is not None for w in bucket])
            flat = torch.cat([*(gradient.flatten() for gradient in grads), known])
            sent.append((bucket, flat, dist.all_reduce(flat, async_op=True)))
        for bucket, flat, work in sent:
            assert work is not None
            work.wait()
            *sums, known = torch.split(flat, [*(w.numel() for w in bucket), len(bucket)])
            for weight, total, anywhere in zip(bucket, sums, known, strict=True):
                # a weight without a gradient in any process is one that the optimizer passes over
                if weight.grad is not None or anywhere:
                    weight.grad = total.view_as(weight)

    def sum(self, values: Tensor) -> Tensor:
        """Sum over all processes."""
        if self.count == 1:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total

    def most(self, value: int) -> int:
        """The largest that any process says."""
        if self.count == 1:
            return value
        found = torch.tensor(value)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return int(found)

    def gathered(self, value: Value) -> list[Value]:
        """What every process says, in order."""
        if self.count == 1:
            return [value]
        found: list[Any] = [None] * self.count
        dist.all_gather_object(found, value)
        return found

    def stacked(self, values: Tensor) -> Tensor:
        """(…) of the same shape everywhere -> (processes, …)."""
        if self.count == 1:
            return values.unsqueeze(0)
        found = [torch.empty_like(values) for _ in range(self.count)]
        dist.all_gather(found, values.contiguous())
        return torch.stack(found)

    def from_lead(self, value: Value) -> Value:
        """What the lead says."""
        if self.count == 1:
            return value
        box: list[Any] = [value]
        dist.broadcast_object_list(box, 0)
        said: Value = box[0]
        return said

    def tensors_from_lead(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Those of the lead, on the CPU; they may be large, and are not pickled."""
        if self.count == 1:
            return tensors
        kinds = self.from_lead({name: (t.shape, t.dtype) for name, t in tensors.items()})
        found = {n: tensors.get(n, torch.empty(s, dtype=kind)) for n, (s, kind) in kinds.items()}
        for value in found.values():
            dist.broadcast(value, 0)
        return found

    def together(self, batch: Batch, output: Output, share: Share) -> tuple[Batch, Output]:
        """Labels, index and targets of the whole batch, and what was said of all its clips.

        Features, masks and losses stay where they are: there are none in what is returned.
        """
        if self.count == 1:
            return batch, output
        cuts = [_cut(share.whole, rank, self.count) for rank in range(self.count)]
        most = max(end - first for first, end in cuts)

        def joined(values: Tensor) -> Tensor:
            padded = values.new_zeros(most, *values.shape[1:])
            padded[: share.own] = values[: share.own]
            found = zip(self.stacked(padded), cuts, strict=True)
            return torch.cat([part[: end - first] for part, (first, end) in found])

        targets = {m: joined(values) for m, values in batch.targets.items()}
        extras = {name: joined(values) for name, values in output.extras.items()}
        whole = Batch({}, {}, joined(batch.labels), joined(batch.index), targets)
        return whole, Output(joined(output.prediction), extras=extras)


SINGLE_PROCESS = Ranks()


def _cut(whole: int, rank: int, count: int) -> tuple[int, int]:
    """First position, and that after the last, of one process's part of `whole` clips."""
    return whole * rank // count, whole * (rank + 1) // count


def _buckets(weights: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Neighbours of one dtype and device, about `BUCKET` numbers together."""
    bucket: list[nn.Parameter] = []
    for weight in weights:
        kind = weight.dtype, weight.device
        full = sum(w.numel() for w in bucket) >= BUCKET
        if bucket and (full or kind != (bucket[0].dtype, bucket[0].device)):
            yield bucket
            bucket = []
        bucket.append(weight)
    yield bucket


class _Total(torch.autograd.Function):
    """Sum over processes; the gradient of each part is the sum of what all say of the total."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total
