"""Every face in a picture: the three networks of MTCNN, run so that small pictures stay cheap."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate, pad
from torchvision.ops import batched_nms

DETECTOR = "mtcnn-facenet-pytorch-2.5.3"
SMALLEST = 20
"""Side in pixels of the smallest face that is looked for."""
CELL, STRIDE = 12, 2
"""Pixels that the first network sees at once, and its steps."""
SHRINK = 0.709
"""From one level of the picture pyramid to the next."""
THRESHOLDS = (0.6, 0.7, 0.7)
CROPS = 2_048
"""Crops that the second and third network see at once."""

Boxes = NDArray[np.float32]


class Detector:
    """MTCNN with the weights and thresholds of facenet-pytorch, whose own cascade it replaces.

    That one cuts out every candidate with an operator call of its own, tens of thousands a clip;
    here they are cut from a summed-area table, all at once, and its numbers stay (to rounding). On
    a CPU each picture is the work of one thread: these networks are too small to be shared, and so
    what is found in a picture depends on nothing beside it.
    """

    def __init__(self, device: torch.device, smallest: int = SMALLEST, threads: int = 1) -> None:
        from facenet_pytorch import MTCNN

        self.device, self.smallest = device, smallest
        networks: Any = MTCNN(device=device)
        self.propose, self.refine, self.output = (
            net.eval().requires_grad_(False)
            for net in (networks.pnet, networks.rnet, networks.onet)
        )
        self._pool: ThreadPoolExecutor | None = None
        if device.type == "cpu":
            for net in (self.propose, self.refine, self.output):
                net.to(memory_format=torch.channels_last)
            self._pool = ThreadPoolExecutor(threads, "detect", initializer=one_thread)

    def find(self, images: Sequence[NDArray[np.uint8]]) -> list[Boxes]:
        """Faces of each of `images` (height, width, 3), all of one size, largest first.

        Each (faces, 5): left, top, right, bottom in pixels, and the probability.
        """
        if not images or min(images[0].shape[:2]) < self.smallest:
            return [np.zeros((0, 5), np.float32) for _ in images]
        if self._pool is None:
            return self._cascade(np.stack(images))
        found = [boxes[0] for boxes in self._pool.map(self._one, images)]
        return found

    def _one(self, image: NDArray[np.uint8]) -> list[Boxes]:
        return self._cascade(image[None])

    def _cascade(self, images: NDArray[np.uint8]) -> list[Boxes]:
        with torch.inference_mode():
            pictures = torch.from_numpy(images).to(self.device)
            table = _summed(pictures)
            owner, boxes = self._proposed(pictures)
            for judge in (self._refined, self._final):
                if len(boxes):  # the networks cannot work on nothing
                    owner, boxes = judge(table, owner, boxes)
            owners, faces = owner.cpu().numpy(), boxes.cpu().numpy()
        return [_largest_first(_apart(faces[owners == n])) for n in range(len(images))]

    def _proposed(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """The first network over a pyramid of sizes: picture (n,), square box and score (n, 5)."""
        height, width = pictures.shape[1:3]
        pixels = pictures.permute(0, 3, 1, 2).float()
        scale = CELL / self.smallest
        owners, levels = [], []
        while min(height, width) * scale >= CELL:
            size = (int(height * scale + 1), int(width * scale + 1))
            shifts, scores = self.propose(_normal(interpolate(pixels, size=size, mode="area")))
            image, row, column = (scores[:, 1] >= THRESHOLDS[0]).nonzero(as_tuple=True)
            score = scores[image, 1, row, column]
            corner = STRIDE * torch.stack([column, row], 1)
            box = torch.cat([((corner + 1) / scale).floor(), ((corner + CELL) / scale).floor()], 1)
            level = torch.cat([box, score[:, None], shifts[image, :, row, column]], 1)
            kept = batched_nms(box, score, image, 0.5)
            owners.append(image[kept])
            levels.append(level[kept])
            scale *= SHRINK
        if not levels:
            return pictures.new_zeros(0, dtype=torch.long), pixels.new_zeros(0, 5)
        owner, boxes = torch.cat(owners), torch.cat(levels)
        kept = batched_nms(boxes[:, :4], boxes[:, 4], owner, 0.7)
        owner, boxes = owner[kept], boxes[kept]
        size2 = (boxes[:, 2:4] - boxes[:, :2]).repeat(1, 2)
        return owner, _square(torch.cat([boxes[:, :4] + boxes[:, 5:] * size2, boxes[:, 4:5]], 1))

    def _refined(self, table: Tensor, owner: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        owner, boxes, (shifts, scores) = self._judged(self.refine, table, owner, boxes, 24)
        score = scores[:, 1]
        kept = score > THRESHOLDS[1]
        owner, shifts = owner[kept], shifts[kept]
        boxes = torch.cat([boxes[kept, :4], score[kept, None]], 1)
        kept = batched_nms(boxes[:, :4], boxes[:, 4], owner, 0.7)
        return owner[kept], _square(_shifted(boxes[kept], shifts[kept]))

    def _final(self, table: Tensor, owner: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        owner, boxes, answers = self._judged(self.output, table, owner, boxes, 48)
        shifts, score = answers[0], answers[-1][:, 1]
        kept = score > THRESHOLDS[2]
        boxes = torch.cat([boxes[kept, :4], score[kept, None]], 1)
        return owner[kept], _shifted(boxes, shifts[kept])

    def _judged(
        self, network: Any, table: Tensor, owner: Tensor, boxes: Tensor, side: int
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """What `network` says of each box, and the boxes that lie in the picture at all."""
        limit = torch.tensor([table.shape[2] - 1, table.shape[1] - 1], device=boxes.device)
        begin = boxes[:, :2].trunc().long().clamp(min=1) - 1
        end = torch.minimum(boxes[:, 2:4].trunc().long(), limit)
        inside = (end > begin).all(1)
        owner, boxes, begin, end = (t[inside] for t in (owner, boxes, begin, end))
        crops = [
            _cut(table, owner[k : k + CROPS], begin[k : k + CROPS], end[k : k + CROPS], side)
            for k in range(0, len(owner), CROPS)
        ]
        if not crops:
            return owner, boxes, [boxes.new_zeros(0, 4), boxes.new_zeros(0, 2)]
        answers = [network(_normal(crop)) for crop in crops]
        return owner, boxes, [torch.cat(kind) for kind in zip(*answers, strict=True)]


def one_thread() -> None:
    """Let torch work in this thread alone; other threads keep the number they have."""
    torch.set_num_threads(1)


def _normal(pixels: Tensor) -> Tensor:
    return (pixels - 127.5) * 0.0078125


def _summed(pictures: Tensor) -> Tensor:
    """(pictures, height + 1, width + 1, 3): sums of all pixels above and left of each corner."""
    # whole numbers, so the difference of two sums is exact even where they wrap around
    sums = pictures.to(torch.int32).cumsum(1, dtype=torch.int32).cumsum(2, dtype=torch.int32)
    return pad(sums, (0, 0, 1, 0, 1, 0))


def _cut(table: Tensor, owner: Tensor, begin: Tensor, end: Tensor, side: int) -> Tensor:
    """The boxes ``begin:end`` (n, 2; x, y) averaged down to (n, 3, side, side).

    Cells overlap by a pixel where the box does not divide evenly, as adaptive average pooling's do.
    """
    step = torch.arange(side, device=table.device)
    size = (end - begin)[:, :, None]
    low = begin[:, :, None] + step * size // side
    high = begin[:, :, None] - (-(step + 1) * size // side)
    image = owner[:, None, None]
    left, right = low[:, 0, None, :], high[:, 0, None, :]
    top, bottom = low[:, 1, :, None], high[:, 1, :, None]
    total = (
        table[image, bottom, right]
        - table[image, top, right]
        - table[image, bottom, left]
        + table[image, top, left]
    )
    return (total / ((bottom - top) * (right - left))[..., None]).permute(0, 3, 1, 2)


def _shifted(boxes: Tensor, shifts: Tensor) -> Tensor:
    size = (boxes[:, 2:4] - boxes[:, :2] + 1).repeat(1, 2)
    return torch.cat([boxes[:, :4] + shifts * size, boxes[:, 4:]], 1)


def _square(boxes: Tensor) -> Tensor:
    """The boxes grown to squares about their centres."""
    size = boxes[:, 2:4] - boxes[:, :2]
    side = size.max(1, keepdim=True).values
    corner = boxes[:, :2] + size * 0.5 - side * 0.5
    return torch.cat([corner, corner + side, boxes[:, 4:]], 1)


def _apart(boxes: Boxes) -> Boxes:
    """Without those of which more than 0.7 lies in a likelier one, or the other way round."""
    kept: list[int] = []
    low, high = boxes[:, :2], boxes[:, 2:4]
    area = np.prod(high - low + 1, axis=1)
    for index in np.argsort(-boxes[:, 4], kind="stable"):
        others = np.array(kept, dtype=np.int64)
        overlap = np.minimum(high[index], high[others]) - np.maximum(low[index], low[others]) + 1
        shared = np.prod(np.maximum(overlap, 0), axis=1)
        if not (shared > 0.7 * np.minimum(area[index], area[others])).any():
            kept.append(int(index))
    return boxes[kept]


def _largest_first(boxes: Boxes) -> Boxes:
    area = np.prod(boxes[:, 2:4] - boxes[:, :2], axis=1)
    return boxes[np.argsort(-area, kind="stable")]
