"""Tiles for the shift-and-accumulate backend: parts of the output, and the layout of their planes in memory.

A tile holds ``n`` samples, some groups and some rows. Its planes are contiguous: ``R`` = groups * rows * W_out
elements for each of the ``C/G`` channels of a group. In a *padded* buffer ``[n, C/G, margin + R + margin]`` a tap is
a view at an offset of ``dy * W_out + dx`` elements.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from fusion_modules.laconv.ops.window import TapSubset, Window

# Size of a tile per core, in elements of float32: for maps (two maps, with the taps read one by one) and for taps
# (all taps, with a few planes). Each is about what fits into a second-level cache of 1 MiB. 0.5 or 1.5 times these
# sizes are as fast.
_MAP_ELEMENTS = 128 * 1024
_TAP_ELEMENTS = 320 * 1024


@dataclass(frozen=True)
class Tile:
    """A part of the output: slices of samples, groups and rows."""

    samples: slice
    groups: slice
    rows: slice

    @property
    def counts(self) -> tuple[int, int, int]:
        """The numbers of samples, groups and rows."""
        samples, groups, rows = (part.stop - part.start for part in (self.samples, self.groups, self.rows))
        return samples, groups, rows


def tiles(kernels: Tensor, channels: int) -> Iterator[Tile]:
    """Yield the tiles of an output of ``channels`` channels per group; on a CPU each tile fits the cache.

    On a GPU there is one tile.

    Only tiles of one group are split by rows: a tap may read a row next to the tile, and in a tile of several groups
    this row would belong to a neighbouring group without being masked.
    """
    batch, groups, taps, height, width = kernels.shape
    positions = batch * groups * height * width
    if kernels.device.type == "cpu":
        positions = torch.get_num_threads() * min(_MAP_ELEMENTS // channels, _TAP_ELEMENTS // taps)
    planes = positions // (height * width)
    groups_per_tile = max(
        (count for count in range(1, groups + 1) if groups % count == 0 and count <= planes), default=1
    )
    for samples in _even_parts(batch, max(1, planes // groups_per_tile)):
        for group in range(0, groups, groups_per_tile):
            for rows in _even_parts(height, height if planes else max(1, positions // width)):
                yield Tile(samples, slice(group, group + groups_per_tile), rows)


def _even_parts(length: int, most: int) -> Iterator[slice]:
    """Yield ``0 ... length`` in the smallest number of parts of at most ``most``, of nearly equal size."""
    count = -(-length // most)
    for part in range(count):
        yield slice(length * part // count, length * (part + 1) // count)


@dataclass(frozen=True)
class Lattice:
    """The taps that read one lattice of the input, and their views of a padded buffer.

    A stride ``s`` splits the input into ``s x s`` lattices. Within a lattice, neighbouring outputs read neighbouring
    points. Stride 1 has one lattice, the input itself.

    Args:
        rows: the taps along the height.
        columns: the taps along the width.
        window: the whole window.
        width: ``W_out``, the distance between rows in a buffer, independent of the width of the lattice.
    """

    rows: TapSubset
    columns: TapSubset
    window: Window
    width: int

    @property
    def margin(self) -> int:
        """The number of elements before and after the planes of a tile that taps may read."""
        return self.window.reach * (self.width + 1)

    def part(self, planes: Tensor, tile: Tile) -> tuple[Tensor, int]:
        """Return the part of ``planes`` ``[B, C/G, G, H, W]`` that a tile reads, and its rows above the tile."""
        stride, reach = self.window.stride, self.window.reach
        lattice = planes[
            tile.samples, :, tile.groups, self.rows.origin :: stride, self.columns.origin :: stride
        ]
        start = max(0, tile.rows.start - reach)
        return lattice[..., start : tile.rows.stop + reach, :], tile.rows.start - start

    def padded_view(self, padded: Tensor, part: Tensor, above: int, rows: int) -> Tensor:
        """Return the view of ``padded`` for the result ``part`` of `part`, in a tile of ``rows`` rows."""
        channels, pitch = padded.shape[1:]
        strides = (channels * pitch, pitch, rows * self.width, self.width, 1)
        return padded.as_strided(part.shape, strides, self.margin - above * self.width)

    def shifted(self, padded: Tensor) -> Tensor:
        """Return the elements of ``padded`` that each tap reads, a view ``[tap rows, tap columns, n, C/G, R]``."""
        samples, channels, pitch = padded.shape
        return padded.as_strided(
            (self.rows.count, self.columns.count, samples, channels, pitch - 2 * self.margin),
            (self.rows.step * self.width, self.columns.step, channels * pitch, pitch, 1),
            self.margin + self.rows.shift * self.width + self.columns.shift,
        )

    def indices(self) -> list[int]:
        """Return the indices ``j`` of these taps, row by row."""
        size = self.window.size
        rows = range(self.rows.first, size, self.rows.spacing)
        return [
            row * size + column
            for row in rows
            for column in range(self.columns.first, size, self.columns.spacing)
        ]

    def taps(self, values: Tensor) -> Tensor:
        """Return these taps of ``[n, k*k, R]``: a view ``[tap rows, tap columns, n, R]``."""
        grid = values.view(len(values), self.window.size, self.window.size, -1)  # [n, k, k, R]
        return grid.permute(1, 2, 0, 3)[
            self.rows.first :: self.rows.spacing, self.columns.first :: self.columns.spacing
        ]


@lru_cache(maxsize=64)
def lattices(window: Window, width: int) -> tuple[Lattice, ...]:
    """Return every lattice that the taps of a window read, for an output of ``width`` columns."""
    subsets = window.tap_subsets()
    return tuple(Lattice(rows, columns, window, width) for rows in subsets for columns in subsets)
