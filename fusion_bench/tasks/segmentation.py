"""Referring expression segmentation: the mask of the one thing that a sentence speaks of.

Masks are compared at the original image's size. An overlap is above a threshold if it is *more*, as SimREC has it
(some later code counts equality as well).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from fusion_bench.contract import Head
from fusion_bench.errors import DataError
from fusion_bench.samples.dataset import DataSet, WordingFloor
from fusion_bench.samples.geometry import Resizing
from fusion_bench.samples.metric import Metric
from fusion_bench.samples.split import Split
from fusion_bench.tasks.boxes import iou
from fusion_bench.tasks.mask_heads import ConvMaskHead, LaConvNetMaskHead
from fusion_bench.tasks.masks import RunLengths, at_original, bounding_box, decoded, mask_text
from fusion_bench.tasks.referring import mean_score, original_sizes, referents_of, shares_above, with_slices
from fusion_bench.tasks.task import HeadSettings, Targets, Task, judged

_RIGHT = 0.5


def overlap_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy of the pixels, and one less the Dice overlap of each mask.

    ``1 - (2 sum p t + 1) / (sum p + sum t + 1)`` (Milletari et al., arXiv 1606.04797) weighs a small object as
    much as a large one, which a mean over pixels does not: there "nothing" is nearly right.
    """
    pixels = F.binary_cross_entropy_with_logits(logits, target)
    chance = logits.sigmoid()
    shared = (chance * target).sum((1, 2))
    dice = (2 * shared + 1) / (chance.sum((1, 2)) + target.sum((1, 2)) + 1)
    return pixels + (1 - dice).mean()


def laconvnet_mask_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy of the pixels times the number of images, as LaConvNet's code has it."""
    return F.binary_cross_entropy_with_logits(logits, target) * len(logits)


_HEADS: Mapping[str, type[ConvMaskHead] | type[LaConvNetMaskHead]] = {
    "conv": ConvMaskHead,
    "laconvnet": LaConvNetMaskHead,
}
_LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "conv": overlap_loss,
    "laconvnet": laconvnet_mask_loss,
}
_SENTENCES = {
    "conv": "3x3 convolution of {0}, batch norm, ReLU, 1x1 convolution, bilinear to the input's size "
    "(cross-entropy and Dice loss)",
    "laconvnet": "LaConvNet's: an atrous spatial pyramid of five views of {0}, bilinear to the input's size "
    "(cross-entropy)",
}


def overall_iou(rows: pd.DataFrame) -> float:
    """Sum of intersections over sum of unions: large objects count for more."""
    return float(rows["intersection"].sum() / rows["union"].sum())


def box_mask_disagreement(rows: pd.DataFrame) -> float:
    """Share of samples where exactly one holds: the box is right (IoU > 0.5), the mask is (IoU >= 0.5).

    SimREC's inconsistency error asks two heads. Here the box is the one around the predicted mask: what it
    counts is masks whose extent and whose pixels tell different stories.
    """
    return float(((rows["box_iou"] > _RIGHT) != (rows["iou"] >= _RIGHT)).mean())


class Segmentation(Task):
    """A logit per pixel of the input; what is above 0 at the original size is the mask.

    Targets are masks ``[B, H, W]`` over the network's input.
    """

    name: ClassVar[str] = "segmentation"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "mean_iou": Metric("mean_iou", mean_score),
        "overall_iou": Metric("overall_iou", overall_iou),
        **shares_above("precision", (5, 6, 7, 8, 9)),
        "box_mask_disagreement": Metric(
            "box_mask_disagreement", box_mask_disagreement, higher_is_better=False
        ),
    }
    heads: ClassVar[tuple[str, ...]] = tuple(_HEADS)
    head_settings: ClassVar[frozenset[str]] = frozenset({"hidden"})
    measures: ClassVar[tuple[str, ...]] = ("iou", "intersection", "union", "box_iou")
    shows: ClassVar[Literal["text", "box", "mask"]] = "mask"
    network_map: ClassVar[Literal["coarsest", "finest"]] = "finest"

    def __init__(self, train: Split, resizing: Resizing, head: str = "") -> None:
        _masks(train)
        self._resizing, self._kind = resizing, head or self.heads[0]
        self.outputs = 1

    @classmethod
    def sliced(cls, split: Split) -> Split:
        """See `with_slices`; ``truth`` becomes the mask."""
        counts = [mask["counts"].decode("ascii") for mask in _masks(split)]
        sliced = with_slices(split)
        return dataclasses.replace(sliced, table=sliced.table.assign(truth=counts))

    @classmethod
    def floor(cls, data: DataSet, train: Split, other: Split) -> WordingFloor | None:
        """None: a data set's floor is of answers."""
        del data, train, other
        return None

    @classmethod
    def described(cls, head: str, settings: HeadSettings) -> str:
        """One sentence."""
        return f"{_SENTENCES[head or cls.heads[0]].format(settings.hidden)}."

    def head(self, in_dim: int, sentence_dim: int, settings: HeadSettings) -> Head:
        """The chosen one of `heads`."""
        return _HEADS[self._kind](in_dim, self._resizing, sentence_dim, hidden=settings.hidden)

    def targets(self, split: Split) -> Targets:
        """Masks, decoded a batch at a time."""
        return RunLengths(_masks(split), self._resizing)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """See `overlap_loss` and `laconvnet_loss`."""
        return _LOSSES[self._kind](output.float(), target)

    def judge(self, part: Split, output: Tensor) -> pd.DataFrame:
        """Score is the overlap of the masks; ``box_iou`` that of the box around the predicted one."""
        referents = referents_of(part)
        texts, numbers = [], []
        for logits, mask, box, size in zip(
            output, _masks(part), referents.boxes, original_sizes(part), strict=True
        ):
            predicted = at_original(logits, (int(size[0]), int(size[1])), self._resizing)
            true = decoded(mask)
            shared, union = int((predicted & true).sum()), int((predicted | true).sum())
            around = torch.tensor(bounding_box(predicted), dtype=torch.float64)
            boxes = float(iou(around, torch.from_numpy(box)))
            texts.append(mask_text(predicted))
            numbers.append((shared / union, float(shared), float(union), boxes))
        rows = judged(part).assign(prediction=texts)
        rows["score"] = [overlap for overlap, *_ in numbers]
        rows[list(self.measures)] = np.array(numbers)
        return rows


def _masks(split: Split) -> tuple[Mapping[str, Any], ...]:
    masks = referents_of(split).masks
    if masks is None:
        raise DataError(f"the split {split.name!r} has boxes only; segmentation needs masks")
    return masks
