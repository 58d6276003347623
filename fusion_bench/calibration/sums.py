"""Simulated studies drawn as the sums that the statistics need, thousands at once, whatever the number of clusters.

In the model of `fusion_bench.statistics.simulation` every estimate follows from the metric of each arm and seed, and
from the mean squares of each difference. Rotate the clusters so that the first direction is their mean: the metrics
of the cells lie in that direction alone, the other ``N - 1`` are independent of it, and the sums of squares and
products over them are Wishart matrices ``[A, A]``, drawn by Bartlett's decomposition (*Proceedings of the Royal
Society of Edinburgh* 53, 1933).

`fusion_bench.calibration.families` applies the formulas of `fusion_bench.statistics` to them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fusion_bench.statistics.crossed import MeanSquares
from fusion_bench.statistics.estimate import FloatArray
from fusion_bench.statistics.simulation import StudyShape, variance_factors


@dataclass(frozen=True, eq=False)
class Pairs:
    """The compared pairs of arms: the difference ``first - second`` of each, by their positions ``[P]``."""

    first: npt.NDArray[np.intp]
    second: npt.NDArray[np.intp]

    def differences(self, values: FloatArray) -> FloatArray:
        """Return ``[..., P, n]``, the differences between rows of ``[..., A, n]``."""
        return values[..., self.first, :] - values[..., self.second, :]


@dataclass(frozen=True, eq=False)
class Sums:
    """The sums of ``K`` studies.

    Attributes:
        metric: ``[K, A, S]``, the metric of each cell; controls follow the arms.
        cluster: ``[K, P]``, the mean square of clusters of each compared pair.
        residual: ``[K, P]``, that of the residual.
        clusters: the number of clusters.
    """

    metric: FloatArray
    cluster: FloatArray
    residual: FloatArray
    clusters: int

    def mean_squares(self, pairs: Pairs, seed_variance: FloatArray) -> MeanSquares:
        """Return the mean squares of the compared pairs, with a variance over seeds ``[K, P]`` of each difference."""
        difference = pairs.differences(self.metric).mean(-1)
        return MeanSquares(difference, self.clusters * seed_variance, self.cluster, self.residual)


def draw_sums(
    shape: StudyShape, truth: FloatArray, pairs: Pairs, studies: int, generator: np.random.Generator
) -> Sums:
    """Return sums of studies of the kind that `fusion_bench.statistics.simulation.simulate_study` draws.

    Args:
        shape: the shape of the studies; every arm has ``seeds`` seeds.
        truth: ``[A]``, the true value of each arm and control.
        pairs: the pairs to compare.
        studies: the number of studies.
        generator: the source of chance.
    """
    arms, seeds, clusters = shape.rows(), shape.seeds, shape.clusters
    spread = shape.seed_sd * np.sqrt(variance_factors(shape, generator, studies))
    own = generator.normal(size=(studies, arms, seeds)) * spread[:, :, None]
    shared = shape.shared_seed_sd * generator.normal(size=(studies, 1, seeds))
    of_clusters = shape.cluster_sd * generator.normal(size=(studies, arms, 1)) / np.sqrt(clusters)
    rest = shape.residual_sd * generator.normal(size=(studies, arms, seeds)) / np.sqrt(clusters)
    free = clusters - 1
    per_cluster = seeds * shape.cluster_sd**2 + shape.residual_sd**2
    cluster = per_cluster * _squares(arms, free, pairs, studies, generator) / free
    of_residual = free * (seeds - 1)
    residual = shape.residual_sd**2 * _squares(arms, of_residual, pairs, studies, generator) / of_residual
    return Sums(truth[:, None] + own + shared + of_clusters + rest, cluster, residual, clusters)


def _squares(
    arms: int, degrees: int, pairs: Pairs, studies: int, generator: np.random.Generator
) -> FloatArray:
    """Return ``[studies, P]``, sums over ``degrees`` of squared differences of normals."""
    if degrees < arms:
        drawn = generator.normal(size=(studies, arms, degrees))
        return np.asarray((pairs.differences(drawn) ** 2).sum(-1))
    root = np.tril(generator.normal(size=(studies, arms, arms)), -1)
    diagonal = np.arange(arms)
    root[:, diagonal, diagonal] = np.sqrt(generator.chisquare(degrees - diagonal, size=(studies, arms)))
    return np.asarray((pairs.differences(root) ** 2).sum(-1))
