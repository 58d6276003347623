r"""The sources of the noise of a comparison: seeds, clusters, and both together, as variance components.

In the crossed model (`fusion_bench.statistics.crossed`) the difference of two arms has the mean squares ``MS_seed``,
``MS_cluster`` and ``MS_residual`` with the expectations ``N var(a) + var(e)``, ``S var(b) + var(e)`` and ``var(e)``
(Searle, Casella and McCulloch, *Variance Components*, 1992, chapter 4). So

    var(a) = (MS_seed - MS_residual) / N,   var(b) = (MS_cluster - MS_residual) / S,   var(e) = MS_residual,

and the variance of the estimated difference is ``var(a) / S + var(b) / N + var(e) / (S N)``, of which these are the
three parts. A component that is estimated below zero counts as zero.

The mean squares are means over all pairs of arms, which need no table per pair: for any numbers ``x[a]``, the sum of
``(x[a] - x[b])^2`` over the pairs is ``A sum_a (x[a] - mean(x))^2``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fusion_bench.statistics.crossed import mean_squares
from fusion_bench.statistics.estimate import FloatArray
from fusion_bench.statistics.influence import Influences


@dataclass(frozen=True)
class ComparisonNoise:
    """The variance components of the difference of two arms of a study, on average over the pairs.

    Attributes:
        arms: the number of arms.
        seeds: ``S``.
        clusters: ``N``.
        seed: the standard deviation of the difference over seeds, clusters being many: the root of ``var(a)``.
        cluster: the root of ``var(b)``.
        residual: the root of ``var(e)``: one seed on one cluster.
        negative: the components that were estimated below zero: ``seed``, ``cluster``.
    """

    arms: int
    seeds: int
    clusters: int
    seed: float
    cluster: float
    residual: float
    negative: tuple[str, ...] = ()

    def variance(self, seeds: float | None = None, clusters: float | None = None) -> float:
        """Return the variance of a difference with that many seeds and clusters; those of the study by default."""
        return float(sum(self._parts(seeds or self.seeds, clusters or self.clusters)))

    def shares(self) -> tuple[float, float, float]:
        """Return the shares of seeds, clusters and both together in the variance of a difference; NaN without any."""
        parts = self._parts(self.seeds, self.clusters)
        total = sum(parts)
        one, two, three = (part / total if total > 0 else np.nan for part in parts)
        return one, two, three

    def narrowing(self, seeds: float = 1.0, clusters: float = 1.0) -> float:
        """Return by what share the standard error falls with so many times the seeds and clusters."""
        now = self.variance()
        then = self.variance(seeds * self.seeds, clusters * self.clusters)
        return float(1 - np.sqrt(then / now)) if now > 0 else 0.0

    def _parts(self, seeds: float, clusters: float) -> tuple[float, float, float]:
        return self.seed**2 / seeds, self.cluster**2 / clusters, self.residual**2 / (seeds * clusters)


def comparison_noise(influences: Influences, arms: Sequence[str]) -> ComparisonNoise | None:
    """Return the noise of the comparisons of arms, on the seeds that all have finished.

    None with fewer than two arms, seeds or clusters.
    """
    if len(arms) < 2:
        return None
    seeds = influences.seeds_of(*arms)
    count, clusters = int(seeds.sum()), influences.clusters()
    if count < 2 or clusters < 2:
        return None
    centre = np.zeros((count, clusters))
    for arm in arms:
        centre += influences.of(arm, seeds) / len(arms)
    total: FloatArray = np.zeros(3)
    for arm in arms:
        squares = mean_squares(influences.of(arm, seeds) - centre, np.ones(clusters))
        total += np.array([squares.seed, squares.cluster, squares.residual])
    by_seed, by_cluster, rest = 2 * total / (len(arms) - 1)
    components = {"seed": (by_seed - rest) / clusters, "cluster": (by_cluster - rest) / count}
    negative = tuple(name for name, value in components.items() if value < 0)
    seed, cluster = (float(np.sqrt(max(value, 0.0))) for value in components.values())
    return ComparisonNoise(len(arms), count, clusters, seed, cluster, float(np.sqrt(rest)), negative)
