"""Simulated studies drawn as the sums that the statistics need, so that 3,000 clusters cost as much as 20.

In the model of `fusion_bench.statistics.simulation` every estimate follows from the metric of each arm and seed, and
from the mean squares of each difference. Rotate the clusters so that the first direction is their mean: the metrics
of the cells lie in that direction alone, the other ``N - 1`` are independent of it, and the sums of squares and
products over them are Wishart matrices ``[A, A]``, drawn by Bartlett's decomposition (*Proceedings of the Royal Society
of Edinburgh* 53, 1933). The tests compare such studies with those that are drawn cell by cell.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fusion_bench.statistics.crossed import MeanSquares, estimate_of
from fusion_bench.statistics.estimate import Estimate, FloatArray
from fusion_bench.statistics.influence import BoolArray, Influences
from fusion_bench.statistics.simulation import StudyShape, simulate_study


@dataclass(frozen=True, eq=False)
class SummedStudy(Influences):
    """A study of which the metrics of the cells and the sums of squares are known; ``table`` is ``[A, S, 1]``.

    Attributes:
        count: the number of clusters.
        cluster_products: ``[A, A]``, sums over clusters of products of the arms' means over seeds, times ``S``.
        residual_products: ``[A, A]``, sums of products of what is left of the arms' tables.
    """

    count: int = 0
    cluster_products: FloatArray | None = None
    residual_products: FloatArray | None = None

    def clusters(self) -> int:
        """Return the number of clusters."""
        return self.count

    def paired_squares(self, arm: str, other: str, seeds: BoolArray) -> MeanSquares:
        """Return the mean squares of the difference ``arm - other`` on the seeds that all arms have."""
        difference = np.subtract(*self.per_seed([arm, other], seeds))
        free, shared = self.count - 1, len(difference)
        return MeanSquares(
            np.asarray(difference.mean()),
            np.asarray(self.count * difference.var(ddof=1)),
            np.asarray(self._squares(self.cluster_products, arm, other) / free),
            np.asarray(self._squares(self.residual_products, arm, other) / (free * (shared - 1))),
        )

    def paired(self, arm: str, other: str, seeds: BoolArray) -> Estimate:
        """Return the expected difference ``arm - other`` from the two arms alone."""
        shared = int(seeds.sum())
        found = estimate_of(self.paired_squares(arm, other, seeds), shared, self.count, shared - 1)
        return replace(found, possible=self.possible_difference())

    def _squares(self, products: FloatArray | None, arm: str, other: str) -> float:
        """Return the sum of squares of a difference from the products of the arms."""
        if products is None:
            return 0.0
        one, two = self.arms.index(arm), self.arms.index(other)
        return float(products[one, one] + products[two, two] - 2 * products[one, two])


def summed_study(shape: StudyShape, effects: FloatArray, generator: np.random.Generator) -> SummedStudy:
    """Return a study of the kind that `fusion_bench.statistics.simulation.simulate_study` draws.

    Args:
        shape: the shape of the study.
        effects: ``[A - 1]``, the true difference of each arm from the reference.
        generator: the source of chance.
    """
    one_cluster = replace(
        shape,
        clusters=1,
        cluster_sd=shape.cluster_sd / np.sqrt(shape.clusters),
        residual_sd=shape.residual_sd / np.sqrt(shape.clusters),
    )
    means = simulate_study(one_cluster, effects, generator)
    arms, free, seeds = shape.arms, shape.clusters - 1, shape.seeds
    own = seeds * shape.cluster_sd**2 + shape.residual_sd**2
    return SummedStudy(
        means.arms,
        means.seeds,
        means.table,
        np.arange(shape.clusters).astype(object),
        means.possible,
        means.table[:, :, 0],
        count=shape.clusters,
        cluster_products=own * _wishart(arms, free, generator) if own else None,
        residual_products=shape.residual_sd**2 * _wishart(arms, free * (seeds - 1), generator)
        if shape.residual_sd
        else None,
    )


def _wishart(size: int, degrees: int, generator: np.random.Generator) -> FloatArray:
    """Return sums of products ``[size, size]`` over ``degrees`` independent standard normal vectors."""
    if degrees < size:
        drawn = generator.normal(size=(size, degrees))
        return np.asarray(drawn @ drawn.T)
    root = np.tril(generator.normal(size=(size, size)), -1)
    root[np.diag_indices(size)] = np.sqrt(generator.chisquare(degrees - np.arange(size)))
    return np.asarray(root @ root.T)
