"""Tiles of the shifted form: which part of the output is worked on at once, and how its planes lie in memory.

A tile holds ``n`` samples, some groups and some rows. Its planes are laid end to end: ``R`` = groups * rows *
W_out elements for each of the ``C/G`` channels of a group. In a *padded* buffer ``[n, C/G, margin + R + margin]``
a tap is a view that begins ``dy * W_out + dx`` elements further on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fusion_modules.laconv.ops.window import Comb, Window

# What a core works on at once, in elements of float32: two maps with the taps passing by, or all taps with a few
# planes passing by, about what a second-level cache of 1 MiB holds. Half or one and a half times as much is as fast.
_MAP_ELEMENTS = 128 * 1024
_TAP_ELEMENTS = 320 * 1024


@dataclass(frozen=True)
class Tile:
    """A part of the output."""

    samples: slice
    groups: slice
    rows: slice

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many samples, groups and rows."""
        samples, groups, rows = (part.stop - part.start for part in (self.samples, self.groups, self.rows))
        return samples, groups, rows


def tiles(kernels: Tensor, channels: int) -> Iterator[Tile]:
    """Cut an output of ``channels`` channels a group into tiles that fit the cache; on a GPU it is one tile.

    Only tiles of one group are cut by rows: a row beyond the tile may be part of the map, and a neighbouring
    group in its place would not be masked.
    """
    batch, groups, taps, height, width = kernels.shape
    positions = batch * groups * height * width
    if kernels.device.type == "cpu":
        positions = torch.get_num_threads() * min(_MAP_ELEMENTS // channels, _TAP_ELEMENTS // taps)
    planes = positions // (height * width)
    together = max(
        (count for count in range(1, groups + 1) if groups % count == 0 and count <= planes), default=1
    )
    for samples in _even_parts(batch, max(1, planes // together)):
        for group in range(0, groups, together):
            for rows in _even_parts(height, height if planes else max(1, positions // width)):
                yield Tile(samples, slice(group, group + together), rows)


def _even_parts(length: int, most: int) -> Iterator[slice]:
    """``0 ... length`` in the fewest parts of at most ``most``, as equal as can be."""
    count = -(-length // most)
    for part in range(count):
        yield slice(length * part // count, length * (part + 1) // count)


@dataclass(frozen=True)
class Lattice:
    """The taps that read one lattice of the input, and how they find it in a padded buffer.

    A stride ``s`` splits the input into ``s x s`` lattices; in each, neighbours are neighbours again. Stride 1 has
    one lattice, the input itself.

    Args:
        rows: the taps along the height.
        columns: the taps along the width.
        window: the whole window.
        width: ``W_out``, the pitch of rows in a buffer whatever the lattice's own width.
    """

    rows: Comb
    columns: Comb
    window: Window
    width: int

    @property
    def margin(self) -> int:
        """Elements before and after a tile's planes that taps may touch."""
        return self.window.reach * (self.width + 1)

    def part(self, planes: Tensor, tile: Tile) -> tuple[Tensor, int]:
        """What a tile's taps read of ``planes`` ``[B, C/G, G, H, W]``, and how far above the tile it begins."""
        stride, reach = self.window.stride, self.window.reach
        lattice = planes[
            tile.samples, :, tile.groups, self.rows.origin :: stride, self.columns.origin :: stride
        ]
        start = max(0, tile.rows.start - reach)
        return lattice[..., start : tile.rows.stop + reach, :], tile.rows.start - start

    def place(self, padded: Tensor, part: Tensor, above: int, rows: int) -> Tensor:
        """The view of ``padded`` that a `part` fills, in a tile of ``rows`` rows."""
        channels, pitch = padded.shape[1:]
        strides = (channels * pitch, pitch, rows * self.width, self.width, 1)
        return padded.as_strided(part.shape, strides, self.margin - above * self.width)

    def shifted(self, padded: Tensor) -> Tensor:
        """What each tap reads of ``padded``: ``[rows of taps, columns of taps, n, C/G, R]``, all views."""
        samples, channels, pitch = padded.shape
        return padded.as_strided(
            (self.rows.count, self.columns.count, samples, channels, pitch - 2 * self.margin),
            (self.rows.step * self.width, self.columns.step, channels * pitch, pitch, 1),
            self.margin + self.rows.shift * self.width + self.columns.shift,
        )

    def taps(self, every: Tensor) -> Tensor:
        """These taps of ``[n, k*k, R]``: a view ``[rows of taps, columns of taps, n, R]``."""
        grid: Tensor = every.unflatten(1, (self.window.size, self.window.size))
        return grid.permute(1, 2, 0, 3)[
            self.rows.first :: self.rows.every, self.columns.first :: self.columns.every
        ]


def lattices(window: Window, width: int) -> tuple[Lattice, ...]:
    """Every lattice that the taps of a window read, for an output ``width`` positions wide."""
    combs = window.combs()
    return tuple(Lattice(rows, columns, window, width) for rows in combs for columns in combs)
