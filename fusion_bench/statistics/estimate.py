"""An estimate with its t interval and p-values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import stats

FloatArray: TypeAlias = npt.NDArray[np.float64]

_NUMBERS = ("mean", "standard_error", "degrees")


@dataclass(frozen=True, eq=False)
class Estimate:
    """A mean (or mean difference) with its standard error; arrays of one shape ``[...]``.

    Attributes:
        mean: the estimate.
        standard_error: NaN with a single seed or cluster, zero where all values are equal.
        degrees: Satterthwaite degrees of freedom; NaN where the standard error is NaN or zero.
        possible: lowest and highest value that the mean can have; an interval ends there, which costs no
            coverage.
    """

    mean: FloatArray
    standard_error: FloatArray
    degrees: FloatArray
    possible: tuple[float, float] = (-np.inf, np.inf)

    def interval(self, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
        """The two ends of the t interval; both NaN where there is no standard error."""
        reach = self._times(stats.t.ppf((1 + level) / 2, self.degrees))
        return np.clip(self.mean - reach, *self.possible), np.clip(self.mean + reach, *self.possible)

    def p_value(self) -> FloatArray:
        """Two-sided p-value of "the mean is zero" from the same t; with no spread at all it is 0 or 1."""
        return 2 * self._tail_beyond(np.abs(self.mean))

    def p_not_above(self) -> FloatArray:
        """One-sided p-value of "the mean is zero or less" from the same t."""
        return self._tail_beyond(self.mean)

    def p_outside(self, margin: float) -> FloatArray:
        """p-value of "the mean lies outside ``+-margin``": the larger of two one-sided tests.

        Below 0.05 exactly where the 90 % interval lies inside the margin (Schuirmann, 1987).
        """
        return self._tail_beyond(margin - np.abs(self.mean))

    def _times(self, quantile: float | FloatArray) -> FloatArray:
        return np.where(self.standard_error == 0, 0.0, quantile * self.standard_error)

    def _tail_beyond(self, distance: FloatArray) -> FloatArray:
        """P(t > distance / standard error); a point mass decides alone when there is no spread."""
        spread = self.standard_error > 0
        scaled = distance / np.where(spread, self.standard_error, 1.0)
        tail = stats.t.sf(scaled, self.degrees)
        certain = np.where(distance > 0, 0.0, np.where(distance == 0, 0.5, 1.0))
        result: FloatArray = np.where(self.standard_error == 0, certain, tail)
        return result


def stacked(estimates: Sequence[Estimate]) -> Estimate:
    """Return single estimates of one metric as one estimate with arrays ``[K]``."""
    columns = ([float(getattr(item, name)) for item in estimates] for name in _NUMBERS)
    mean, error, degrees = (np.array(column, dtype=np.float64) for column in columns)
    return Estimate(mean, error, degrees, estimates[0].possible if estimates else (-np.inf, np.inf))
