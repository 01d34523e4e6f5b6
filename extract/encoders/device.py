"""Where and how precisely encoders compute, and how work is cut into batches for it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...config import ExtractConfig

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Arithmetic:
    """A device, the number type of its matrix products, and the type features leave it in."""

    device: torch.device
    precision: torch.dtype

    @classmethod
    def of(cls, settings: ExtractConfig) -> "Arithmetic":
        """What [extract] asks for, `auto` resolved on this machine."""
        name = settings.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        device = torch.device(name)
        automatic = "fp16" if device.type == "cuda" else "fp32"
        chosen = automatic if settings.precision == "auto" else settings.precision
        return cls(device, PRECISIONS[chosen])

    @contextmanager
    def running(self) -> Iterator[None]:
        """A forward pass without gradients in this precision."""
        low = self.precision is not torch.float32
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, dtype=self.precision if low else None, enabled=low),
        ):
            yield

    @staticmethod
    def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
        """Indices grouped by similar length; a batch times its longest length stays in `budget`.

        >>> list(Arithmetic.batches([5, 1, 4, 1], 8))
        [[1, 3], [2], [0]]
        """
        batch: list[int] = []
        for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
            if batch and (len(batch) + 1) * lengths[index] > budget:
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

    def unpacked(self, hidden: Tensor, lengths: Sequence[int]) -> list[NDArray[np.float32]]:
        """Real frames of each item of (layers, batch, frames, width), in one copy to the host."""
        real = torch.arange(hidden.shape[2], device=hidden.device)
        mask = real < torch.tensor(lengths, device=hidden.device)[:, None]
        packed = hidden[:, mask].float().cpu().numpy()
        return [
            np.ascontiguousarray(part) for part in np.split(packed, np.cumsum(lengths)[:-1], axis=1)
        ]
