"""The smallest true difference that a comparison of a study finds with 80 % probability.

The moderated variance of an arm (`fusion_bench.statistics.seeds.moderation`) is the pooled one on many degrees of
freedom or, where its own is larger, its own on few. So a test statistic has no noncentral t distribution, and that
distribution with the degrees of a typical arm would promise more than is found. The probability is therefore the mean
over studies drawn at random: their mean squares are drawn from the chi-square distributions that they have, and the
difference, which is independent of them, is normal.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from fusion_bench.statistics.crossed import MeanSquares, estimate_of
from fusion_bench.statistics.estimate import FloatArray
from fusion_bench.statistics.seeds.moderation import centred_variances

POWER = 0.8
_STUDIES = 2000
_PAIRS = 3
"""The studies that are drawn, and the comparisons in each; the difference is known to about 1 % of itself."""


@dataclass(frozen=True)
class ComparisonScatter:
    """How the comparisons of a study scatter, measured or assumed.

    Attributes:
        seed_variance: the variance over seeds of an arm's mean, the same for each arm (``s0^2``).
        cluster, residual: the mean squares of the difference of two arms on ``seeds`` seeds.
        clusters: the number of clusters.
        seeds: the number of seeds.
    """

    seed_variance: float
    cluster: float
    residual: float
    clusters: int
    seeds: int

    def expected(self, seeds: int) -> MeanSquares:
        """Return the mean squares to expect with another number of seeds.

        That of the clusters is ``seeds * sigma_b^2 + sigma_e^2``, so it rises with the seeds; that of the residual
        stays.
        """
        cluster = self.residual + seeds / self.seeds * (self.cluster - self.residual)
        return MeanSquares(
            np.asarray(0.0),
            np.asarray(2 * self.clusters * self.seed_variance),
            np.asarray(max(cluster, 0.0)),
            np.asarray(self.residual),
        )


def decidable_difference(scatter: ComparisonScatter, arms: int, seeds: int, alpha: float) -> float:
    """Return the true difference that a comparison finds with the right sign and probability `POWER`.

    Args:
        scatter: how comparisons scatter.
        arms: the number of arms that are compared seed by seed, the reference included, without controls.
        seeds: the number of seeds of each arm, at least 2.
        alpha: the level of its two-sided test.

    Returns:
        The difference in the units of the metric; NaN where nothing scatters.
    """
    expected = scatter.expected(seeds)
    true_error = float(estimate_of(expected, seeds, scatter.clusters, seeds - 1).standard_error)
    if not true_error > 0:
        return float("nan")
    drawn = _drawn(arms, seeds, scatter.clusters)
    squares = MeanSquares(
        expected.mean,
        expected.seed * drawn.seed,
        expected.cluster * drawn.cluster,
        expected.residual * drawn.residual,
    )
    found = estimate_of(squares, seeds, scatter.clusters, drawn.degrees)
    needed = special.stdtrit(found.degrees, 1 - alpha / 2) * found.standard_error / true_error
    share: float = optimize.brentq(
        lambda difference: float(special.ndtr(difference - needed).mean()) - POWER,
        0.0,
        float(needed.max()) + 10.0,
        xtol=1e-4,
    )
    return share * true_error


@dataclass(frozen=True, eq=False)
class _Drawn:
    """Mean squares of comparisons, as multiples of their expectations, and the degrees of freedom of ``seed``."""

    seed: FloatArray
    degrees: FloatArray
    cluster: FloatArray
    residual: FloatArray


@functools.lru_cache(maxsize=64)
def _drawn(arms: int, seeds: int, clusters: int) -> _Drawn:
    """Return the comparisons of random studies whose arms have one variance over seeds."""
    generator = np.random.default_rng(0)
    variances = centred_variances(generator.normal(size=(_STUDIES, arms, seeds)))
    variance, degrees = (found[:, 1 : 1 + _PAIRS].ravel() for found in variances.pairs(0))

    def mean_square(of: int) -> FloatArray:
        return generator.chisquare(of, len(variance)) / of if of else np.ones(len(variance))

    return _Drawn(variance / 2, degrees, mean_square(clusters - 1), mean_square((seeds - 1) * (clusters - 1)))
