"""The pool of a study: the arms that have finished one set of seeds, and the seeds that each comparison uses.

Of all sets of seeds that an arm has finished, the pool has the one that gives the most degrees of freedom
``(A - 1)(S - 1)``. No score has a part in this choice. An arm with at least `MANY_SEEDS` times these seeds keeps them
all and leaves the pool, where at least `FEWEST_IN_POOL` other arms remain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fusion_bench.statistics.influence import BoolArray, Influences

FEWEST_IN_POOL = 3
"""The smallest pool that is compared with further seeds of another arm.

The seed variances of two arms tell nothing about each other, so a pool of two would be compared on the few degrees of
freedom of each arm alone. ``reports/calibration/calibration.md`` holds the error with a pool of three and more.
"""

MANY_SEEDS = 1.5
"""The smallest ratio of the seeds of an arm to those of the pool at which its further seeds are used.

A reference with 5 seeds where the arms have 3 leaves the pool for them; arms with 5 where one cell of the reference
failed do not, for they would lose what the pool knows about their scatter.
"""


@dataclass(frozen=True, eq=False)
class Pool:
    """The arms of one study that are compared seed by seed, and the seeds of all arms.

    Attributes:
        arms: the arms of the pool; empty if no two arms share two seeds.
        seeds: ``[S]``, the mask of their seeds.
        used: for each arm with a finished seed, the mask of the seeds that its comparisons use.
    """

    arms: tuple[str, ...]
    seeds: BoolArray
    used: Mapping[str, BoolArray]

    def count(self) -> int:
        """Return the number of seeds of the pool."""
        return int(self.seeds.sum())

    def whole(self) -> tuple[str, ...]:
        """Return the arms that have finished all seeds of the pool, those with further seeds among them."""
        return tuple(arm for arm, seeds in self.used.items() if self.arms and not (self.seeds & ~seeds).any())

    def has_beside(self, arm: str, other: str) -> bool:
        """Return True if one arm is in the pool and the other has finished the pool's seeds and more."""
        if not {arm, other} & {*self.arms} or not {arm, other} <= self.used.keys():
            return False
        return np.array_equal(self.used[arm] & self.used[other], self.seeds)


def are_many(seeds: int, pool: int) -> bool:
    """Return True if an arm with so many seeds keeps them all beside a pool with ``pool`` seeds."""
    return seeds >= MANY_SEEDS * pool


def pool_of(influences: Influences, arms: Sequence[str], reference: str | None = None) -> Pool:
    """Return the pool among ``arms``; its seeds are seeds of the ``reference`` where one is given."""
    finished = {arm: influences.seeds_of(arm) for arm in arms if influences.seeds_of(arm).any()}
    seeds = _seeds_of_pool(finished, reference)
    used = _used(finished, seeds)
    has_pool = seeds.sum() >= 2
    return Pool(tuple(arm for arm in finished if has_pool and np.array_equal(used[arm], seeds)), seeds, used)


def _seeds_of_pool(finished: Mapping[str, BoolArray], reference: str | None) -> BoolArray:
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


def _used(finished: Mapping[str, BoolArray], pool: BoolArray) -> dict[str, BoolArray]:
    """Return the seeds of each arm that its comparisons use."""
    if not pool.any():
        return {**finished}
    whole = {arm for arm, seeds in finished.items() if not (pool & ~seeds).any()}
    many = {arm for arm in whole if are_many(int(finished[arm].sum()), int(pool.sum()))}
    if len(whole - many) < FEWEST_IN_POOL:
        many = set()
    return {arm: pool if arm in whole - many else seeds for arm, seeds in finished.items()}
