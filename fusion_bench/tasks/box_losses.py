"""Box losses, and the assignment of positive positions to a box. ``P`` positions; units are input pixels.

The loss of a batch is a sum over positions, divided by the number of positive positions. The score uses plain binary
cross-entropy without focal weights: those were designed for about a hundred thousand anchors per image, while here
one object stands against tens or hundreds of positions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fusion_bench.tasks.boxes import Grid, generalised_iou, iou

CENTRAL_SHARE = 0.5
"""Share of each side of a box that its central part has; positions in this part are positive."""

_RADIUS = 2.5
_OUTSIDE_COST = 1e5
_SUMMED_OVERLAPS = 10
_BOX_WEIGHT = 5.0


def dense_loss(logits: Tensor, boxes: Tensor, target: Tensor, grid: Grid) -> Tensor:
    """Return the loss of `DenseBoxHead`: cross-entropy on all scores, ``1 - GIoU`` on positive boxes.

    Args:
        logits: scores ``[B, P]``.
        boxes: predicted boxes ``[B, P, 4]``.
        target: the true boxes ``[B, 4]``.
        grid: the positions.
    """
    positive = central_positions(target, grid)  # [B, P]
    score = F.binary_cross_entropy_with_logits(logits, positive.to(logits.dtype), reduction="sum")
    box_loss = 1 - generalised_iou(boxes, target[:, None])
    return (score + box_loss[positive].sum()) / positive.sum()


def central_positions(target: Tensor, grid: Grid) -> Tensor:
    """Return the positive positions ``[B, P]`` (bool): those whose centre lies in the central part of the box.

    The position nearest to the centre of the box is always positive. Its distance is measured in strides; of equal
    distances the first position counts, row by row.
    """
    offset = grid.centres(target) - _centre(target)[:, None]  # [B, P, 2]
    inside = (offset.abs() <= _size(target)[:, None] * CENTRAL_SHARE / 2).all(-1)
    nearest = (offset / grid.stride(target)).square().sum(-1).argmin(1, keepdim=True)
    return inside.scatter(1, nearest, value=True)


def laconvnet_box_loss(logits: Tensor, boxes: Tensor, target: Tensor, grid: Grid) -> Tensor:
    """Return ``(5 sum (1 - IoU^2) + sum BCE) / positives``, the loss of LaConvNet's released code.

    The arguments are those of `dense_loss`. The target objectness of a positive position is 1, not its overlap.
    """
    overlap = iou(boxes, target[:, None])  # [B, P]
    positive = assign_positions(overlap.detach(), target, grid)
    score = F.binary_cross_entropy_with_logits(logits, positive.to(logits.dtype), reduction="sum")
    box_loss = 1 - overlap.square()
    return (_BOX_WEIGHT * box_loss[positive].sum() + score) / positive.sum().clamp(min=1)


def assign_positions(overlap: Tensor, target: Tensor, grid: Grid) -> Tensor:
    """Return the positive positions ``[B, P]`` (bool) by SimOTA for one object per image, without its class term.

    Ge et al., arXiv 2107.08430. The candidates are the positions whose centre lies in the box or within 2.5 strides
    of the centre of the box. The candidates of least cost ``-3 log(IoU + 1e-8) + 1e5 [not both]`` are positive. Their
    number is the sum of the ten largest overlaps among the candidates, rounded down, and at least one.

    Args:
        overlap: IoU ``[B, P]`` of the box that each position predicts now.
        target: the true boxes ``[B, 4]``.
        grid: the positions.
    """
    offset = (grid.centres(target) - _centre(target)[:, None]).abs()
    in_box = (offset < _size(target)[:, None] / 2).all(-1)
    in_centre = (offset < _RADIUS * grid.stride(target)).all(-1)
    candidate = in_box | in_centre
    cost = -3 * torch.log(overlap + 1e-8) + _OUTSIDE_COST * ~(in_box & in_centre)
    cost = cost.masked_fill(~candidate, torch.inf)
    best = overlap.masked_fill(~candidate, 0).topk(min(_SUMMED_OVERLAPS, overlap.shape[1])).values
    positives = best.sum(1).int().clamp(min=1)  # [B]
    rank = cost.argsort(dim=1, stable=True).argsort(dim=1)
    return (rank < positives[:, None]) & candidate


def _centre(boxes: Tensor) -> Tensor:
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def _size(boxes: Tensor) -> Tensor:
    return boxes[..., 2:] - boxes[..., :2]
