"""Simulated studies drawn as the sums that the statistics need, thousands at once, whatever the number of clusters.

In the model of `fusion_bench.statistics.simulation` every estimate follows from the metric of each arm and seed, and
from the mean squares of each difference. Rotate the clusters so that the first direction is their mean: the metrics
of the cells lie in that direction alone, the other ``N - 1`` are independent of it, and the sums of squares and
products over them are Wishart matrices ``[A, A]``, drawn by Bartlett's decomposition (*Proceedings of the Royal
Society of Edinburgh* 53, 1933).

The studies are judged by the formulas of `fusion_bench.statistics` themselves, in the order in which
`fusion_bench.statistics.comparison.compare` applies them to one study; the tests compare both, and cases that are
drawn as whole tables pass through `compare`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fusion_bench.statistics.comparison import holm
from fusion_bench.statistics.crossed import MeanSquares, estimate_of
from fusion_bench.statistics.estimate import FloatArray
from fusion_bench.statistics.seeds.moderation import centred_variances
from fusion_bench.statistics.simulation import Rates, Shown, StudyShape, rates_of, variance_factors

_AT_ONCE = 500  # studies; bounds the memory


@dataclass(frozen=True, eq=False)
class Sums:
    """The sums of ``K`` studies; the reference is the first arm.

    Attributes:
        metric: ``[K, A, S]``, the metric of each cell.
        cluster: ``[K, A - 1]``, the mean square of clusters of each arm's difference from the reference.
        residual: ``[K, A - 1]``, that of the residual.
        clusters: the number of clusters.
    """

    metric: FloatArray
    cluster: FloatArray
    residual: FloatArray
    clusters: int


def rates_of_sums(
    shape: StudyShape, effects: FloatArray, studies: int, generator: np.random.Generator
) -> Rates:
    """Return how often the statistics are right in ``studies`` studies in which every arm has the same seeds.

    Args:
        shape: the shape of the studies.
        effects: ``[A - 1]``, the true difference of each arm from the reference.
        studies: the number of studies.
        generator: the source of chance.
    """
    shown = [judged(draw_sums(shape, effects, count, generator)) for count in _parts(studies, _AT_ONCE)]
    return rates_of(shown, effects)


def draw_sums(shape: StudyShape, effects: FloatArray, studies: int, generator: np.random.Generator) -> Sums:
    """Return the sums of studies of the kind that `fusion_bench.statistics.simulation.simulate_study` draws."""
    arms, seeds, clusters = shape.arms, shape.seeds, shape.clusters
    spread = shape.seed_sd * np.sqrt(variance_factors(shape, generator, studies))
    own = generator.normal(size=(studies, arms, seeds)) * spread[:, :, None]
    shared = shape.shared_seed_sd * generator.normal(size=(studies, 1, seeds))
    of_clusters = shape.cluster_sd * generator.normal(size=(studies, arms, 1)) / np.sqrt(clusters)
    rest = shape.residual_sd * generator.normal(size=(studies, arms, seeds)) / np.sqrt(clusters)
    truth = np.concatenate([[0.0], effects])[:, None]
    free = clusters - 1
    per_cluster = seeds * shape.cluster_sd**2 + shape.residual_sd**2
    cluster = per_cluster * _squares(arms, free, studies, generator) / free
    residual = (
        shape.residual_sd**2 * _squares(arms, free * (seeds - 1), studies, generator) / (free * (seeds - 1))
    )
    return Sums(truth + own + shared + of_clusters + rest, cluster, residual, clusters)


def judged(sums: Sums) -> Shown:
    """Return what the statistics say about the studies."""
    metric, seeds = sums.metric, sums.metric.shape[-1]
    variance, degrees = (pairs[:, 1:] for pairs in centred_variances(metric).pairs(0))
    difference = (metric[:, 1:] - metric[:, :1]).mean(-1)
    squares = MeanSquares(difference, sums.clusters * variance, sums.cluster, sums.residual)
    estimate = estimate_of(squares, seeds, sums.clusters, degrees)
    p = estimate.p_value()
    return Shown(*estimate.interval(), p, holm(p))


def _squares(arms: int, degrees: int, studies: int, generator: np.random.Generator) -> FloatArray:
    """Return ``[studies, A - 1]``, sums over ``degrees`` of squared differences of normals from the first arm."""
    if degrees < arms:
        drawn = generator.normal(size=(studies, arms, degrees))
        return np.asarray(((drawn[:, 1:] - drawn[:, :1]) ** 2).sum(-1))
    root = np.tril(generator.normal(size=(studies, arms, arms)), -1)
    diagonal = np.arange(arms)
    root[:, diagonal, diagonal] = np.sqrt(generator.chisquare(degrees - diagonal, size=(studies, arms)))
    return np.asarray(((root[:, 1:] - root[:, :1]) ** 2).sum(-1))


def _parts(total: int, most: int) -> Iterator[int]:
    """Yield numbers of at most ``most`` that sum to ``total``."""
    for start in range(0, total, most):
        yield min(most, total - start)
