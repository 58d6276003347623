r"""Rank tests over data sets: Friedman's test, Nemenyi's for all pairs, and Holm's against the reference.

``B`` data sets (blocks) rank ``A`` arms; rank 1 is the best, and equal scores share the mean of their ranks. Under
the hypothesis that no arm tends to be better, ``Q = 12 B / (A (A + 1)) sum_a (R[a] - (A + 1)/2)^2`` of the mean ranks
``R`` (Friedman, 1937; ties corrected) is near a chi-square with ``A - 1`` degrees of freedom. With few blocks it is
not near it, so the p-value that decides is that of permutations: the share of random orders within the blocks whose
``Q`` is at least as large. Post-hoc tests follow Demšar, *Journal of Machine Learning Research* 7 (2006): Nemenyi's
for all pairs, whose critical difference is ``q_alpha sqrt(A (A + 1) / (6 B))``, and ``z = (R[a] - R[reference]) /
sqrt(A (A + 1) / (6 B))`` with Holm's correction against the reference. Both are computed by scikit-posthocs.

A data set counts as one observation, however many seeds and images stand behind it: the tests ask about new data
sets like these, and not whether a difference on one of them is real.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from fusion_bench.errors import FusionBenchError
from fusion_bench.statistics.across.blocks import FEWEST_ARMS, FEWEST_BLOCKS, CompleteBlocks
from fusion_bench.statistics.comparison import ALPHA
from fusion_bench.statistics.estimate import FloatArray

_PERMUTATIONS, _AT_ONCE = 9999, 909
_DIGITS = 12  # scores that differ in the last bit only are equal


@dataclass(frozen=True, eq=False)
class RankTests:
    """The tests of one set of complete blocks.

    Attributes:
        ranks: ``[B, A]``, from 1 for the best.
        mean_ranks: ``[A]``.
        chi_square: Friedman's statistic; NaN where all scores of every block are equal.
        p_chi_square: its p-value by the chi-square distribution.
        p: its p-value by permutations, which decides.
        critical_difference: the smallest difference of two mean ranks that Nemenyi's test shows at 5 %.
        nemenyi: ``[A, A]``, the p-values of all pairs, corrected for all of them.
        holm: ``[A]``, the p-value of each arm against the reference, corrected by Holm; NaN for the reference, and
            for all without one.
    """

    ranks: FloatArray
    mean_ranks: FloatArray
    chi_square: float
    p_chi_square: float
    p: float
    critical_difference: float
    nemenyi: FloatArray
    holm: FloatArray

    def largest_possible(self) -> float:
        """Return the largest difference that two mean ranks can have."""
        return float(self.ranks.shape[1] - 1)


def rank_tests(complete: CompleteBlocks, reference: str) -> RankTests:
    """Return the tests of complete blocks.

    Args:
        complete: the scores.
        reference: the arm with which the others are compared; without it among the arms, none is.

    Raises:
        FusionBenchError: there are fewer than three arms or two blocks, or scikit-posthocs is not installed.
    """
    blocks, arms = len(complete.blocks), len(complete.arms)
    if arms < FEWEST_ARMS or blocks < FEWEST_BLOCKS:
        counted = f"{blocks} data set{'s share' if blocks > 1 else ' has'} {arms} arms"
        raise FusionBenchError(
            f"{counted}; ranks over data sets need at least {FEWEST_BLOCKS} data sets that share {FEWEST_ARMS} arms "
            "(controls and arms outside a budget do not count)"
        )
    posthocs = _scikit_posthocs()
    losses = pd.DataFrame(-np.round(complete.scores, _DIGITS), columns=list(complete.arms))
    ranks = stats.rankdata(losses, axis=1)
    statistic, p_chi_square = _friedman(losses)
    holm = np.full(arms, np.nan)
    if reference in complete.arms:
        against = posthocs.posthoc_demsar(losses, control=reference, p_adjust="holm")
        holm = against.loc[reference].to_numpy(dtype=np.float64, copy=True)
        holm[complete.arms.index(reference)] = np.nan
    return RankTests(
        ranks,
        ranks.mean(0),
        statistic,
        p_chi_square,
        _permuted(ranks),
        critical_difference(arms, blocks),
        posthocs.posthoc_nemenyi_friedman(losses).to_numpy(dtype=np.float64),
        holm,
    )


def critical_difference(arms: int, blocks: int, alpha: float = ALPHA) -> float:
    """Return the smallest difference of two mean ranks that Nemenyi's test shows."""
    quantile = stats.studentized_range.ppf(1 - alpha, arms, np.inf) / np.sqrt(2)
    return float(quantile * rank_error(arms, blocks))


def rank_error(arms: int, blocks: int) -> float:
    """Return the standard error of a difference of two mean ranks under Friedman's hypothesis."""
    return float(np.sqrt(arms * (arms + 1) / (6 * blocks)))


def _friedman(losses: pd.DataFrame) -> tuple[float, float]:
    """Return Friedman's statistic and its p-value by chi-square; NaN and 1 without any difference."""
    values = losses.to_numpy()
    if (values == values[:, :1]).all():
        return float("nan"), 1.0
    found = stats.friedmanchisquare(*values.T)
    return float(found.statistic), float(found.pvalue)


def _permuted(ranks: FloatArray) -> float:
    """Return the share of random orders within the blocks that spread the mean ranks at least as much."""
    generator = np.random.default_rng(0)
    spread, reached = _spread(ranks), 0
    for _ in range(_PERMUTATIONS // _AT_ONCE):
        drawn = generator.permuted(np.broadcast_to(ranks, (_AT_ONCE, *ranks.shape)), axis=2)
        reached += int((_spread(drawn) >= spread * (1 - 1e-9)).sum())
    return (1 + reached) / (1 + _PERMUTATIONS)


def _spread(ranks: FloatArray) -> FloatArray:
    """Return ``[...]``, the variance of the mean ranks of blocks ``[..., B, A]``; which orders like Friedman's."""
    return np.asarray(ranks.mean(-2).var(-1))


def _scikit_posthocs() -> Any:
    try:
        import scikit_posthocs  # noqa: PLC0415 - an extra, which imports pyplot
    except ImportError as error:
        raise FusionBenchError(
            "tests over data sets are those of scikit-posthocs; install it with: "
            "pip install 'laconv-fusion-bench[across]'"
        ) from error
    return scikit_posthocs
