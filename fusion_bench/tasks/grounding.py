"""Referring expression comprehension: the box of the one thing that a sentence speaks of.

Overlap is intersection over union in continuous coordinates of the original image, without the ``+1`` of pixel
counts. A box is right if it overlaps the true one by *more* than a half, as SimREC has it; refer's demonstration
counts exactly a half as well, which makes no difference on the published splits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from fusion_bench.contract import Head
from fusion_bench.samples.dataset import DataSet, WordingFloor
from fusion_bench.samples.geometry import Resizing
from fusion_bench.samples.metric import Metric
from fusion_bench.samples.split import Split
from fusion_bench.tasks.box_heads import DenseBoxHead, LaConvNetBoxHead
from fusion_bench.tasks.box_losses import dense_loss, laconvnet_box_loss
from fusion_bench.tasks.boxes import Grid, box_texts, iou
from fusion_bench.tasks.referring import (
    mean_iou,
    mean_score,
    original_sizes,
    referents_of,
    relative_boxes,
    shares_above,
    with_slices,
)
from fusion_bench.tasks.task import HeadSettings, Stored, Targets, Task, judged

RIGHT = 0.5
"""Overlap above which a box is right."""
_CANDIDATES, _FITTED = 500, 5000
_HEADS: Mapping[str, type[DenseBoxHead] | type[LaConvNetBoxHead]] = {
    "dense": DenseBoxHead,
    "laconvnet": LaConvNetBoxHead,
}
_LOSSES: Mapping[str, Callable[[Tensor, Tensor, Tensor, Grid], Tensor]] = {
    "dense": dense_loss,
    "laconvnet": laconvnet_box_loss,
}
_SENTENCES = {
    "dense": "3x3 convolution of {0}, batch norm, ReLU; a score and four distances at every position "
    "(cross-entropy, GIoU loss), the box of the highest score",
    "laconvnet": "LaConvNet's: 1x1 and two 3x3 convolutions of {0}, a score and a box at every cell (SimOTA, "
    "IoU loss), the box of the highest score",
}


class Grounding(Task):
    """A score and a box per position of the fused map; the box of the highest score is the answer.

    Targets are boxes ``[B, 4]`` in pixels of the network's input.
    """

    name: ClassVar[str] = "grounding"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "accuracy": Metric("accuracy", mean_score),
        "mean_iou": Metric("mean_iou", mean_iou),
        **shares_above("accuracy", (6, 7, 8, 9)),
    }
    heads: ClassVar[tuple[str, ...]] = tuple(_HEADS)
    head_settings: ClassVar[frozenset[str]] = frozenset({"hidden"})
    measures: ClassVar[tuple[str, ...]] = ("iou",)
    shows: ClassVar[Literal["text", "box", "mask"]] = "box"

    def __init__(self, train: Split, resizing: Resizing, head: str = "") -> None:
        referents_of(train)
        self._resizing, self._kind = resizing, head or self.heads[0]
        self.outputs = 5

    @classmethod
    def sliced(cls, split: Split) -> Split:
        """See `with_slices`."""
        return with_slices(split)

    @classmethod
    def floor(cls, data: DataSet, train: Split, other: Split) -> WordingFloor:
        """The best constant box, at the same share of every image.

        Fitted on ``train``: of 500 boxes spread over it, the one that is right for most of 5,000 samples.
        """
        del data
        boxes = torch.from_numpy(relative_boxes(train))
        candidates, fitted = _spread(boxes, _CANDIDATES), _spread(boxes, _FITTED)
        right = (iou(candidates[:, None], fitted) > RIGHT).sum(1)
        constant = candidates[int(right.argmax())]
        accuracy = float((iou(constant, torch.from_numpy(relative_boxes(other))) > RIGHT).double().mean())
        return WordingFloor(
            "constant box",
            accuracy,
            "the best constant box, at the same share of every image, fitted on train",
        )

    @classmethod
    def described(cls, head: str, settings: HeadSettings) -> str:
        """One sentence."""
        return f"{_SENTENCES[head or cls.heads[0]].format(settings.hidden)}."

    def head(self, in_dim: int, sentence_dim: int, settings: HeadSettings) -> Head:
        """The chosen one of `heads`."""
        return _HEADS[self._kind](in_dim, self._resizing, sentence_dim, hidden=settings.hidden)

    def targets(self, split: Split) -> Targets:
        """Boxes ``[N, 4]`` float32 in pixels of the input."""
        boxes = self._resizing.to_input(referents_of(split).boxes, original_sizes(split))
        return Stored(torch.from_numpy(boxes.astype(np.float32)))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """See `fusion_bench.tasks.box_losses`."""
        grid = Grid(output.shape[2], output.shape[3], self._resizing.height, self._resizing.width)
        positions = output.float().flatten(2).transpose(1, 2)  # [B, P, 5]
        return _LOSSES[self._kind](positions[..., 0], positions[..., 1:], target, grid)

    def judge(self, part: Split, output: Tensor) -> pd.DataFrame:
        """Score 1 where the predicted box is right; ``iou`` is its overlap with the true one."""
        boxes = self.boxes(output, original_sizes(part))
        overlap = iou(torch.from_numpy(boxes), torch.from_numpy(referents_of(part).boxes)).numpy()
        rows = judged(part)
        rows["prediction"] = box_texts(boxes)
        rows["score"] = (overlap > RIGHT).astype(np.float64)
        rows["iou"] = overlap
        return rows

    def boxes(self, output: Tensor, sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """The box of the highest score in pixels of the original images, clipped to them: ``[B, 4]``."""
        positions = output.float().flatten(2)  # [B, 5, P]
        best = positions[:, :1].argmax(2, keepdim=True).expand(-1, 4, 1)
        found = positions[:, 1:].gather(2, best)[..., 0].double().cpu().numpy()
        return np.clip(self._resizing.to_original(found, sizes), 0.0, np.tile(sizes[:, ::-1], 2))


def _spread(boxes: Tensor, number: int) -> Tensor:
    """So many of them, spread evenly."""
    return boxes[torch.linspace(0, len(boxes) - 1, min(number, len(boxes))).round().long()]
