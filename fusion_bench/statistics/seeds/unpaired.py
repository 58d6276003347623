"""The difference of two arms of which one has more seeds: seeds as in Welch's test, clusters paired."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fusion_bench.statistics.crossed import MeanSquares
from fusion_bench.statistics.estimate import Estimate


@dataclass(frozen=True)
class SideVariance:
    """The variance over seeds of one side of an unpaired difference, its degrees of freedom and number of seeds."""

    variance: float
    degrees: float
    seeds: int


def unpaired(few: SideVariance, many: SideVariance, squares: MeanSquares, clusters: int) -> Estimate:
    """Return the estimate of a difference of means over own seeds; its ``mean`` is that of the shared seeds.

    Args:
        few: the side all of whose seeds are shared.
        many: the side with more seeds.
        squares: the mean squares of the difference on the shared seeds.
        clusters: the number of clusters.
    """
    one, other = few.variance / few.seeds, many.variance / many.seeds
    own = one + other
    degrees = own**2 / (one**2 / few.degrees + other**2 / many.degrees) if own > 0 else few.degrees
    per_cluster = squares.cluster / (clusters * few.seeds)
    images = np.maximum(squares.cluster - squares.residual, 0.0) / (clusters * few.seeds)
    variance = np.maximum(own + images, per_cluster * (1 + few.seeds / many.seeds) / 2)
    cautious = own * (degrees + 2) / degrees
    spread = cautious**2 / degrees + images**2 / max(1, clusters - 1)
    satterthwaite = np.divide(
        (cautious + images) ** 2, spread, out=np.full_like(spread, np.nan), where=spread > 0
    )
    satterthwaite = np.fmax(satterthwaite, min(degrees, clusters - 1))
    return Estimate(squares.mean, np.sqrt(variance), np.where(variance == 0, np.nan, satterthwaite))
