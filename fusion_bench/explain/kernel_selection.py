"""A deterministic selection of the positions and the group of a map of kernels to show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_SAME = 1e-5
"""Kernels whose distance is below this share of the largest norm count as equal."""
_SPACING = 10
"""The smallest distance of shown positions is the longer side of the map divided by this."""


@dataclass(frozen=True)
class MapPosition:
    """The row and the column of a position of a map, both from 0."""

    row: int
    column: int


def kernel_norms(kernels: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the Euclidean norm over all taps and groups at each position: ``[G, k*k, H, W]`` to ``[H, W]``."""
    norms: npt.NDArray[np.float64] = np.sqrt(np.square(kernels.astype(np.float64)).sum((0, 1)))
    return norms


def strongest_group(kernels: npt.NDArray[np.float32]) -> int:
    """Return the group (from 0) whose taps have the largest norm over all positions of ``[G, k*k, H, W]``."""
    return int(np.square(kernels.astype(np.float64)).sum((1, 2, 3)).argmax())


def select_positions(kernels: npt.NDArray[np.float32], limit: int) -> list[MapPosition]:
    """Return positions whose kernels differ most from each other, selected greedily.

    The first position has the largest norm. Each further position has the largest Euclidean distance, over the
    kernels of all groups, from the nearest kernels selected so far (farthest-first traversal; Gonzalez, 1985), and is
    not next to a selected one. Ties go to the upper, then to the left position.

    Args:
        kernels: ``[G, k*k, H, W]``.
        limit: the largest number of positions; the result has fewer if no other position has different kernels.
    """
    height, width = kernels.shape[2:]
    vectors = kernels.astype(np.float64).reshape(-1, height * width).T  # [H*W, G*k*k]
    rows, columns = np.divmod(np.arange(height * width), width)
    norms = np.linalg.norm(vectors, axis=1)
    spacing = max(height, width) / _SPACING
    distance = norms.copy()
    selected: list[MapPosition] = []
    while len(selected) < limit and (not selected or distance.max() > _SAME * norms.max()):
        best = int(distance.argmax())
        selected.append(MapPosition(int(rows[best]), int(columns[best])))
        from_best = np.linalg.norm(vectors - vectors[best], axis=1)
        distance = from_best if len(selected) == 1 else np.minimum(distance, from_best)
        neighbours = np.maximum(abs(rows - rows[best]), abs(columns - columns[best])) < spacing
        distance[neighbours] = 0
    return selected
