"""The shape of a study, its variance components estimated from its own table: for simulated studies like it."""

from __future__ import annotations

import numpy as np

from fusion_bench.errors import FusionBenchError
from fusion_bench.statistics.comparison import FEWEST_SEEDS, Question
from fusion_bench.statistics.influence import Influences
from fusion_bench.statistics.seeds.moderation import centred_variances
from fusion_bench.statistics.seeds.pool import pool_of
from fusion_bench.statistics.simulation import StudyShape

_POINTS = 100.0


def shape_of(influences: Influences, question: Question) -> StudyShape:
    """Return the shape of a study in points; a component that is estimated below zero is zero.

    The arms and seeds are those that the comparisons with the reference use: the pool, and a reference with further
    seeds. With ``u`` the mean variance of an arm of the pool over seeds, ``M_C`` and ``M_E`` the medians over
    comparisons of the mean squares of clusters and residual, ``A`` arms of the pool, ``S`` seeds and ``N`` clusters:
    the residual variance of an arm is ``M_E / 2``, that of its clusters ``(M_C - M_E) / (2 S)``, that of its seeds
    ``u`` minus the residual's ``M_E / (2 N)``. The variance that all arms share is that of the mean over arms, minus
    ``u / A``.

    Raises:
        FusionBenchError: no two arms, the reference one of them, are compared on the seeds of a verdict, or there is
            one cluster.
    """
    reference, clusters = question.reference, influences.clusters()
    pool = pool_of(influences, question.arms(), reference)
    arms, seeds, count = pool.whole(), pool.seeds, pool.count()
    if reference not in arms or count < FEWEST_SEEDS or clusters < 2:
        raise FusionBenchError(
            f"no study of this shape can be simulated: {len(arms)} arms ({reference!r} must be one of them) are "
            f"compared on {count} seeds and {clusters} clusters; verdicts need two arms, {FEWEST_SEEDS} seeds and "
            "two clusters"
        )
    metric = influences.per_seed(pool.arms, seeds)
    squares = [influences.paired_squares(arm, reference, seeds) for arm in arms if arm != reference]
    cluster, residual = (
        float(np.median([getattr(item, name) for item in squares])) for name in ("cluster", "residual")
    )
    own = float(centred_variances(metric).own.mean())
    further = int(pool.used[reference].sum())

    def deviation(variance: float) -> float:
        return round(_POINTS * float(np.sqrt(max(0.0, variance))), 4)

    return StudyShape(
        len(arms),
        count,
        clusters,
        seed_sd=deviation(own - residual / (2 * clusters)),
        shared_seed_sd=deviation(float(metric.mean(0).var(ddof=1)) - own / len(pool.arms)),
        cluster_sd=deviation((cluster - residual) / (2 * count)),
        residual_sd=deviation(residual / 2),
        reference_seeds=further if further > count else None,
    )


def arms_left_out(influences: Influences, question: Question) -> tuple[str, ...]:
    """Return the arms without controls that lack seeds of the pool, so that a calibration has no part for them."""
    whole = pool_of(influences, question.arms(), question.reference).whole()
    return tuple(arm for arm in question.arms() if arm not in whole)
