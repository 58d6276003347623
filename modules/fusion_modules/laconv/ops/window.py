"""The window of a position-wise convolution: ``k x k`` taps, ``dilation`` apart, around every ``stride``-th position.

Tap ``(i, j)`` of output ``(y, x)`` reads input ``(s y + d (i - k//2), s x + d (j - k//2))``, nothing where that
lies beside the map.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

TAPS = tuple(size * size for size in range(1, 12, 2))  # of odd windows up to 11 x 11


@dataclass(frozen=True)
class Comb:
    """Taps of one axis that read the same lattice ``origin, origin + s, origin + 2 s, ...`` of the input.

    Attributes:
        first: the first of these taps; the others follow ``every`` taps apart.
        every: ``s / gcd(s, d)``.
        count: how many there are.
        origin: where the lattice begins.
        shift: which lattice point the first tap reads for output 0 (may be negative).
        step: how many lattice points further each following tap reads, ``d / gcd(s, d)``.
    """

    first: int
    every: int
    count: int
    origin: int
    shift: int
    step: int

    def length(self, extent: int, stride: int) -> int:
        """How many points the lattice has on an axis of ``extent`` positions."""
        return max(0, -(-(extent - self.origin) // stride))


@dataclass(frozen=True)
class Window:
    """Where the taps of an output position lie.

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
        """The window that kernels ``[B, G, k*k, H_out, W_out]`` are for."""
        return cls(2 * TAPS.index(kernels.shape[2]) + 1, stride, dilation)

    @property
    def reach(self) -> int:
        """How many lattice points beyond its own a tap may read, ``ceil(d (k//2) / s)``."""
        return -(-self.dilation * (self.size // 2) // self.stride)

    def places(self, extent: int) -> int:
        """Output positions on an axis of ``extent`` input positions, ``(extent - 1) // s + 1``."""
        return (extent - 1) // self.stride + 1

    def combs(self) -> tuple[Comb, ...]:
        """The taps of one axis by the input lattice that they read; one comb of all ``k`` if the stride is 1."""
        common = math.gcd(self.stride, self.dilation)
        every = self.stride // common
        combs = []
        for first in range(min(every, self.size)):
            offset = self.dilation * (first - self.size // 2)
            count = -(-(self.size - first) // every)
            shift, origin = divmod(offset, self.stride)
            combs.append(Comb(first, every, count, origin, shift, self.dilation // common))
        return tuple(combs)

    def inside(self, maps: Tensor, dtype: torch.dtype) -> Tensor:
        """``[k*k, H_out, W_out]``: 1 where a tap falls on ``maps`` ``[B, C, H, W]``, 0 where it falls beside them."""
        height, width = maps.shape[2:]
        on_rows, on_columns = self._on_axis(height, maps.device), self._on_axis(width, maps.device)
        both = on_rows[:, None, :, None] & on_columns[None, :, None, :]  # [k, k, H_out, W_out]
        return both.flatten(0, 1).to(dtype)

    def _on_axis(self, extent: int, device: torch.device) -> Tensor:
        """``[k, places]``."""
        offsets = (torch.arange(self.size, device=device)[:, None] - self.size // 2) * self.dilation
        read = torch.arange(self.places(extent), device=device) * self.stride + offsets
        return (read >= 0) & (read < extent)
