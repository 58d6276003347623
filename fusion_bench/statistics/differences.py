r"""The difference of two arms, with the seeds of both used as well as they can be.

**The pool** (`fusion_bench.statistics.seeds.pool`) is the arms that have finished one set of seeds. Two arms of the
pool are compared seed by seed, with the moderated variances of the pool (`fusion_bench.statistics.seeds.moderation`)
in place of the seed mean square of the pair: ``MS_seed = N (u_a + u_b)`` on the degrees ``nu`` of
`SeedVariances.pairs`, and the variance and degrees of `fusion_bench.statistics.crossed` with ``nu`` for ``S - 1``.
The second arm ``b`` is the reference of the family, whose variance is treated with more caution. With two arms this
is the crossed estimate itself.

**Seeds that only one side has.** The difference of an arm of the pool from one that keeps further seeds is that of
the means over own seeds, ``S`` and ``S_b``. The variances over seeds are plain, not centred by seed, because a seed's
effect on both arms no longer cancels: ``V0 = w_a / S + w_b / S_b`` on ``nu0`` degrees (Welch, 1947). The clusters add
``E = max(MS_cluster - MS_residual, 0) / (N S)`` from the seeds that both have.

**An arm that lacks a seed of the pool** is compared on the seeds that the pair shares, from these two arms alone.

**Controls** are in no pool: they may scatter in another way. The seed variance of a control is that of its distance
from the mean of the pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from fusion_bench.statistics.crossed import MeanSquares, estimate_of, pairwise_mean_squares
from fusion_bench.statistics.estimate import Estimate, FloatArray
from fusion_bench.statistics.influence import BoolArray, Influences
from fusion_bench.statistics.power import ComparisonScatter
from fusion_bench.statistics.seeds.moderation import SeedVariances, centred_variances, plain_variances
from fusion_bench.statistics.seeds.pool import pool_of
from fusion_bench.statistics.seeds.unpaired import SideVariance, unpaired

_ROUNDING = 1e-12  # two means over different seeds that differ by less than this share of them are the same


@dataclass(frozen=True, eq=False)
class Difference:
    """A difference of two arms.

    Attributes:
        estimate: the difference.
        seeds: the number of seeds of the arm.
        other_seeds: the number of seeds of the arm that it is compared with.
        squares: the mean squares of this pair alone; None for a pair outside the pool.
    """

    estimate: Estimate
    seeds: int
    other_seeds: int
    squares: MeanSquares | None = None

    def reversed(self) -> Difference:
        """Return the difference with its sides exchanged."""
        return Difference(replace(self.estimate, mean=-self.estimate.mean), self.other_seeds, self.seeds)


class Differences:
    """The differences between arms on one metric and split.

    Attributes:
        pool: the arms that are compared seed by seed, and the seeds that comparisons use.
        variances: the seed variances of the pool in its order; None without a pool.
    """

    def __init__(self, influences: Influences, arms: Sequence[str], reference: str | None = None) -> None:
        """Choose the pool among ``arms``; its seeds are seeds of the ``reference`` where one is given."""
        self._influences, self._reference = influences, reference
        self.pool = pool_of(influences, arms, reference)
        self.variances: SeedVariances | None = None
        self._plain: SeedVariances | None = None
        self._centre: FloatArray = np.empty(0)
        self._estimates: dict[str, Estimate] = {}
        if self.pool.arms:
            means = influences.per_seed(self.pool.arms, self.pool.seeds)
            self._centre = means.mean(0)
            self._plain = plain_variances(means)
            self.variances = centred_variances(means)

    def moderating(self, differences: Sequence[Difference]) -> SeedVariances | None:
        """Return the variances that moderate these differences: the pool's, plain ones where seeds are not paired.

        None where every difference is from its two arms alone.
        """
        if any(item.squares is not None for item in differences):
            return self.variances
        return self._plain if any(item.seeds != item.other_seeds for item in differences) else None

    def mean(self, arm: str) -> float:
        """Return the mean of an arm over the seeds that its comparisons use."""
        return float(self._influences.per_seed([arm], self.pool.used[arm]).mean())

    def seeds_of(self, arm: str) -> BoolArray:
        """Return a mask ``[S]`` of an arm's or a control's seeds in its comparison with the reference.

        All of its seeds where it shares none with the reference, or no reference is given.
        """
        own, reference = self._influences.seeds_of(arm), self._reference
        if reference is None or arm == reference:
            return self.pool.used.get(arm, own)
        if {arm, reference} <= {*self.pool.arms} or self.pool.has_beside(arm, reference):
            return self.pool.used[arm]
        if arm not in self.pool.used and self._has_pool(reference, arm):
            return self.pool.seeds
        shared = self._influences.seeds_of(arm, reference)
        return shared if shared.any() else own

    def of(self, arm: str, other: str) -> Difference | None:
        """Return the difference ``arm - other``; None where the two share no finished seed.

        ``other`` is taken as the reference, with which all arms of the family are compared.
        """
        if {arm, other} <= {*self.pool.arms}:
            return self._in_pool(arm, other)
        if self._plain is not None and self.pool.has_beside(arm, other):
            own, others = (int(self.pool.used[name].sum()) for name in (arm, other))
            return Difference(self._unpaired(arm, other, self._plain), own, others)
        return self._alone(arm, other)

    def over_control(self, arm: str, control: str) -> Difference | None:
        """Return the difference ``arm - control``; None where the two share no finished seed."""
        if self.variances is None or not self._has_pool(arm, control):
            return self._alone(arm, control)
        seeds, count = self.pool.seeds, self.pool.count()
        spread = (self._influences.per_seed([control], seeds)[0] - self._centre).var(ddof=1)
        row = self.pool.arms.index(arm)
        variance, degrees = (float(found[row]) for found in self.variances.from_outside(spread))
        squares = self._influences.paired_squares(arm, control, seeds)
        return Difference(self._crossed(arm, control, squares, variance, degrees), count, count)

    def _alone(self, arm: str, other: str) -> Difference | None:
        """Return the difference on the seeds that both have finished, from these two alone; None without one."""
        shared = self._influences.seeds_of(arm, other)
        count = int(shared.sum())
        return Difference(self._influences.paired(arm, other, shared), count, count) if count else None

    def _has_pool(self, arm: str, control: str) -> bool:
        """Return True if the arm is in the pool and the control has finished the pool's seeds."""
        return arm in self.pool.arms and not (self.pool.seeds & ~self._influences.seeds_of(control)).any()

    def scatter(self, differences: Sequence[Difference]) -> ComparisonScatter | None:
        """Return how a comparison scatters as the pool expects it; None where no pair of the pool is given.

        Both arms have the prior's variance; cluster and residual mean squares are the medians of ``differences``.
        """
        squares = [item.squares for item in differences if item.squares is not None]
        if not squares or self.variances is None:
            return None
        return ComparisonScatter(
            float(self.variances.prior_variance),
            float(np.median([item.cluster for item in squares])),
            float(np.median([item.residual for item in squares])),
            self._influences.clusters(),
            self.pool.count(),
        )

    def _in_pool(self, arm: str, other: str) -> Difference:
        """Return the difference of two arms of the pool."""
        influences, seeds, count = self._influences, self.pool.seeds, self.pool.count()
        row, column = self.pool.arms.index(arm), self.pool.arms.index(other)
        squares = MeanSquares(*(values[row, column] for values in vars(self._squares).values()))
        against = self._against(other)
        mean = against.mean[row]
        alike = mean == 0 and np.array_equal(influences.of(arm, seeds), influences.of(other, seeds))
        if self.variances is None or arm == other or against.standard_error[row] == 0 or alike:
            estimate = influences.paired(arm, other, seeds)  # no spread at all, or one and the same model
        else:
            estimate = Estimate(
                mean, against.standard_error[row], against.degrees[row], influences.possible_difference()
            )
        return Difference(estimate, count, count, squares)

    @cached_property
    def _squares(self) -> MeanSquares:
        """The mean squares ``[A, A]`` of every two arms of the pool."""
        return pairwise_mean_squares(
            np.stack([self._influences.of(arm, self.pool.seeds) for arm in self.pool.arms])
        )

    def _against(self, other: str) -> Estimate:
        """Return the differences ``[A]`` of all arms of the pool from one of them, with the variances of the pool."""
        if other not in self._estimates:
            column = self.pool.arms.index(other)
            variances, clusters = self.variances, self._influences.clusters()
            assert variances is not None  # noqa: S101 - there is a pool
            spread, degrees = variances.pairs(column)
            squares = MeanSquares(*(values[:, column] for values in vars(self._squares).values()))
            moderated = replace(squares, seed=np.where(spread > 0, clusters * spread, 0.0))
            found = estimate_of(moderated, self.pool.count(), clusters, degrees)
            means = self._influences.per_seed(self.pool.arms, self.pool.seeds)
            error = np.where(spread > 0, found.standard_error, 0.0)
            self._estimates[other] = Estimate((means - means[column]).mean(1), error, found.degrees)
        return self._estimates[other]

    def _crossed(
        self, arm: str, other: str, squares: MeanSquares, seed_variance: float, degrees: float
    ) -> Estimate:
        """Return the paired estimate with another variance over seeds of the difference, on ``degrees``."""
        influences, seeds = self._influences, self.pool.seeds
        if seed_variance == 0 or np.array_equal(influences.of(arm, seeds), influences.of(other, seeds)):
            return influences.paired(arm, other, seeds)  # no spread at all, or one and the same model
        count = influences.clusters()
        moderated = replace(squares, seed=np.asarray(count * seed_variance))
        estimate = estimate_of(moderated, int(seeds.sum()), count, degrees)
        mean = influences.paired_mean(arm, other, seeds)
        return replace(estimate, mean=mean, possible=influences.possible_difference())

    def _unpaired(self, arm: str, other: str, plain: SeedVariances) -> Estimate:
        influences = self._influences
        few, many = sorted((arm, other), key=lambda name: int(self.pool.used[name].sum()))
        row = self.pool.arms.index(few)
        longer = influences.per_seed([many], self.pool.used[many])
        squares = influences.paired_squares(arm, other, self.pool.seeds)
        found = unpaired(
            SideVariance(float(plain.moderated[row]), float(plain.degrees[row]), self.pool.count()),
            SideVariance(float(plain_variances(longer).own[0]), longer.size - 1, longer.size),
            squares,
            influences.clusters(),
        )
        means = self.mean(arm), self.mean(other)
        alike = abs(means[0] - means[1]) <= _ROUNDING * max(map(abs, means))
        mean = np.asarray(0.0 if alike else means[0] - means[1])
        return replace(found, mean=mean, possible=influences.possible_difference())
