"""Shift and accumulate: the position-wise convolution in plain torch, without a copy per tap.

A tap is one multiply-add of two views of memory: with planes laid row after row, tap ``(dy, dx)`` reads
``dy * W + dx`` elements further on. Reads that leave the map meet a kernel value that was set to zero. (A value
that is not finite can therefore spread through its own sample, never to another one.)

    forward             out[c, p]      += w[j, p] x[c, p + o_j]
    gradient of x       dx[c, p + o_j] += w[j, p] dout[c, p]
    gradient of w       dw[j, p]       += dout[c, p] x[c, p + o_j]        all taps of a channel at once

Each is a row of multiply-adds whose speed is that of the memory they pass through, so they are done tile by tile
in buffers that stay in the second-level cache (`fusion_modules.laconv.ops.tiling`). The buffers hold float32 for the
half-precision types.
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
    """What tiles of one shape are worked on in; every view of it is made once.

    Attributes:
        counts: samples ``n``, groups and rows of the tiles.
        padded: ``[n, C/G, margin + R + margin]``.
        maps: ``[n, C/G, R]``.
        weights: ``[n, k*k, R]``.
        by_tap: for each lattice and tap, the view of ``padded`` ``[n, C/G, R]`` and of ``weights`` ``[n, 1, R]``.
    """

    counts: tuple[int, int, int]
    padded: Tensor
    maps: Tensor
    weights: Tensor
    by_tap: tuple[tuple[Tap, ...], ...]

    @classmethod
    def for_tile(cls, tile: Tile, channels: int, grids: tuple[Lattice, ...], inside: Tensor) -> Self:
        samples, groups, rows = tile.counts
        length = groups * rows * inside.shape[2]  # R
        padded = inside.new_zeros(samples, channels, length + 2 * grids[0].margin)
        weights = inside.new_empty(samples, len(inside), length)
        by_tap = tuple(
            tuple(zip(_each(grid.shifted(padded)), _each(grid.taps(weights).unsqueeze(3)), strict=True))
            for grid in grids
        )
        return cls(tile.counts, padded, inside.new_empty(samples, channels, length), weights, by_tap)

    def load_planes(self, padded: Tensor, planes: Tensor, grid: Lattice, tile: Tile) -> None:
        """What the tile's taps read of ``[B, C/G, G, H, W]``; around it stay zeros."""
        part, above = grid.part(planes, tile)
        if grid.window.stride > 1 or self.counts[2] < planes.shape[3]:
            padded.zero_()  # other tiles fill other places; whole planes overwrite each other
        grid.place(padded, part, above, self.counts[2]).copy_(part)

    def load_weights(self, kernels: Tensor, inside: Tensor, tile: Tile) -> None:
        """The tile's part of ``[B, G, k*k, H_out, W_out]``, zero where a tap falls beside the map."""
        part = kernels[tile.samples, tile.groups, :, tile.rows].transpose(1, 2)
        torch.mul(part, inside[:, None, tile.rows], out=self.by_position(self.weights))

    def by_position(self, buffer: Tensor) -> Tensor:
        """``[n, m, R]`` as ``[n, m, groups, rows, W_out]``."""
        spread: Tensor = buffer.unflatten(2, (*self.counts[1:], -1))
        return spread


def aggregate_shifted(x: Tensor, kernels: Tensor, window: Window, out: Tensor) -> None:
    """Fill ``out`` ``[B, C, H_out, W_out]``, of any memory layout, from ``x`` and ``kernels`` of its type."""
    planes, filtered = _by_group(x, kernels), _by_group(out, kernels)
    inside = window.inside(x, _accumulator(x.dtype))  # [k*k, H_out, W_out]
    grids = lattices(window, inside.shape[2])
    buffers: _Buffers | None = None
    for tile in tiles(kernels, planes.shape[1]):
        if buffers is None or buffers.counts != tile.counts:
            buffers = _Buffers.for_tile(tile, planes.shape[1], grids, inside)
        buffers.load_weights(kernels, inside, tile)
        part = filtered[tile.samples, :, tile.groups, tile.rows]
        sums = _end_to_end(part, inside.dtype)
        total = (buffers.maps if sums is None else sums).zero_()
        for grid, taps in zip(grids, buffers.by_tap, strict=True):
            buffers.load_planes(buffers.padded, planes, grid, tile)
            for read, weight in taps:
                total.addcmul_(weight, read)
        if sums is None:
            part.copy_(buffers.by_position(total))


def differentiate_shifted(
    grad: Tensor, x: Tensor, kernels: Tensor, window: Window, grad_x: Tensor, grad_kernels: Tensor
) -> None:
    """Fill the gradients of ``x`` and ``kernels``, of any memory layout, from ``grad`` of the output."""
    planes, grads = _by_group(x, kernels), _by_group(grad, kernels)
    inside = window.inside(x, _accumulator(x.dtype))  # [k*k, H_out, W_out]
    grids = lattices(window, inside.shape[2])
    # Strips of rows add to their neighbours' rows, which must not be rounded in between; whole planes do not.
    cut = list(tiles(kernels, planes.shape[1]))
    whole = window.stride == 1 and all(tile.counts[2] == planes.shape[3] for tile in cut)
    sums = grad_x if whole else torch.zeros_like(grad_x, dtype=inside.dtype)
    summed = _by_group(sums, kernels)
    buffers: _Buffers | None = None
    for tile in cut:
        if buffers is None or buffers.counts != tile.counts:
            buffers = _Buffers.for_tile(tile, planes.shape[1], grids, inside)
            read, weight_grads = torch.zeros_like(buffers.padded), torch.empty_like(buffers.weights)
        buffers.load_weights(kernels, inside, tile)
        part = grads[tile.samples, :, tile.groups, tile.rows]
        own = _end_to_end(part, inside.dtype)
        if own is None:
            own = buffers.maps
            buffers.by_position(own).copy_(part)
        for grid, taps in zip(grids, buffers.by_tap, strict=True):
            buffers.load_planes(read, planes, grid, tile)
            _correlate(own, grid.shifted(read), grid.taps(weight_grads))
            buffers.padded.zero_()
            for written, weight in taps:
                written.addcmul_(weight, own)
            target, above = grid.part(summed, tile)
            spread = grid.place(buffers.padded, target, above, tile.counts[2])
            if whole:
                target.copy_(spread)
            else:
                target.add_(spread)
        by_group = buffers.by_position(weight_grads).transpose(1, 2)  # [n, groups, k*k, rows, W_out]
        torch.mul(by_group, inside[:, tile.rows], out=grad_kernels[tile.samples, tile.groups, :, tile.rows])
    if sums is not grad_x:
        grad_x.copy_(sums)


def _correlate(grads: Tensor, read: Tensor, sums: Tensor) -> None:
    """Let ``sums`` ``[i, j, n, R]`` be ``sum_c grads[n, c, R] read[i, j, n, c, R]``."""
    for channel, (grad, planes) in enumerate(zip(grads.unbind(1), read.unbind(3), strict=True)):
        if channel == 0:
            torch.mul(grad, planes, out=sums)
        else:
            sums.addcmul_(grad, planes)


def _end_to_end(part: Tensor, dtype: torch.dtype) -> Tensor | None:
    """``[n, C/G, groups, rows, W]`` as a view ``[n, C/G, R]``, if it is of ``dtype`` and lies in memory like that."""
    groups, rows, width = part.shape[2:]
    of_group, of_row, of_column = part.stride()[2:]
    laid_so = (of_row, of_column) == (width, 1) and (groups == 1 or of_group == rows * width)
    return part.flatten(2) if laid_so and part.dtype == dtype else None


def _by_group(maps: Tensor, kernels: Tensor) -> Tensor:
    """``[B, C, ...]`` as ``[B, C/G, G, ...]``: the group of channel ``c`` is ``c mod G``."""
    by_group: Tensor = maps.unflatten(1, (-1, kernels.shape[1]))
    return by_group


def _each(taps: Tensor) -> list[Tensor]:
    """``[rows of taps, columns of taps, ...]`` as one view per tap."""
    return [tap for row in taps.unbind(0) for tap in row.unbind(0)]


def _accumulator(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32
