"""What rank tests over so many data sets can show: their power, and how many data sets would be enough."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from fusion_bench.statistics.across.rank_tests import rank_error
from fusion_bench.statistics.comparison import ALPHA, holm
from fusion_bench.statistics.estimate import FloatArray

ENOUGH = 0.8
MOST_BLOCKS = 100
_STUDIES = 2000


@dataclass(frozen=True)
class RankPower:
    """The chance to find one arm that is better than all others, which are alike.

    Attributes:
        lead: by how many standard deviations of an arm's scatter over data sets it is better.
        friedman: the chance that Friedman's test rejects at 5 %.
        holm: the mean share of the other arms from which Holm's tests against it show a difference.
        needed: the fewest data sets with which Friedman's test rejects with a chance of 80 %; None beyond 100.
    """

    lead: float
    friedman: float
    holm: float
    needed: int | None


def rank_power(arms: int, blocks: int, lead: float = 1.0) -> RankPower:
    """Return what tests of ``arms`` arms on ``blocks`` data sets can show.

    Scores are drawn as normal, with one standard deviation over data sets for every arm and an arm that is better by
    ``lead`` of them. The level of Friedman's test is that of its own distribution with as many arms and blocks.
    """
    rejected, found = _drawn(arms, blocks, lead)
    return RankPower(lead, rejected, found, _needed(arms, lead))


def _needed(arms: int, lead: float) -> int | None:
    """Return the fewest blocks that are enough, found by halving: power grows with blocks."""
    low, high = 1, MOST_BLOCKS
    if _drawn(arms, high, lead)[0] < ENOUGH:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if _drawn(arms, middle, lead)[0] >= ENOUGH:
            high = middle
        else:
            low = middle
    return high


def _drawn(arms: int, blocks: int, lead: float) -> tuple[float, float]:
    """Return the power of Friedman's test, and of Holm's against the better arm."""
    generator = np.random.default_rng([arms, blocks])
    scores = generator.normal(size=(2, _STUDIES, blocks, arms))
    scores[1, ..., 0] += lead
    mean_ranks = scores.argsort(-1).argsort(-1).mean(2)
    spread = mean_ranks.var(-1)
    critical = np.quantile(spread[0], 1 - ALPHA)
    return float((spread[1] > critical).mean()), _holm_share(mean_ranks[1], blocks)


def _holm_share(mean_ranks: FloatArray, blocks: int) -> float:
    """Return the mean share of the other arms that Holm's tests tell from the first one; ``[studies, A]``."""
    z = (mean_ranks[:, 1:] - mean_ranks[:, :1]) / rank_error(mean_ranks.shape[1], blocks)
    return float((holm(2 * stats.norm.sf(np.abs(z))) < ALPHA).mean())
