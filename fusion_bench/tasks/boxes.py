"""Boxes ``x1, y1, x2, y2`` in continuous coordinates: overlap, the grid that they are read from, and their text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_EPSILON = 1e-7
"""Square pixels; keeps the overlap of two empty boxes and its gradient finite."""


def iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of ``[..., 4]`` and ``[..., 4]``, broadcast, without the ``+1`` of pixel counts."""
    overlap, union, _ = _areas(first, second)
    return overlap / union.clamp(min=_EPSILON)


def generalised_iou(first: Tensor, second: Tensor) -> Tensor:
    """``IoU - (hull - union) / hull``, in (-1, 1]; it falls with the distance of boxes that do not meet.

    Rezatofighi et al., "Generalized Intersection over Union", CVPR 2019 (arXiv 1902.09630).
    """
    overlap, union, hull = _areas(first, second)
    return overlap / union.clamp(min=_EPSILON) - (hull - union) / hull.clamp(min=_EPSILON)


def _areas(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of the intersection, the union and the least box around both."""
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    overlap = (high - low).clamp(min=0).prod(-1)
    union = _area(first) + _area(second) - overlap
    outer = torch.maximum(first[..., 2:], second[..., 2:]) - torch.minimum(first[..., :2], second[..., :2])
    return overlap, union, outer.prod(-1)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).prod(-1)


@dataclass(frozen=True)
class Grid:
    """The positions of a map of ``rows`` x ``columns`` over an input of ``height`` x ``width`` pixels."""

    rows: int
    columns: int
    height: int
    width: int

    def stride(self, like: Tensor) -> Tensor:
        """Input pixels between neighbours: ``[2]``, along x and y."""
        return like.new_tensor([self.width / self.columns, self.height / self.rows])

    def cells(self, like: Tensor) -> Tensor:
        """Column and row of every position, ``[rows * columns, 2]``, row by row."""
        y, x = torch.meshgrid(
            torch.arange(self.rows, device=like.device, dtype=like.dtype),
            torch.arange(self.columns, device=like.device, dtype=like.dtype),
            indexing="ij",
        )
        return torch.stack((x, y), -1).reshape(-1, 2)

    def centres(self, like: Tensor) -> Tensor:
        """Centre of every position, x and y in input pixels, ``[rows * columns, 2]``."""
        return (self.cells(like) + 0.5) * self.stride(like)


def box_texts(boxes: npt.NDArray[np.float64]) -> list[str]:
    """``x1 y1 x2 y2`` with one decimal."""
    return [" ".join(f"{side:.1f}" for side in box) for box in boxes]


def box_of(text: str) -> tuple[float, float, float, float]:
    """`box_texts` undone."""
    x1, y1, x2, y2 = map(float, text.split())
    return x1, y1, x2, y2
