r"""The influence of each cluster on a metric: the one form of table that every interval is computed from.

A metric of a cell is a ratio of two sums over clusters: summed scores over numbers of samples, or intersections over
unions. With numerators ``I[s, c]`` and denominators ``U[s, c]``, ``m[s] = sum_c I / sum_c U``, its first-order
expansion (Cochran, *Sampling Techniques*, 1977, section 6.4) gives

    v[s, c] = m[s] + (I[s, c] - U[s, c] m[s]) / mean_c U[s, c],

whose mean over clusters is exactly ``m[s]``. The difference of two arms is the difference of their tables; where the
denominators are the same, this equals the table of the summed differences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fusion_bench.statistics.crossed import MeanSquares, crossed, mean_squares
from fusion_bench.statistics.estimate import Estimate, FloatArray

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Influences:
    """The influences on one metric on one split.

    Attributes:
        arms: the labels of the arms.
        seeds: the seeds, in rising order.
        table: ``[A, S, N]``, ``v`` above; all NaN for a cell without a result.
        sample_ids: ``[n]``, the names of the samples.
        possible: the lowest and the highest value of the metric.
        values: ``[A, S]``, the metric of each cell; None for the means of ``table``, which are the same but for the
            last bit. A report rounds them, so that the last bit can show.
    """

    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    table: FloatArray
    sample_ids: npt.NDArray[np.object_]
    possible: tuple[float, float] = (0.0, 1.0)
    values: FloatArray | None = None

    def seeds_of(self, *arms: str) -> BoolArray:
        """Return a mask ``[S]`` of the seeds that all of ``arms`` have finished."""
        if not self.clusters():
            return np.zeros(len(self.seeds), dtype=bool)
        return np.asarray(~np.isnan(self.table[self._rows(arms), :, 0]).any(0))

    def clusters(self) -> int:
        """Return the number of clusters."""
        return int(self.table.shape[2])

    def samples(self) -> int:
        """Return the number of samples."""
        return len(self.sample_ids)

    def restricted(self, arms: Sequence[str], seeds: Sequence[int]) -> Influences:
        """Return the influences of some arms and seeds."""
        rows, columns = self._rows(arms), [self.seeds.index(seed) for seed in seeds]
        return replace(
            self,
            arms=tuple(arms),
            seeds=tuple(seeds),
            table=self.table[rows][:, columns],
            values=None if self.values is None else self.values[rows][:, columns],
        )

    def of(self, arm: str, seeds: BoolArray) -> FloatArray:
        """Return ``[S', N]``, the table of one arm on the chosen seeds (a mask)."""
        table: FloatArray = self.table[self.arms.index(arm)][seeds]
        return table

    def per_seed(self, arms: Sequence[str], seeds: BoolArray) -> FloatArray:
        """Return ``[A, S']``, the metric of each of ``arms`` on each of the chosen seeds (a mask)."""
        rows = self._rows(arms)
        chosen: FloatArray = self.table[rows].mean(2) if self.values is None else self.values[rows]
        return chosen[:, seeds]

    def mean(self, arm: str) -> Estimate:
        """Return the expected metric of the arm over new seeds and new clusters."""
        seeds = self.seeds_of(arm)
        found = crossed(self.of(arm, seeds), np.ones(self.clusters()))
        return replace(found, mean=np.asarray(self.per_seed([arm], seeds).mean()), possible=self.possible)

    def paired(self, arm: str, other: str, seeds: BoolArray) -> Estimate:
        """Return the expected difference ``arm - other`` from the two arms alone, on seeds that both have."""
        found = crossed(self.of(arm, seeds) - self.of(other, seeds), np.ones(self.clusters()))
        mean = self.paired_mean(arm, other, seeds)
        return replace(found, mean=mean, possible=self.possible_difference())

    def paired_mean(self, arm: str, other: str, seeds: BoolArray) -> FloatArray:
        """Return the mean of the differences ``arm - other``, on seeds that both have."""
        return np.asarray(np.subtract(*self.per_seed([arm, other], seeds)).mean())

    def paired_squares(self, arm: str, other: str, seeds: BoolArray) -> MeanSquares:
        """Return the mean squares of the difference ``arm - other``, on seeds that both have."""
        return mean_squares(self.of(arm, seeds) - self.of(other, seeds), np.ones(self.clusters()))

    def possible_difference(self) -> tuple[float, float]:
        """Return the lowest and the highest difference of two arms."""
        low, high = self.possible
        return low - high, high - low

    def _rows(self, arms: Sequence[str]) -> list[int]:
        return [self.arms.index(arm) for arm in arms]


def influence_table(numerators: npt.ArrayLike, denominators: npt.ArrayLike) -> FloatArray:
    """Return ``v`` (module docstring) of ``[..., S, N]`` sums per seed and cluster."""
    upper, lower = (np.asarray(sums, dtype=np.float64) for sums in (numerators, denominators))
    lower = np.broadcast_to(lower, upper.shape)
    mean = upper.sum(-1, keepdims=True) / lower.sum(-1, keepdims=True)
    table: FloatArray = mean + (upper - lower * mean) / lower.mean(-1, keepdims=True)
    return table
