r"""Ranks with intervals, and the agreement of two rankings of the same arms.

**Ranks.** The rank of an arm is one plus the number of arms that are truly better. Its interval counts the arms
that differ significantly: the lowest rank is one plus the number of significantly better arms, the highest is the
number of arms minus the number of significantly worse ones. "Significantly" means by Holm's procedure at 5 % over
the arm's own comparisons, with the t of `fusion_bench.statistics.differences` for every pair (marginal confidence
sets of Mogstad, Romano, Shaikh and Wilhelm, *Review of Economic Studies* 2024); a pair that shares fewer than three
seeds does not differ significantly, as in the verdicts. The coverage holds for one arm at a time, and the interval is
rather too wide than too narrow.

**Agreement.** Kendall's tau between the means of the arms in two contexts (another backbone, another slot). Noise
biases it towards zero. Where the means of the arms are closer than their noise, no interval for the tau of the true
rankings is reliable. The interval here is therefore for another quantity: the average tau that two such studies show.
It is ``tau +- 2.5 sd``. Here ``sd`` is the standard deviation of tau when all means of both contexts are drawn from
their joint normal of crossed seeds and clusters. The tests hold its coverage above 90 % at 3 seeds, 5 and 12 arms.

Two further values have equal noise and can be compared with each other: the mean tau between two *single seeds*
of one context, averaged over both contexts, and between one seed of each context. If both are similar, no change of
the ranking is shown beyond the change between seeds.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from fusion_bench.errors import FusionBenchError
from fusion_bench.statistics.comparison import FEWEST_SEEDS, holm
from fusion_bench.statistics.crossed import mean_covariance
from fusion_bench.statistics.differences import Differences
from fusion_bench.statistics.estimate import FloatArray, stacked
from fusion_bench.statistics.influence import Influences

_LEVEL = 0.05
_DRAWS = 2000
_REACH = 2.5


@dataclass(frozen=True)
class Agreement:
    """The agreement of two rankings of the same arms.

    Attributes:
        arms: the number of arms in both rankings.
        tau: Kendall's tau of the means.
        low, high: the ends of its interval; NaN with a single seed.
        within: the mean tau between two single seeds of one context, averaged over both; NaN with a single seed.
        across: the mean tau between a single seed of each context; NaN with a single seed.
    """

    arms: int
    tau: float
    low: float
    high: float
    within: float
    across: float


def ranks(influences: Influences, arms: Sequence[str], *, rising: bool = True) -> pd.DataFrame:
    """Rank the arms that have finished a seed, by their means over the seeds that their comparisons use.

    Args:
        influences: the influences on the metric of one split.
        arms: the arms to rank.
        rising: True if a higher value is better.

    Returns:
        One row per arm, the best first: ``arm, estimate, rank, rank_low, rank_high``. The interval holds the rank,
        also where an arm lacks seeds, so that its comparisons use fewer than its mean does.
    """
    ranked = [arm for arm in arms if influences.seeds_of(arm).any()]
    differences = Differences(influences, ranked)
    sign = 1.0 if rising else -1.0
    estimates = [differences.mean(arm) for arm in ranked]
    tested = {
        (reference, other): found
        for reference, other in itertools.permutations(range(len(ranked)), 2)
        if (found := differences.of(ranked[other], ranked[reference])) is not None
        and min(found.seeds, found.other_seeds) >= FEWEST_SEEDS
    }
    better, p_values = np.zeros((len(ranked), len(ranked))), np.ones((len(ranked), len(ranked)))
    if tested:
        pairs = tuple(np.array(list(tested)).T)
        tests = stacked([found.estimate for found in tested.values()])
        better[pairs] = -sign * tests.mean
        p_values[pairs] = np.nan_to_num(tests.p_value(), nan=1.0)
    order = np.argsort(-sign * np.array(estimates), kind="stable")
    rows = []
    for position, arm in enumerate(order, start=1):
        others = np.arange(len(ranked)) != arm
        significant = holm(p_values[arm][others]) <= _LEVEL
        gain = better[arm][others]
        rows.append(
            {
                "arm": ranked[arm],
                "estimate": estimates[arm],
                "rank": position,
                "rank_low": min(position, 1 + int((significant & (gain < 0)).sum())),
                "rank_high": max(position, len(ranked) - int((significant & (gain > 0)).sum())),
            }
        )
    return pd.DataFrame(rows, columns=["arm", "estimate", "rank", "rank_low", "rank_high"])


def agreement(first: Influences, other: Influences, arms: Sequence[str]) -> Agreement:
    """Return the agreement between the rankings of ``arms`` in two contexts that share seeds and samples.

    Arms and seeds that are not in both contexts are left out. With fewer than two arms every value is NaN.

    Raises:
        FusionBenchError: the two contexts evaluated different samples, or the same samples in another order.
    """
    same = np.array_equal(first.sample_ids, other.sample_ids) and first.clusters() == other.clusters()
    if not same:
        raise FusionBenchError(
            "the two contexts evaluated different samples, so their rankings cannot be compared"
        )
    both = [arm for arm in arms if arm in first.arms and arm in other.arms]
    both = [arm for arm in both if first.seeds_of(arm).any() and other.seeds_of(arm).any()]
    if len(both) < 2:
        return Agreement(len(both), np.nan, np.nan, np.nan, np.nan, np.nan)
    seeds = [np.array(side.seeds)[side.seeds_of(*both)] for side in (first, other)]
    shared = np.intersect1d(seeds[0], seeds[1])
    tables = [
        np.stack([side.of(arm, np.isin(side.seeds, shared)) for arm in both]) for side in (first, other)
    ]
    means = [table.mean((1, 2)) if len(shared) else np.empty(0) for table in tables]
    tau = _tau(*means) if len(shared) else np.nan
    if len(shared) < 2:
        return Agreement(len(both), tau, np.nan, np.nan, np.nan, np.nan)
    reach = _REACH * _spread(np.concatenate(tables), len(both))
    single = [table.mean(2) for table in tables]  # [A, S]
    pairs = list(itertools.permutations(range(len(shared)), 2))
    return Agreement(
        len(both),
        tau,
        max(-1.0, tau - reach),
        min(1.0, tau + reach),
        float(np.mean([_tau(side[:, s], side[:, t]) for side in single for s, t in pairs])),
        float(np.mean([_tau(single[0][:, s], single[1][:, t]) for s, t in pairs])),
    )


def _tau(one: FloatArray, other: FloatArray) -> float:
    return float(stats.kendalltau(one, other).statistic)


def _spread(table: FloatArray, arms: int) -> float:
    """Return the standard deviation of tau over draws of all means; ``table`` is ``[2 A, S, N]``."""
    mean, covariance = mean_covariance(table, np.ones(table.shape[2]))
    drawn = np.random.default_rng(0).multivariate_normal(mean, covariance, _DRAWS, method="eigh")
    one, other = drawn[:, :arms], drawn[:, arms:]
    agreeing = np.zeros(_DRAWS)
    for a, b in itertools.combinations(range(arms), 2):
        agreeing += np.sign(one[:, a] - one[:, b]) * np.sign(other[:, a] - other[:, b])
    return float((agreeing / (arms * (arms - 1) / 2)).std(ddof=1))
