"""Boxes ``x1, y1, x2, y2`` in continuous coordinates: their overlap, the grid of a map, and boxes as text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_EPSILON = 1e-7
"""Least area in square pixels; it keeps the overlap of two empty boxes and its gradient finite."""


def iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the intersection over union of boxes ``[..., 4]`` and ``[..., 4]``, broadcast: ``[...]``.

    Coordinates are continuous: the ``+1`` of pixel counts is not added.
    """
    overlap, union, _ = _areas(first, second)
    return overlap / union.clamp(min=_EPSILON)


def generalised_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return ``IoU - (hull - union) / hull``, in (-1, 1], which decreases with the distance of disjoint boxes.

    Rezatofighi et al., "Generalized Intersection over Union", CVPR 2019 (arXiv 1902.09630).
    """
    overlap, union, hull = _areas(first, second)
    return overlap / union.clamp(min=_EPSILON) - (hull - union) / hull.clamp(min=_EPSILON)


def _areas(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the areas of the intersection, of the union and of the least box around both."""
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
    """The positions of a map of ``rows`` x ``columns`` that covers an input of ``height`` x ``width`` pixels."""

    rows: int
    columns: int
    height: int
    width: int

    def stride(self, like: Tensor) -> Tensor:
        """Return the distance between neighbouring positions ``[2]`` along x and y, in input pixels."""
        return like.new_tensor([self.width / self.columns, self.height / self.rows])

    def indices(self, like: Tensor) -> Tensor:
        """Return column and row of every position, ``[rows * columns, 2]``, row by row, of the type of ``like``."""
        y, x = torch.meshgrid(
            torch.arange(self.rows, device=like.device, dtype=like.dtype),
            torch.arange(self.columns, device=like.device, dtype=like.dtype),
            indexing="ij",
        )
        return torch.stack((x, y), -1).reshape(-1, 2)

    def centres(self, like: Tensor) -> Tensor:
        """Return the centre of every position, x and y in input pixels, ``[rows * columns, 2]``."""
        return (self.indices(like) + 0.5) * self.stride(like)


def box_texts(boxes: npt.NDArray[np.float64]) -> list[str]:
    """Return each box ``[N, 4]`` as the text ``x1 y1 x2 y2`` with one decimal."""
    return [" ".join(f"{side:.1f}" for side in box) for box in boxes]


def box_from_text(text: str) -> tuple[float, float, float, float]:
    """Return the box in a text of `box_texts`."""
    x1, y1, x2, y2 = map(float, text.split())
    return x1, y1, x2, y2
