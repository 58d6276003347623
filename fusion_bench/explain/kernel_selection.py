"""Which positions and which group of a map of kernels are worth showing: the same ones every time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_SAME = 1e-5
"""Kernels closer than this share of the largest norm are one kernel."""
_APART = 10
"""Shown positions are at least one so many-th of the map's longer side apart."""


@dataclass(frozen=True)
class MapPosition:
    """A row and a column of a map, both from 0."""

    row: int
    column: int


def kernel_norms(kernels: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Euclidean norm of all taps of all groups at each position: ``[G, k*k, H, W]`` to ``[H, W]``."""
    norms: npt.NDArray[np.float64] = np.sqrt(np.square(kernels.astype(np.float64)).sum((0, 1)))
    return norms


def strongest_group(kernels: npt.NDArray[np.float32]) -> int:
    """The group (from 0) whose taps have the largest norm over all positions of ``[G, k*k, H, W]``."""
    return int(np.square(kernels.astype(np.float64)).sum((1, 2, 3)).argmax())


def select_positions(kernels: npt.NDArray[np.float32], most: int) -> list[MapPosition]:
    """Positions whose kernels differ most from one another, found greedily.

    The first is the one with the largest norm; each further one is the position whose kernels, of all
    groups together, are farthest (Euclidean) from the nearest kernels chosen so far (farthest-first
    traversal; Gonzalez, 1985), not beside a chosen one. Ties go to the upper, then the left position.

    Args:
        kernels: ``[G, k*k, H, W]``.
        most: how many at most; fewer where no other position has kernels of its own.
    """
    height, width = kernels.shape[2:]
    vectors = kernels.astype(np.float64).reshape(-1, height * width).T  # [H*W, G*k*k]
    rows, columns = np.divmod(np.arange(height * width), width)
    norms = np.linalg.norm(vectors, axis=1)
    apart = max(height, width) / _APART
    distance = norms.copy()
    chosen: list[MapPosition] = []
    while len(chosen) < most and (not chosen or distance.max() > _SAME * norms.max()):
        best = int(distance.argmax())
        chosen.append(MapPosition(int(rows[best]), int(columns[best])))
        from_best = np.linalg.norm(vectors - vectors[best], axis=1)
        distance = from_best if len(chosen) == 1 else np.minimum(distance, from_best)
        beside = np.maximum(abs(rows - rows[best]), abs(columns - columns[best])) < apart
        distance[beside] = 0
    return chosen
