r"""The difference of two arms, with the seeds of both used as well as they can be.

**The pool** is the arms that have finished one set of seeds: of all such sets, the one that gives the most degrees
of freedom ``(A - 1)(S - 1)``. No score has a part in this choice. Two arms of the pool are compared seed by seed,
with the moderated variances of the pool (`fusion_bench.statistics.moderation`; ``b`` is the hub of the family, the
reference) in place of the seed mean square of the pair: ``MS_seed = N (u_a + u_b)`` on the degrees ``nu`` of
`SeedVariances.pair`, and the variance and degrees of `fusion_bench.statistics.crossed` with ``nu`` for ``S - 1``.
With two arms this is the crossed estimate itself.

**Seeds that only one side has.** An arm with at least `MANY_SEEDS` times the seeds of the pool keeps them all, where
at least `FEWEST_IN_POOL` other arms are left. The difference is then that of the means over own seeds, ``S`` and
``S_b``. The variances over seeds are plain, not centred by seed, because a seed's effect on both arms no longer
cancels: ``V0 = w_a / S + w_b / S_b`` on ``nu0`` degrees (Welch, 1947). The clusters add
``E = max(MS_cluster - MS_residual, 0) / (N S)`` from the seeds that both have.

**An arm that lacks a seed of the pool** is compared on the seeds that the pair shares, from these two arms alone.

**Controls** are in no pool: they may scatter in another way. The seed variance of a control is that of its distance
from the mean of the pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fusion_bench.statistics.crossed import MeanSquares, estimate_of
from fusion_bench.statistics.estimate import Estimate, FloatArray
from fusion_bench.statistics.influence import BoolArray, Influences
from fusion_bench.statistics.moderation import SeedVariances, centred_variances, plain_variances
from fusion_bench.statistics.power import ComparisonScatter
from fusion_bench.statistics.unpaired import SideVariance, unpaired

FEWEST_IN_POOL = 3
"""The smallest pool that is compared with further seeds of another arm; for two arms know nothing of each other.

With a pool of two, 3 seeds and 8 of the reference, an arm is wrongly called different in 6 to 8 % of simulated
studies; with a pool of three, in about 4 %.
"""

MANY_SEEDS = 1.5
"""The smallest ratio of the seeds of an arm to those of the pool at which its further seeds are used.

A reference with 5 seeds where the arms have 3 leaves the pool for them; arms with 5 where one cell of the reference
failed do not, for they would lose what the pool knows about their scatter.
"""


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
        pool: the arms that are compared seed by seed; empty if no two arms share two seeds.
        variances: the seed variances of the pool in its order; None without a pool.
    """

    def __init__(self, influences: Influences, arms: Sequence[str], reference: str | None = None) -> None:
        """Choose the pool among ``arms``; its seeds are seeds of the ``reference`` where one is given."""
        self._influences = influences
        finished = {arm: influences.seeds_of(arm) for arm in arms if influences.seeds_of(arm).any()}
        self._pool_seeds = _pool_seeds(finished, reference)
        self._seeds = self._used(finished)
        has_pool = self._pool_seeds.sum() >= 2
        self.pool = tuple(arm for arm in finished if has_pool and self._same(arm))
        self.variances: SeedVariances | None = None
        self._plain: SeedVariances | None = None
        self._centre: FloatArray = np.empty(0)
        if self.pool:
            means = influences.per_seed(self.pool, self._pool_seeds)
            self._centre = means.mean(0)
            self._plain = plain_variances(means)
            self.variances = centred_variances(means)

    def mean(self, arm: str) -> float:
        """Return the mean of an arm over the seeds that its comparisons use."""
        return float(self._influences.per_seed([arm], self._seeds[arm]).mean())

    def seeds_of(self, arm: str) -> BoolArray:
        """Return a mask ``[S]`` of the seeds that the comparisons of an arm or a control use.

        A control is compared on the seeds of the pool if it has finished them, else on those that each pair shares.
        """
        if arm in self._seeds:
            return self._seeds[arm]
        own = self._influences.seeds_of(arm)
        return self._pool_seeds if self.pool and not (self._pool_seeds & ~own).any() else own

    def of(self, arm: str, other: str) -> Difference | None:
        """Return the difference ``arm - other``; None where the two share no finished seed.

        ``other`` is the hub: the arm with which all arms of the family are compared.
        """
        if {arm, other} <= {*self.pool}:
            squares = self._influences.paired_squares(arm, other, self._pool_seeds)
            count = int(self._pool_seeds.sum())
            return Difference(self._pooled(arm, other, squares), count, count, squares)
        if self._plain is not None and self._beside_the_pool(arm, other):
            own, others = (int(self._seeds[name].sum()) for name in (arm, other))
            return Difference(self._unpaired(arm, other, self._plain), own, others)
        shared = self._influences.seeds_of(arm, other)
        count = int(shared.sum())
        return Difference(self._influences.paired(arm, other, shared), count, count) if count else None

    def over_control(self, arm: str, control: str) -> Difference | None:
        """Return the difference ``arm - control``; None where the two share no finished seed."""
        own = self._influences.seeds_of(control)
        if self.variances is None or arm not in self.pool or (self._pool_seeds & ~own).any():
            shared = self._influences.seeds_of(arm, control)
            count = int(shared.sum())
            return Difference(self._influences.paired(arm, control, shared), count, count) if count else None
        seeds = self._pool_seeds
        spread = float((self._influences.per_seed([control], seeds)[0] - self._centre).var(ddof=1))
        row = self.pool.index(arm)
        moderated, degrees = float(self.variances.moderated[row]), float(self.variances.degrees[row])
        own_degrees = self.variances.own_degrees
        total = moderated + spread
        nu = (
            total**2 / (moderated**2 / degrees + spread**2 / own_degrees) if total > 0 else float(own_degrees)
        )
        squares = self._influences.paired_squares(arm, control, seeds)
        return Difference(self._crossed(arm, control, squares, total, nu), own_degrees + 1, own_degrees + 1)

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
            int(self._pool_seeds.sum()),
        )

    def _pooled(self, arm: str, other: str, squares: MeanSquares) -> Estimate:
        if self.variances is None or arm == other:
            return self._influences.paired(arm, other, self._pool_seeds)
        variance, degrees = self.variances.pair(self.pool.index(arm), self.pool.index(other))
        return self._crossed(arm, other, squares, variance, degrees)

    def _crossed(
        self, arm: str, other: str, squares: MeanSquares, seed_variance: float, degrees: float
    ) -> Estimate:
        """Return the paired estimate with another variance over seeds of the difference, on ``degrees``."""
        influences, seeds = self._influences, self._pool_seeds
        if seed_variance == 0 or np.array_equal(influences.of(arm, seeds), influences.of(other, seeds)):
            return influences.paired(arm, other, seeds)  # no spread at all, or one and the same model
        count = influences.clusters()
        moderated = replace(squares, seed=np.asarray(count * seed_variance))
        estimate = estimate_of(moderated, int(seeds.sum()), count, degrees)
        mean = influences.paired_mean(arm, other, seeds)
        return replace(estimate, mean=mean, possible=influences.possible_difference())

    def _unpaired(self, arm: str, other: str, plain: SeedVariances) -> Estimate:
        influences = self._influences
        few, many = sorted((arm, other), key=lambda name: int(self._seeds[name].sum()))
        row = self.pool.index(few)
        longer = influences.per_seed([many], self._seeds[many])[0]
        squares = influences.paired_squares(arm, other, self._pool_seeds)
        found = unpaired(
            SideVariance(float(plain.moderated[row]), float(plain.degrees[row]), int(self._pool_seeds.sum())),
            SideVariance(float(longer.var(ddof=1)), len(longer) - 1, len(longer)),
            squares,
            influences.clusters(),
        )
        mean = np.asarray(self.mean(arm) - self.mean(other))
        return replace(found, mean=mean, possible=influences.possible_difference())

    def _used(self, finished: dict[str, BoolArray]) -> dict[str, BoolArray]:
        """Return the seeds of each arm that its comparisons use."""
        if not self._pool_seeds.any():
            return finished
        whole = {arm for arm, seeds in finished.items() if not (self._pool_seeds & ~seeds).any()}
        many = {arm for arm in whole if finished[arm].sum() >= MANY_SEEDS * self._pool_seeds.sum()}
        if len(whole - many) < FEWEST_IN_POOL:
            many = set()
        return {arm: self._pool_seeds if arm in whole - many else seeds for arm, seeds in finished.items()}

    def _beside_the_pool(self, arm: str, other: str) -> bool:
        """Return True if one arm is in the pool and the other has finished the pool's seeds and more."""
        if not {arm, other} & {*self.pool} or not {arm, other} <= self._seeds.keys():
            return False
        return np.array_equal(self._seeds[arm] & self._seeds[other], self._pool_seeds)

    def _same(self, arm: str) -> bool:
        return np.array_equal(self._seeds[arm], self._pool_seeds)


def _pool_seeds(finished: dict[str, BoolArray], reference: str | None) -> BoolArray:
    """Return the mask of the pool's seeds; none where no two arms share two seeds."""
    best, most = np.zeros(len(next(iter(finished.values()), np.zeros(0))), dtype=bool), 0
    anchor = finished.get(reference) if reference is not None else None
    candidates = (seeds if anchor is None else seeds & anchor for seeds in finished.values())
    for chosen in {seeds.tobytes(): seeds for seeds in candidates}.values():
        arms = sum(not (chosen & ~other).any() for other in finished.values())
        degrees = (arms - 1) * (int(chosen.sum()) - 1)
        if degrees > most or (degrees == most and degrees and chosen.sum() > best.sum()):
            best, most = chosen, degrees
    return best
