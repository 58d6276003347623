"""How a cost grows with one size: measured points and the exponent of the power law through them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

CostName = Literal["seconds", "mebibytes"]


@dataclass(frozen=True)
class GrowthPoint:
    """The cost at one size.

    Attributes:
        size: the size.
        seconds: the time; `Curve.quantity` says of what.
        mebibytes: the memory in MiB that the measurement added to its process at its peak; for a command, that of
            the largest of its processes.
    """

    size: int
    seconds: float
    mebibytes: float


@dataclass(frozen=True)
class Curve:
    """The costs at several sizes.

    Attributes:
        quantity: what was measured.
        axis: the size that varies.
        points: the measured costs, from the smallest size to the largest.
    """

    quantity: str
    axis: str
    points: tuple[GrowthPoint, ...]

    def exponent(self, cost: CostName) -> float:
        """Return the slope of the least-squares line through the logarithms of all points; NaN if a cost is 0."""
        return _slope(self.points, cost)

    def last_exponent(self, cost: CostName) -> float:
        """Return the same for the two largest sizes, where constant costs count least."""
        return _slope(self.points[-2:], cost)


def _slope(points: Sequence[GrowthPoint], cost: CostName) -> float:
    values = [getattr(point, cost) for point in points]
    if len(values) < 2 or any(not value > 0 for value in values):
        return math.nan
    slope, _ = np.polyfit(np.log([point.size for point in points]), np.log(values), 1)
    return float(slope)
