"""Where and how precisely encoders compute, and how work is cut into batches for it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...cache.spec import StoredType
from ...config import ExtractConfig

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
Sharing = Literal["any lengths", "equal lengths", "one by one"]
"""Which clips may share a batch."""
SHARINGS: tuple[Sharing, ...] = get_args(Sharing)
"""From the freest to the strictest."""


@dataclass(frozen=True)
class ComputeDevice:
    """A device, the number type of its matrix products, and the type features leave it in."""

    device: torch.device
    precision: torch.dtype
    stored: torch.dtype = torch.float32
    """Type that features leave a GPU in; what does not fit it leaves as infinity."""
    _copies: list[Any] = field(default_factory=list, compare=False)

    @classmethod
    def of(cls, settings: ExtractConfig, stored: StoredType = "float32") -> "ComputeDevice":
        """What [extract] asks for, `auto` resolved on this machine."""
        name = settings.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        device = torch.device(name)
        automatic = "fp16" if device.type == "cuda" else "fp32"
        chosen = automatic if settings.precision == "auto" else settings.precision
        return cls(device, PRECISIONS[chosen], getattr(torch, stored))

    @property
    def faster(self) -> str | None:
        """A precision that this device computes in about half the time, where it is not in use.

        Never taken unasked: numbers would differ from one machine to the next.
        """
        exact_on_cpu = self.device.type == "cpu" and self.precision is torch.float32
        return "bf16" if exact_on_cpu and _multiplies_in_bf16() else None

    @contextmanager
    def running(self) -> Iterator[None]:
        """A forward pass without gradients in this precision."""
        low = self.precision is not torch.float32
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, dtype=self.precision if low else None, enabled=low),
        ):
            yield

    @property
    def name(self) -> str:
        """Precision and kind of device: ``fp32 on cpu``."""
        precision = next(name for name, kind in PRECISIONS.items() if kind is self.precision)
        return f"{precision} on {self.device.type}"

    @staticmethod
    def batches(
        lengths: Sequence[int], budget: int, sharing: Sharing = "any lengths"
    ) -> Iterator[list[int]]:
        """Indices grouped by similar length; a batch times its longest length stays in `budget`.

        >>> list(ComputeDevice.batches([5, 1, 4, 1], 8))
        [[1, 3], [2], [0]]
        >>> list(ComputeDevice.batches([3, 1, 2, 1], 8, "equal lengths"))
        [[1, 3], [2], [0]]
        """
        batch: list[int] = []
        for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
            if batch and (
                (len(batch) + 1) * lengths[index] > budget
                or (sharing == "equal lengths" and lengths[batch[0]] != lengths[index])
                or sharing == "one by one"
            ):
                yield batch
                batch = []
            batch.append(index)
        if batch:
            yield batch

    def halving(self, batch: Sequence[Any], run: Callable[[Any], list[Any]]) -> list[Any]:
        """`run(batch)`; on a device without the memory for it, its two halves one by one."""
        try:
            return run(batch)
        except torch.OutOfMemoryError:
            if len(batch) < 2:
                raise
            torch.cuda.empty_cache()
        middle = len(batch) // 2
        return self.halving(batch[:middle], run) + self.halving(batch[middle:], run)

    def unpacked(self, hidden: Tensor, lengths: Sequence[int]) -> list[NDArray[Any]]:
        """Real frames of each item of (layers, batch, frames, width), in one copy to the host.

        Theirs after `settle`, as what `fetched` gives.
        """
        real = torch.arange(hidden.shape[2], device=hidden.device)
        mask = real < torch.tensor(lengths, device=hidden.device)[:, None]
        packed = self.fetched(hidden[:, mask])
        parts = np.split(packed, np.cumsum(lengths)[:-1], axis=1)
        if self.device.type == "cuda":
            return parts
        return [np.ascontiguousarray(part) for part in parts]

    def fetched(self, values: Tensor) -> NDArray[Any]:
        """`values` on the host: float32 from a CPU, the `stored` type from a GPU.

        From a GPU they come on a stream of their own into pinned memory, while the next batch is
        computed, and are there once `settle` has returned.
        """
        if self.device.type != "cuda":
            return np.asarray(values.float().numpy())
        cuda: Any = torch.cuda  # some of it carries no types
        ready = values.to(self.stored)
        host = torch.empty(ready.shape, dtype=ready.dtype, pin_memory=True)
        side, done = cuda.Stream(self.device), cuda.Event()
        side.wait_stream(cuda.current_stream(self.device))
        with cuda.stream(side):
            host.copy_(ready, non_blocking=True)
            ready.record_stream(side)
            done.record(side)
        self._copies.append(done)
        return np.asarray(host.numpy())

    def settle(self) -> None:
        """Return when everything that was fetched is there."""
        while self._copies:
            self._copies.pop().synchronize()


def _multiplies_in_bf16() -> bool:
    """Whether this CPU has instructions for products in bf16; without them it would be slower."""
    able = torch.cpu.get_capabilities()
    return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
