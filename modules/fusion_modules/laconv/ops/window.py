"""The window of a position-wise convolution: ``k x k`` taps, ``dilation`` apart, around every ``stride``-th position.

Tap ``(i, j)`` of output ``(y, x)`` reads input ``(s y + d (i - k//2), s x + d (j - k//2))``, or zero if this input
position lies outside the map.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

TAPS = tuple(size * size for size in range(1, 12, 2))  # numbers of taps of odd windows up to 11 x 11


@dataclass(frozen=True)
class TapSubset:
    """The taps of one axis that read the same lattice ``origin, origin + s, origin + 2 s, ...`` of the input.

    Attributes:
        first: index of the first of these taps.
        spacing: distance between two of these taps, in taps: ``s / gcd(s, d)``.
        count: number of these taps.
        origin: first input position of the lattice.
        shift: index of the lattice point that the first tap reads for output 0 (may be negative).
        step: distance between the lattice points that two successive of these taps read, ``d / gcd(s, d)``.
    """

    first: int
    spacing: int
    count: int
    origin: int
    shift: int
    step: int

    def length(self, extent: int, stride: int) -> int:
        """Return the number of lattice points on an axis of ``extent`` positions."""
        return max(0, -(-(extent - self.origin) // stride))


@dataclass(frozen=True)
class Window:
    """The taps of an output position, relative to it.

    Args:
        size: ``k``, odd.
        stride: ``s``.
        dilation: ``d``.
    """

    size: int
    stride: int
    dilation: int

    @classmethod
    def of(cls, kernels: Tensor, stride: int, dilation: int) -> Window:
        """Return the window of kernels ``[B, G, k*k, H_out, W_out]``."""
        return cls(2 * TAPS.index(kernels.shape[2]) + 1, stride, dilation)

    @property
    def reach(self) -> int:
        """The largest distance in lattice points from an output to a tap, ``ceil(d (k//2) / s)``."""
        return -(-self.dilation * (self.size // 2) // self.stride)

    def output_extent(self, extent: int) -> int:
        """Return the outputs on an axis of ``extent`` input positions, ``(extent - 1) // s + 1``."""
        return (extent - 1) // self.stride + 1

    def tap_subsets(self) -> tuple[TapSubset, ...]:
        """Return the taps of one axis, grouped by the input lattice that they read; one group if the stride is 1."""
        common = math.gcd(self.stride, self.dilation)
        spacing = self.stride // common
        subsets = []
        for first in range(min(spacing, self.size)):
            offset = self.dilation * (first - self.size // 2)
            count = -(-(self.size - first) // spacing)
            shift, origin = divmod(offset, self.stride)
            subsets.append(TapSubset(first, spacing, count, origin, shift, self.dilation // common))
        return tuple(subsets)

    def inside(self, maps: Tensor, dtype: torch.dtype) -> Tensor:
        """Return ``[k*k, H_out, W_out]``: 1 if a tap lies inside ``maps`` ``[B, C, H, W]``, else 0.

        Calls share the result, so it must not be written to.
        """
        return _inside(self, *maps.shape[2:], dtype, maps.device)


@lru_cache(maxsize=64)  # a network asks again at each step for the few sizes of its maps
def _inside(window: Window, height: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    rows = _inside_axis(window, height, device)  # [k, H_out]
    columns = _inside_axis(window, width, device)  # [k, W_out]
    both = rows[:, None, :, None] & columns[None, :, None, :]  # [k, k, H_out, W_out]
    return both.flatten(0, 1).to(dtype)


def _inside_axis(window: Window, extent: int, device: torch.device) -> Tensor:
    """Return ``[k, output_extent]``: True if a tap lies inside an axis of ``extent`` positions."""
    offsets = (torch.arange(window.size, device=device)[:, None] - window.size // 2) * window.dilation
    read = torch.arange(window.output_extent(extent), device=device) * window.stride + offsets
    return (read >= 0) & (read < extent)
