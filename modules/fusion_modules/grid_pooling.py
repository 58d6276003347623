"""Few cells for modules that compare every position with every other: a map to a grid of cells and back.

A map of ``H x W`` positions becomes ``h x w`` cells with ``h w <= cells``, of nearly the map's proportions; a
map that is small enough stays as it is. A cell is the exact average of the area that it covers, and on the way
back a position takes the average of the cells that cover it, weighted by area. Both ways are products with one
small matrix per axis, so that their gradients are deterministic on every device.
"""

from __future__ import annotations

import torch
from torch import Tensor


def cell_grid(height: int, width: int, cells: int) -> tuple[int, int]:
    """``(h, w)`` with ``h w <= cells`` that is finest along its coarser axis; the map's own size where that fits."""
    grids = [(rows, min(width, cells // rows)) for rows in range(1, min(height, cells) + 1)]
    return max(grids, key=lambda grid: (min(grid[0] / height, grid[1] / width), grid[0] * grid[1]))


def pool_to_cells(visual: Tensor, cells: int) -> Tensor:
    """``[B, C, H, W]`` -> ``[B, C, h, w]`` with ``h w <= cells``."""
    height, width = visual.shape[2:]
    grid = cell_grid(height, width, cells)
    if grid == (height, width):
        return visual
    rows = _overlap(grid[0], height, visual) * (grid[0] / height)  # [h, H], rows sum to 1
    columns = _overlap(grid[1], width, visual) * (grid[1] / width)  # [w, W]
    return rows.to(visual.dtype) @ visual @ columns.to(visual.dtype).T


def spread_from_cells(pooled: Tensor, height: int, width: int) -> Tensor:
    """``[B, C, h, w]`` -> ``[B, C, H, W]``, the way back of `pool_to_cells`."""
    if pooled.shape[2:] == (height, width):
        return pooled
    rows = _overlap(pooled.shape[2], height, pooled)  # [h, H], columns sum to 1
    columns = _overlap(pooled.shape[3], width, pooled)  # [w, W]
    return rows.to(pooled.dtype).T @ pooled @ columns.to(pooled.dtype)


def _overlap(cells: int, length: int, like: Tensor) -> Tensor:
    """``[cells, length]``: how much of each position lies in each of ``cells`` equal parts of an axis."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    edges = torch.arange(cells + 1, device=like.device, dtype=dtype) * (length / cells)
    start = torch.arange(length, device=like.device, dtype=dtype)
    shared = torch.minimum(edges[1:, None], start + 1) - torch.maximum(edges[:-1, None], start)
    return shared.clamp(min=0)
