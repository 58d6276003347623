"""Grounding (referring expression comprehension): the box of the one object that a sentence refers to.

The overlap is intersection over union in continuous coordinates of the original image, without the ``+1`` of pixel
counts. A box is right if its overlap with the true box is *greater* than 0.5, as in SimREC. The demonstration code of
REFER also accepts exactly 0.5, which makes no difference on the published splits.
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
    add_referring_slices,
    empty_texts,
    mean_iou,
    mean_score,
    original_sizes,
    referents_of,
    relative_boxes,
    threshold_metrics,
)
from fusion_bench.tasks.task import HeadSettings, SampleCheck, Targets, Task, TensorTargets, base_rows

IOU_THRESHOLD = 0.5
"""A box is right if its overlap with the true box is greater than this."""
_CANDIDATES, _FITTED = 500, 5000
_HEADS: Mapping[str, type[DenseBoxHead] | type[LaConvNetBoxHead]] = {
    "dense": DenseBoxHead,
    "laconvnet": LaConvNetBoxHead,
}
_LOSSES: Mapping[str, Callable[[Tensor, Tensor, Tensor, Grid], Tensor]] = {
    "dense": dense_loss,
    "laconvnet": laconvnet_box_loss,
}
_DESCRIPTIONS = {
    "dense": "3x3 convolution of {0}, batch norm, ReLU; a score and four distances at every position "
    "(cross-entropy, GIoU loss); the prediction is the box of the highest score",
    "laconvnet": "LaConvNet's: 1x1 and two 3x3 convolutions of {0}, a score and a box at every position (SimOTA, "
    "IoU loss); the prediction is the box of the highest score",
}


class Grounding(Task):
    """The head gives a score and a box per position of the fused map; the box of the highest score is predicted.

    Targets are boxes ``[B, 4]`` in pixels of the network's input.

    Raises:
        DataError: the training split has no boxes.
    """

    name: ClassVar[str] = "grounding"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "accuracy": Metric("accuracy", mean_score),
        "mean_iou": Metric("mean_iou", mean_iou),
        **threshold_metrics("accuracy", (6, 7, 8, 9)),
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
    def check_samples(cls, split: Split) -> SampleCheck:
        """Leave out empty sentences."""
        return SampleCheck({"empty_text": empty_texts(split)})

    @classmethod
    def add_slices(cls, split: Split) -> Split:
        """Return the split with the slices of `add_referring_slices`."""
        return add_referring_slices(split)

    @classmethod
    def floor(cls, data: DataSet, train: Split, other: Split) -> WordingFloor:
        """Return the scores of the best constant box, in coordinates relative to the image.

        The box is samples on ``train``: of 500 evenly spaced true boxes, the one that is right for most of 5,000
        evenly spaced samples.
        """
        del data
        boxes = torch.from_numpy(relative_boxes(train))
        candidates, samples = _evenly_spaced(boxes, _CANDIDATES), _evenly_spaced(boxes, _FITTED)
        right = (iou(candidates[:, None], samples) > IOU_THRESHOLD).sum(1)
        constant = candidates[int(right.argmax())]
        scores = (iou(constant, torch.from_numpy(relative_boxes(other))) > IOU_THRESHOLD).double().numpy()
        return WordingFloor(
            "constant box",
            scores,
            "the best constant box in coordinates relative to the image, samples on train",
        )

    @classmethod
    def describe_head(cls, head: str, settings: HeadSettings) -> str:
        """Return one sentence that describes the head."""
        return f"{_DESCRIPTIONS[head or cls.heads[0]].format(settings.hidden)}."

    def head(self, in_dim: int, sentence_dim: int, settings: HeadSettings) -> Head:
        """Return a new head of the chosen kind (`heads`)."""
        return _HEADS[self._kind](in_dim, self._resizing, sentence_dim, hidden=settings.hidden)

    def targets(self, split: Split) -> Targets:
        """Return the true boxes ``[N, 4]`` float32 in pixels of the input."""
        boxes = self._resizing.to_input(referents_of(split).boxes, original_sizes(split))
        return TensorTargets(torch.from_numpy(boxes.astype(np.float32)))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of the chosen head (`fusion_bench.tasks.box_losses`).

        Args:
            output: scores and boxes ``[B, 5, h, w]``.
            target: true boxes ``[B, 4]`` in pixels of the input.
        """
        grid = Grid(output.shape[2], output.shape[3], self._resizing.height, self._resizing.width)
        positions = output.float().flatten(2).transpose(1, 2)  # [B, P, 5]
        return _LOSSES[self._kind](positions[..., 0], positions[..., 1:], target, grid)

    def score_rows(self, part: Split, output: Tensor) -> pd.DataFrame:
        """Return rows whose score is 1 where the predicted box is right; ``iou`` is its overlap with the true box."""
        boxes = self.boxes(output, original_sizes(part))
        overlap = iou(torch.from_numpy(boxes), torch.from_numpy(referents_of(part).boxes)).numpy()
        rows = base_rows(part)
        rows["prediction"] = box_texts(boxes)
        rows["score"] = (overlap > IOU_THRESHOLD).astype(np.float64)
        rows["iou"] = overlap
        return rows

    def boxes(self, output: Tensor, sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return the box of the highest score, clipped to the image, in pixels of the original image: ``[B, 4]``.

        Args:
            output: scores and boxes ``[B, 5, h, w]``.
            sizes: height and width of each original image, ``[B, 2]``.
        """
        positions = output.float().flatten(2)  # [B, 5, P]
        best = positions[:, :1].argmax(2, keepdim=True).expand(-1, 4, 1)
        boxes = positions[:, 1:].gather(2, best)[..., 0].double().cpu().numpy()
        return np.clip(self._resizing.to_original(boxes, sizes), 0.0, np.tile(sizes[:, ::-1], 2))


def _evenly_spaced(boxes: Tensor, number: int) -> Tensor:
    """Return at most ``number`` of the boxes ``[N, 4]``, evenly spaced."""
    return boxes[torch.linspace(0, len(boxes) - 1, min(number, len(boxes))).round().long()]
