"""Area pooling of a map to a small grid and back, for modules that compare every position with every other.

A map of ``H x W`` positions becomes a grid of ``h x w`` positions with ``h w <= limit`` and nearly the map's aspect
ratio. A map that is small enough stays as it is. A grid position is the exact average of the area that it covers.
On the way back, a map position takes the average of the grid positions that overlap it, weighted by area. Both
directions are products with one small matrix per axis, so their gradients are deterministic on every device.
"""

from __future__ import annotations

import torch
from torch import Tensor


def grid_size(height: int, width: int, limit: int) -> tuple[int, int]:
    """Return the grid ``(h, w)`` with ``h w <= limit`` that is finest along its coarser axis.

    A map with at most ``limit`` positions keeps its own size.
    """
    grids = [(rows, min(width, limit // rows)) for rows in range(1, min(height, limit) + 1)]
    return max(grids, key=lambda grid: (min(grid[0] / height, grid[1] / width), grid[0] * grid[1]))


def pool_to_grid(visual: Tensor, limit: int) -> Tensor:
    """Average ``[B, C, H, W]`` to ``[B, C, h, w]`` with ``h w <= limit``."""
    height, width = visual.shape[2:]
    grid = grid_size(height, width, limit)
    if grid == (height, width):
        return visual
    rows = _overlap(grid[0], height, visual) * (grid[0] / height)  # [h, H], rows sum to 1
    columns = _overlap(grid[1], width, visual) * (grid[1] / width)  # [w, W]
    return rows.to(visual.dtype) @ visual @ columns.to(visual.dtype).T  # [B, C, h, w]


def spread_from_grid(pooled: Tensor, height: int, width: int) -> Tensor:
    """Spread ``[B, C, h, w]`` over a map ``[B, C, H, W]``: the reverse direction of `pool_to_grid`."""
    if pooled.shape[2:] == (height, width):
        return pooled
    rows = _overlap(pooled.shape[2], height, pooled)  # [h, H], columns sum to 1
    columns = _overlap(pooled.shape[3], width, pooled)  # [w, W]
    return rows.to(pooled.dtype).T @ pooled @ columns.to(pooled.dtype)  # [B, C, H, W]


def _overlap(parts: int, length: int, like: Tensor) -> Tensor:
    """Return ``[parts, length]``: the share of each position in each of ``parts`` equal parts of an axis."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    edges = torch.arange(parts + 1, device=like.device, dtype=dtype) * (length / parts)
    start = torch.arange(length, device=like.device, dtype=dtype)
    shared = torch.minimum(edges[1:, None], start + 1) - torch.maximum(
        edges[:-1, None], start
    )  # [parts, length]
    return shared.clamp(min=0)
