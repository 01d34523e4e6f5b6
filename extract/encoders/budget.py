"""How much one batch may hold: what the device's memory allows, found out by trying."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from .device import ComputeDevice, Sharing

USUAL = 24e9
"""Bytes of the GPU that the encoders' own figures are meant for."""
LEAST, MOST = 0.25, 4.0


class Budget:
    """The most that a batch may take up; halved, for good, each time the device is out of memory.

    Counted in what the encoder pads to: samples, tokens or crops. A batch of one item is always
    tried.
    """

    def __init__(self, arithmetic: ComputeDevice, usual: Mapping[str, int]) -> None:
        """`usual`, by the kind of device, is what a GPU of 24 GB or any CPU can bear."""
        self._arithmetic, self.most = arithmetic, usual[arithmetic.device.type]
        if arithmetic.device.type == "cuda":
            whole = torch.cuda.get_device_properties(arithmetic.device).total_memory
            self.most = int(self.most * min(MOST, max(LEAST, whole / USUAL)))

    def encode(
        self, lengths: Sequence[int], sharing: Sharing, forward: Callable[[Any], list[Any]]
    ) -> list[Any]:
        """What `forward` gives of each item, in batches (indices into `lengths`) of like length."""
        results: dict[int, Any] = {}
        for batch in self._arithmetic.batches(lengths, self.most, sharing):
            results.update(zip(batch, self.run(batch, lengths, forward), strict=True))
        self._arithmetic.settle()
        return [results[index] for index in range(len(lengths))]

    def run(
        self, batch: Sequence[int], lengths: Sequence[int], forward: Callable[[Any], list[Any]]
    ) -> list[Any]:
        """`forward(batch)`, in halves where the whole (indices into `lengths`) does not fit."""
        cost = len(batch) * max(lengths[index] for index in batch)
        if len(batch) == 1 or cost <= self.most:
            try:
                return forward(batch)
            except torch.OutOfMemoryError:
                if len(batch) == 1:
                    raise
                self.most = min(self.most, cost // 2)
            torch.cuda.empty_cache()  # after the fault is dropped: it holds the batch's tensors
        middle = len(batch) // 2
        return [
            *self.run(batch[:middle], lengths, forward),
            *self.run(batch[middle:], lengths, forward),
        ]
