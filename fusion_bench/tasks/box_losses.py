"""Which positions answer for a box, and what their mistakes cost. ``P`` positions, all in input pixels.

The loss of a batch is a sum over positions, divided by the number of positive ones. Plain binary cross-entropy,
without focal weights: one object among tens or hundreds of positions is no imbalance like the hundred thousand
anchors that those were made for.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fusion_bench.tasks.boxes import Grid, generalised_iou, iou

SHRUNK = 0.5
"""Share of a box's width and height, around its centre, in which a position's centre is positive."""

_RADIUS = 2.5
_OUTSIDE = 1e5
_OVERLAPS = 10
_BOX_WEIGHT = 5.0


def dense_loss(logits: Tensor, boxes: Tensor, target: Tensor, grid: Grid) -> Tensor:
    """Cross-entropy on every position's score, ``1 - GIoU`` on the positive ones' boxes.

    Args:
        logits: ``[B, P]``; ``boxes``: ``[B, P, 4]``.
        target: ``[B, 4]``, the true boxes.
        grid: of the positions.
    """
    positive = central(target, grid)  # [B, P]
    score = F.binary_cross_entropy_with_logits(logits, positive.to(logits.dtype), reduction="sum")
    missed = 1 - generalised_iou(boxes, target[:, None])
    return (score + missed[positive].sum()) / positive.sum()


def central(target: Tensor, grid: Grid) -> Tensor:
    """Positions whose centre lies within the shrunk box, and at least the nearest to its centre: ``[B, P]`` bool.

    Distances are measured in strides; ties go to the first, row by row.
    """
    away = grid.centres(target) - _centre(target)[:, None]  # [B, P, 2]
    inside = (away.abs() <= _size(target)[:, None] * SHRUNK / 2).all(-1)
    nearest = (away / grid.stride(target)).square().sum(-1).argmin(1, keepdim=True)
    return inside.scatter(1, nearest, value=True)


def laconvnet_box_loss(logits: Tensor, boxes: Tensor, target: Tensor, grid: Grid) -> Tensor:
    """``(5 sum (1 - IoU^2) + sum BCE) / positives``, as LaConvNet's code has it; arguments as `dense_loss`.

    The objectness of a positive cell aims at 1, not at its overlap.
    """
    overlap = iou(boxes, target[:, None])  # [B, P]
    positive = optimal_transport(overlap.detach(), target, grid)
    score = F.binary_cross_entropy_with_logits(logits, positive.to(logits.dtype), reduction="sum")
    missed = 1 - overlap.square()
    return (_BOX_WEIGHT * missed[positive].sum() + score) / positive.sum().clamp(min=1)


def optimal_transport(overlap: Tensor, target: Tensor, grid: Grid) -> Tensor:
    """SimOTA for one object an image, without its class term (Ge et al., arXiv 2107.08430): ``[B, P]`` bool.

    Candidates are cells whose centre lies in the box or within 2.5 strides of its centre; those of least cost
    ``-3 log(IoU + 1e-8) + 1e5 [not both]`` are positive, as many as the ten best overlaps of candidates sum to,
    at least one.

    Args:
        overlap: ``[B, P]``, IoU of each cell's present box.
        target: ``[B, 4]``; ``grid``: of the cells.
    """
    away = (grid.centres(target) - _centre(target)[:, None]).abs()
    in_box = (away < _size(target)[:, None] / 2).all(-1)
    in_centre = (away < _RADIUS * grid.stride(target)).all(-1)
    candidate = in_box | in_centre
    cost = -3 * torch.log(overlap + 1e-8) + _OUTSIDE * ~(in_box & in_centre)
    cost = cost.masked_fill(~candidate, torch.inf)
    best = overlap.masked_fill(~candidate, 0).topk(min(_OVERLAPS, overlap.shape[1])).values
    wanted = best.sum(1).int().clamp(min=1)  # [B]
    rank = cost.argsort(dim=1, stable=True).argsort(dim=1)
    return (rank < wanted[:, None]) & candidate


def _centre(boxes: Tensor) -> Tensor:
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def _size(boxes: Tensor) -> Tensor:
    return boxes[..., 2:] - boxes[..., :2]
