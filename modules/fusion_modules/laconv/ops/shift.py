"""Shift and accumulate: the position-wise convolution in plain torch, without a copy per tap.

A tap is one multiply-add of two views of memory: with planes stored row by row, tap ``(dy, dx)`` reads at an offset
of ``dy * W + dx`` elements. A read outside the map is multiplied by a kernel value that was set to zero. (A value
that is not finite can therefore spread within its own sample, but not to another sample.)

    forward             out[c, p]      += w[j, p] x[c, p + o_j]
    gradient of x       dx[c, p + o_j] += w[j, p] dout[c, p]
    gradient of w       dw[j, p]       += dout[c, p] x[c, p + o_j]        all taps of a channel at once

Symbols are those of `fusion_modules.laconv.ops.operator`. The speed of these multiply-adds is limited by memory, so
they run tile by tile in buffers that fit into the second-level cache (`fusion_modules.laconv.ops.tiling`). The
buffers hold float32 for the half-precision types.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from fusion_modules.laconv.ops.tiling import Lattice, Tile, lattices, tiles
from fusion_modules.laconv.ops.window import Window

Tap = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class _Buffers:
    """The buffers for tiles of one shape; each of their views is created once.

    Attributes:
        counts: numbers of samples ``n``, groups and rows of the tiles.
        padded: ``[n, C/G, margin + R + margin]``.
        maps: ``[n, C/G, R]``.
        weights: ``[n, k*k, R]``.
        by_tap: the views of ``padded`` ``[n, C/G, R]`` and of ``weights`` ``[n, 1, R]`` for each lattice and tap.
    """

    counts: tuple[int, int, int]
    padded: Tensor
    maps: Tensor
    weights: Tensor
    by_tap: tuple[tuple[Tap, ...], ...]

    @classmethod
    def for_tile(cls, tile: Tile, channels: int, grids: tuple[Lattice, ...], inside: Tensor) -> Self:
        """Return buffers of the size of ``tile``, for ``channels`` channels per group."""
        samples, groups, rows = tile.counts
        length = groups * rows * inside.shape[2]  # R
        padded = inside.new_zeros(samples, channels, length + 2 * grids[0].margin)
        weights = inside.new_empty(samples, len(inside), length)
        by_index = weights.unsqueeze(2).unbind(1)  # k*k views [n, 1, R]
        by_tap = tuple(
            tuple(
                zip(_each_tap(grid.shifted(padded)), (by_index[tap] for tap in grid.indices()), strict=True)
            )
            for grid in grids
        )
        return cls(tile.counts, padded, inside.new_empty(samples, channels, length), weights, by_tap)

    def load_planes(self, padded: Tensor, planes: Tensor, grid: Lattice, tile: Tile) -> None:
        """Copy the part of ``[B, C/G, G, H, W]`` that the tile's taps read; the margin stays zero."""
        part, above = grid.part(planes, tile)
        if grid.window.stride > 1 or self.counts[2] < planes.shape[3]:
            padded.zero_()  # other tiles fill other elements; whole planes overwrite each other
        grid.padded_view(padded, part, above, self.counts[2]).copy_(part)

    def load_weights(self, kernels: Tensor, inside: Tensor, tile: Tile) -> None:
        """Copy the tile's part of ``[B, G, k*k, H_out, W_out]``, with zeros for taps outside the map."""
        part = kernels[tile.samples, tile.groups, :, tile.rows].transpose(
            1, 2
        )  # [n, k*k, groups, rows, W_out]
        torch.mul(part, inside[:, None, tile.rows], out=self.by_position(self.weights))

    def by_position(self, buffer: Tensor) -> Tensor:
        """Return ``[n, m, R]`` as ``[n, m, groups, rows, W_out]``."""
        return buffer.view(*buffer.shape[:2], *self.counts[1:], -1)


def aggregate_shifted(x: Tensor, kernels: Tensor, window: Window, out: Tensor) -> None:
    """Fill ``out`` ``[B, C, H_out, W_out]``, of any memory layout, from ``x`` and ``kernels`` of its type."""
    planes, filtered = _by_group(x, kernels), _by_group(out, kernels)  # [B, C/G, G, ...]
    inside = window.inside(x, _accumulator(x.dtype))  # [k*k, H_out, W_out]
    grids = lattices(window, inside.shape[2])
    buffers: _Buffers | None = None
    for tile in tiles(kernels, planes.shape[1]):
        if buffers is None or buffers.counts != tile.counts:
            buffers = _Buffers.for_tile(tile, planes.shape[1], grids, inside)
        buffers.load_weights(kernels, inside, tile)
        part = filtered[tile.samples, :, tile.groups, tile.rows]  # [n, C/G, groups, rows, W_out]
        sums = _flat_view(part, inside.dtype)  # [n, C/G, R]
        total = buffers.maps if sums is None else sums
        first = True
        for grid, taps in zip(grids, buffers.by_tap, strict=True):
            buffers.load_planes(buffers.padded, planes, grid, tile)
            for read, weight in taps:
                if first:
                    torch.mul(weight, read, out=total)
                else:
                    total.addcmul_(weight, read)
                first = False
        if sums is None:
            part.copy_(buffers.by_position(total))


def differentiate_shifted(
    grad: Tensor, x: Tensor, kernels: Tensor, window: Window, grad_x: Tensor, grad_kernels: Tensor
) -> None:
    """Fill the gradients of ``x`` and ``kernels``, of any memory layout, from ``grad`` of the output."""
    planes, grads = _by_group(x, kernels), _by_group(grad, kernels)  # [B, C/G, G, ...]
    inside = window.inside(x, _accumulator(x.dtype))  # [k*k, H_out, W_out]
    grids = lattices(window, inside.shape[2])
    # Tiles of some rows add to the rows of neighbouring tiles, so their sums must not be rounded in between. Tiles of
    # whole planes do not overlap.
    all_tiles = list(tiles(kernels, planes.shape[1]))
    whole = window.stride == 1 and all(tile.counts[2] == planes.shape[3] for tile in all_tiles)
    sums = grad_x if whole else torch.zeros_like(grad_x, dtype=inside.dtype)
    summed = _by_group(sums, kernels)
    buffers: _Buffers | None = None
    for tile in all_tiles:
        if buffers is None or buffers.counts != tile.counts:
            buffers = _Buffers.for_tile(tile, planes.shape[1], grids, inside)
            read, weight_grads = torch.zeros_like(buffers.padded), torch.empty_like(buffers.weights)
        buffers.load_weights(kernels, inside, tile)
        part = grads[tile.samples, :, tile.groups, tile.rows]  # [n, C/G, groups, rows, W_out]
        tile_grad = _flat_view(part, inside.dtype)  # [n, C/G, R]
        if tile_grad is None:
            tile_grad = buffers.maps
            buffers.by_position(tile_grad).copy_(part)
        for grid, taps in zip(grids, buffers.by_tap, strict=True):
            buffers.load_planes(read, planes, grid, tile)
            _correlate(tile_grad, grid.shifted(read), grid.taps(weight_grads))
            buffers.padded.zero_()
            for written, weight in taps:
                written.addcmul_(weight, tile_grad)
            target, above = grid.part(summed, tile)
            computed = grid.padded_view(buffers.padded, target, above, tile.counts[2])
            if whole:
                target.copy_(computed)
            else:
                target.add_(computed)
        by_group = buffers.by_position(weight_grads).transpose(1, 2)  # [n, groups, k*k, rows, W_out]
        torch.mul(by_group, inside[:, tile.rows], out=grad_kernels[tile.samples, tile.groups, :, tile.rows])
    if sums is not grad_x:
        grad_x.copy_(sums)


def _correlate(grads: Tensor, read: Tensor, sums: Tensor) -> None:
    """Write ``sum_c grads[n, c, R] read[i, j, n, c, R]`` to ``sums`` ``[i, j, n, R]``."""
    for channel, (grad, planes) in enumerate(zip(grads.unbind(1), read.unbind(3), strict=True)):
        if channel == 0:
            torch.mul(grad, planes, out=sums)
        else:
            sums.addcmul_(grad, planes)


def _flat_view(part: Tensor, dtype: torch.dtype) -> Tensor | None:
    """Return ``[n, C/G, groups, rows, W]`` as a view ``[n, C/G, R]``; None if layout or type do not allow it."""
    groups, rows, width = part.shape[2:]
    group_stride, row_stride, column_stride = part.stride()[2:]
    flat = (row_stride, column_stride) == (width, 1) and (groups == 1 or group_stride == rows * width)
    return part.flatten(2) if flat and part.dtype == dtype else None


def _by_group(maps: Tensor, kernels: Tensor) -> Tensor:
    """Return ``[B, C, ...]`` as ``[B, C/G, G, ...]``: the group of channel ``c`` is ``c mod G``."""
    batch, channels, *sides = maps.shape
    groups = kernels.shape[1]
    return maps.view(batch, channels // groups, groups, *sides)


def _each_tap(taps: Tensor) -> list[Tensor]:
    """Return ``[tap rows, tap columns, ...]`` as one view per tap."""
    return [tap for row in taps.unbind(0) for tap in row.unbind(0)]


def _accumulator(dtype: torch.dtype) -> torch.dtype:
    """Return the type of sums: float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32
