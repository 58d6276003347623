r"""Ranks with intervals, and how far two rankings of the same arms agree.

**Ranks.** The rank of an arm is one more than the number of arms that are truly better. Its interval counts what
is settled: at least one more than the arms that are surely better, at most the number of arms less those that
are surely worse, "surely" by Holm's procedure over the arm's own paired comparisons at 5 % (marginal confidence
sets of Mogstad, Romano, Shaikh and Wilhelm, *Review of Economic Studies* 2024, with the crossed t of
`fusion_bench.statistics.crossed` for every pair). It holds one arm at a time, and errs towards width.

**Agreement.** Kendall's tau between the arms' means under two contexts (another backbone, another slot). Noise
pulls it towards zero, so that its truth, the tau of the true rankings, cannot be bracketed where arms lie closer
than their noise: simulated percentile and reflected intervals cover it 0 to 90 %. The interval here is
therefore for what *can* be known: the tau that two such studies show on average. It is
``tau +- 2.5 sd``, with ``sd`` the standard deviation of tau when all means of both contexts are drawn from
their joint normal of crossed seeds and clusters (simulated coverage 94 to 100 % at 3 and 5 seeds, 5 and 29
arms; with 1.96, 85 to 100 %).

Beside it stands a yardstick at equal noise: the mean tau between two *single seeds*, once within the first
context and once across. Where the two are alike, the ranking holds as far as seeds let one see.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from fusion_bench.errors import FusionBenchError
from fusion_bench.statistics.comparison import holm
from fusion_bench.statistics.crossed import FloatArray, mean_covariance
from fusion_bench.statistics.scores import Scores, Unit

_LEVEL = 0.05
_DRAWS = 2000
_REACH = 2.5


@dataclass(frozen=True)
class Agreement:
    """Two rankings of the same ``arms``.

    Attributes:
        tau: Kendall's tau of the means; ``low`` and ``high``: its interval, NaN with a single seed.
        within: mean tau between two single seeds of the first context; ``across``: between one of each. NaN
            with a single seed.
    """

    arms: int
    tau: float
    low: float
    high: float
    within: float
    across: float


def ranks(
    scores: Scores, arms: Sequence[str], unit: Unit = "samples", *, rising: bool = True
) -> pd.DataFrame:
    """Rank the arms that have finished a seed: ``arm, estimate, rank, rank_low, rank_high``, the best first.

    Args:
        scores: of one split.
        arms: which of its arms to rank.
        unit: what the metric is a mean over.
        rising: whether more is better.
    """
    ranked = [arm for arm in arms if scores.seeds_of(arm).any()]
    sign = 1.0 if rising else -1.0
    estimates = [float(scores.mean(arm, unit).mean) for arm in ranked]
    better, certainty = np.zeros((2, len(ranked), len(ranked)))
    for one, other in itertools.combinations(range(len(ranked)), 2):
        found = scores.difference(ranked[one], ranked[other], unit)
        p = float(np.nan_to_num(found.p_value(), nan=1.0))
        better[one, other] = sign * float(found.mean)
        better[other, one] = -better[one, other]
        certainty[one, other] = certainty[other, one] = p
    order = np.argsort(-sign * np.array(estimates), kind="stable")
    rows = []
    for place, arm in enumerate(order):
        others = np.arange(len(ranked)) != arm
        surely = holm(certainty[arm][others]) <= _LEVEL
        leads = better[arm][others]
        rows.append(
            {
                "arm": ranked[arm],
                "estimate": estimates[arm],
                "rank": place + 1,
                "rank_low": 1 + int((surely & (leads < 0)).sum()),
                "rank_high": len(ranked) - int((surely & (leads > 0)).sum()),
            }
        )
    return pd.DataFrame(rows, columns=["arm", "estimate", "rank", "rank_low", "rank_high"])


def agreement(first: Scores, other: Scores, arms: Sequence[str], unit: Unit = "samples") -> Agreement:
    """Compare the rankings of ``arms`` under two contexts that share seeds and samples.

    Arms and seeds that either context lacks are left out; NaN throughout with fewer than two arms.

    Raises:
        FusionBenchError: the two judged other samples, or the same in another order.
    """
    if not np.array_equal(first.cluster, other.cluster):
        raise FusionBenchError("two contexts judged different samples, so their rankings cannot be compared")
    both = [arm for arm in arms if arm in first.arms and arm in other.arms]
    both = [arm for arm in both if first.seeds_of(arm).any() and other.seeds_of(arm).any()]
    if len(both) < 2:
        return Agreement(len(both), np.nan, np.nan, np.nan, np.nan, np.nan)
    tables = [scores.crossed_table(both, unit) for scores in (first, other)]
    seeds = [np.array(scores.seeds)[scores.seeds_of(*both)] for scores in (first, other)]
    shared = np.intersect1d(seeds[0], seeds[1])
    totals = [table[0][:, np.isin(own, shared)] for table, own in zip(tables, seeds, strict=True)]
    sizes = tables[0][1]
    means = [total.sum((1, 2)) / (len(shared) * sizes.sum()) for total in totals]
    tau = _tau(*means) if len(shared) else np.nan
    if len(shared) < 2:
        return Agreement(len(both), tau, np.nan, np.nan, np.nan, np.nan)
    reach = _REACH * _spread(np.concatenate(totals), sizes, len(both))
    single = [total.sum(2) / sizes.sum() for total in totals]  # [A, S]
    apart = list(itertools.permutations(range(len(shared)), 2))
    return Agreement(
        len(both),
        tau,
        max(-1.0, tau - reach),
        min(1.0, tau + reach),
        float(np.mean([_tau(single[0][:, s], single[0][:, t]) for s, t in apart])),
        float(np.mean([_tau(single[0][:, s], single[1][:, t]) for s, t in apart])),
    )


def _tau(one: FloatArray, other: FloatArray) -> float:
    return float(stats.kendalltau(one, other).statistic)


def _spread(totals: FloatArray, sizes: npt.NDArray[np.intp], arms: int) -> float:
    """Standard deviation of tau over draws of all means; ``totals`` is ``[2 A, S, N]``."""
    mean, covariance = mean_covariance(totals, sizes)
    drawn = np.random.default_rng(0).multivariate_normal(mean, covariance, _DRAWS, method="eigh")
    one, other = drawn[:, :arms], drawn[:, arms:]
    agreeing = np.zeros(_DRAWS)
    for a, b in itertools.combinations(range(arms), 2):
        agreeing += np.sign(one[:, a] - one[:, b]) * np.sign(other[:, a] - other[:, b])
    return float((agreeing / (arms * (arms - 1) / 2)).std(ddof=1))
