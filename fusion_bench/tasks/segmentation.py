"""Referring expression segmentation: the mask of the one object that a sentence refers to.

Masks are compared at the size of the original image. Precision at a threshold counts overlaps that are *greater* than
the threshold, as in SimREC (some later code also counts equality).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from fusion_bench.contract import Head
from fusion_bench.errors import DataError
from fusion_bench.samples.dataset import DataSet, WordingFloor
from fusion_bench.samples.geometry import OutlinedMasks, Resizing
from fusion_bench.samples.metric import Metric
from fusion_bench.samples.split import Split
from fusion_bench.tasks.boxes import iou
from fusion_bench.tasks.mask_heads import ConvMaskHead, LaConvNetMaskHead
from fusion_bench.tasks.masks import MaskTargets, bounding_box, decode_mask, mask_at_original_size, mask_text
from fusion_bench.tasks.referring import (
    add_referring_slices,
    empty_texts,
    mean_score,
    original_sizes,
    referents_of,
    threshold_metrics,
)
from fusion_bench.tasks.task import HeadSettings, SampleCheck, Targets, Task, base_rows

_IOU_THRESHOLD = 0.5


def overlap_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the mean cross-entropy over pixels plus the mean Dice loss over masks.

    The Dice loss ``1 - (2 sum p t + 1) / (sum p + sum t + 1)`` (Milletari et al., arXiv 1606.04797) gives small and
    large objects the same weight. A mean over pixels does not: for a small object, an empty mask has a low loss.

    Args:
        logits: ``[B, H, W]``.
        target: ``[B, H, W]``, 1 inside the mask, 0 outside.
    """
    pixels = F.binary_cross_entropy_with_logits(logits, target)
    probability = logits.sigmoid()
    intersection = (probability * target).sum((1, 2))
    dice = (2 * intersection + 1) / (probability.sum((1, 2)) + target.sum((1, 2)) + 1)
    return pixels + (1 - dice).mean()


def laconvnet_mask_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the mean cross-entropy over pixels times the number of images, as in LaConvNet's released code.

    ``logits`` and ``target`` are ``[B, H, W]``.
    """
    return F.binary_cross_entropy_with_logits(logits, target) * len(logits)


_HEADS: Mapping[str, type[ConvMaskHead] | type[LaConvNetMaskHead]] = {
    "conv": ConvMaskHead,
    "laconvnet": LaConvNetMaskHead,
}
_LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "conv": overlap_loss,
    "laconvnet": laconvnet_mask_loss,
}
_DESCRIPTIONS = {
    "conv": "3x3 convolution of {0}, batch norm, ReLU, 1x1 convolution, bilinear upsampling to the input's "
    "size (cross-entropy and Dice loss)",
    "laconvnet": "LaConvNet's: an atrous spatial pyramid of five views of {0}, bilinear upsampling to "
    "the input's size (cross-entropy)",
}


def overall_iou(rows: pd.DataFrame) -> float:
    """Return the sum of all intersections over the sum of all unions; large objects have more weight."""
    return float(rows["intersection"].sum() / rows["union"].sum())


def box_mask_disagreement(rows: pd.DataFrame) -> float:
    """Return the share of samples for which exactly one is right: the box (IoU > 0.5) or the mask (IoU >= 0.5).

    SimREC's inconsistency error compares a box head with a mask head. Here the box is the bounding box of the
    predicted mask, so the metric counts masks whose extent is right and whose pixels are not, or the reverse.
    """
    return float(((rows["box_iou"] > _IOU_THRESHOLD) != (rows["iou"] >= _IOU_THRESHOLD)).mean())


class Segmentation(Task):
    """The head gives one logit per pixel of the input; pixels above 0 at the original size are the predicted mask.

    Targets are masks ``[B, H, W]`` over the network's input.

    Raises:
        DataError: the training split has no masks.
    """

    name: ClassVar[str] = "segmentation"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "mean_iou": Metric("mean_iou", mean_score),
        "overall_iou": Metric("overall_iou", overall_iou),
        **threshold_metrics("precision", (5, 6, 7, 8, 9)),
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
    def check_samples(cls, split: Split) -> SampleCheck:
        """Leave out empty sentences and objects without a mask; count outlines with parts that give no pixel."""
        masks = _source(split)
        absent = np.array([mask is None for mask in masks], dtype=bool)
        left_out = {"empty_text": empty_texts(split), "no_mask": absent}
        if not isinstance(masks, OutlinedMasks):
            return SampleCheck(left_out)
        made = [masks.made(row) for row in range(len(masks))]
        partial = sum(mask.mask is not None and mask.dropped > 0 for mask in made)
        return SampleCheck(
            left_out, {"partial_outline": partial}, next((m.problem for m in made if m.problem), "")
        )

    @classmethod
    def add_slices(cls, split: Split) -> Split:
        """Return the split with the slices of `add_referring_slices` and with the true mask as ``truth``."""
        counts = [mask["counts"].decode("ascii") for mask in _masks(split)]
        extended = add_referring_slices(split)
        return dataclasses.replace(extended, table=extended.table.assign(truth=counts))

    @classmethod
    def floor(cls, data: DataSet, train: Split, other: Split) -> WordingFloor | None:
        """Return None: no constant prediction is defined for masks."""
        del data, train, other
        return None

    @classmethod
    def describe_head(cls, head: str, settings: HeadSettings) -> str:
        """Return one sentence that describes the head."""
        return f"{_DESCRIPTIONS[head or cls.heads[0]].format(settings.hidden)}."

    def head(self, in_dim: int, sentence_dim: int, settings: HeadSettings) -> Head:
        """Return a new head of the chosen kind (`heads`)."""
        return _HEADS[self._kind](in_dim, self._resizing, sentence_dim, hidden=settings.hidden)

    def targets(self, split: Split) -> Targets:
        """Return the true masks, which are decoded per batch."""
        return MaskTargets(_masks(split), self._resizing)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of the chosen head, `overlap_loss` or `laconvnet_mask_loss`, for ``[B, H, W]`` each."""
        return _LOSSES[self._kind](output.float(), target)

    def score_rows(self, part: Split, output: Tensor) -> pd.DataFrame:
        """Return rows whose score is the IoU of the masks; ``box_iou`` is the IoU of the mask's bounding box."""
        referents = referents_of(part)
        texts, measured = [], []
        for logits, mask, box, size in zip(
            output, _masks(part), referents.boxes, original_sizes(part), strict=True
        ):
            predicted = mask_at_original_size(logits, (int(size[0]), int(size[1])), self._resizing)
            true = decode_mask(mask)
            intersection, union = int((predicted & true).sum()), int((predicted | true).sum())
            bounds = torch.tensor(bounding_box(predicted), dtype=torch.float64)
            box_iou = float(iou(bounds, torch.from_numpy(box)))
            texts.append(mask_text(predicted))
            measured.append((intersection / union, float(intersection), float(union), box_iou))
        rows = base_rows(part).assign(prediction=texts)
        rows["score"] = [overlap for overlap, *_ in measured]
        rows[list(self.measures)] = np.array(measured)
        return rows


def _source(split: Split) -> Sequence[Mapping[str, Any]] | OutlinedMasks:
    masks = referents_of(split).masks
    if masks is None:
        raise DataError(f"the split {split.name!r} has boxes only; segmentation needs masks")
    return masks


def _masks(split: Split) -> tuple[Mapping[str, Any], ...]:
    """Return the mask of every sample of a split from which `Segmentation.check_samples` left out those without."""
    masks = tuple(mask for mask in _source(split) if mask is not None)
    if len(masks) < len(split):
        raise DataError(f"{len(split) - len(masks)} samples of the split {split.name!r} have no mask")
    return masks
