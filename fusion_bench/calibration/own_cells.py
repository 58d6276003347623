"""A study against itself: the seeds of every arm are split at random, so that every verdict is an error.

**Design.** Each arm's seeds are split into two halves, and its pseudo-arm is the table of the first half minus that
of the second. Both halves are trainings of one arm, so that the pseudo-arm is zero on average, whatever the arm does.
The pseudo-arms keep the study's family: all arms against one reference, each with its own scatter between seeds,
seeds paired across arms. They are then compared by the same public function as the arms. The comparison of each half
with its other half alone would lose the reference that all comparisons share, and the arms that inform each other.

**What it cannot show.** Effects of images on an arm are equal in both halves and cancel. A difference of two seeds is
symmetric, so a skewed scatter between seeds looks more normal than it is. Half of the seeds are lost. All splits use
the same cells: more splits remove the chance of the split, not that of the cells, so one study says little.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fusion_bench.errors import FusionBenchError
from fusion_bench.statistics.comparison import ALPHA, FEWEST_SEEDS, Question, compare
from fusion_bench.statistics.influence import BoolArray, Influences
from fusion_bench.statistics.seeds.pool import Pool, are_many, pool_of

FEWEST_SPLIT = 4
"""The smallest number of seeds of the pool that can be split: two in each half, for an interval."""


@dataclass(frozen=True)
class OwnCells:
    """How often the statistics err about a study's own cells, compared with themselves.

    Attributes:
        arms: the number of pseudo-arms.
        seeds: the seeds of the pool, of which an odd one is left out in each split.
        reference_seeds: the seeds of the reference that are split; more than ``seeds`` where it has many.
        unused_seeds: further seeds of the reference that the study's comparisons use and that are not split, because
            half of them would be too few to be used.
        cells: the number of cells that the rates rest on.
        splits: the number of random splits.
        coverage: the share of 95 % intervals that hold zero, over splits and comparisons.
        comparison_error: the share of comparisons that are called better or worse; NaN below six seeds, for a
            verdict needs three seeds in each half.
        family_error: the share of splits with a false *better* or *worse*; NaN below six seeds.
    """

    arms: int
    seeds: int
    reference_seeds: int
    unused_seeds: int
    cells: int
    splits: int
    coverage: float
    comparison_error: float
    family_error: float


def split_own_cells(
    influences: Influences, question: Question, splits: int, generator: np.random.Generator
) -> OwnCells:
    """Return how often the statistics err about a study's own cells.

    The arms and seeds are those that the comparisons with the reference use: the pool, and arms with further seeds.

    Raises:
        FusionBenchError: no two arms, the reference one of them, are compared on `FEWEST_SPLIT` seeds.
    """
    whole = pool_of(influences, question.arms(), question.reference)
    pool = _can_be_halved(whole)
    arms, count = pool.whole(), pool.count()
    if count < FEWEST_SPLIT or question.reference not in arms:
        raise FusionBenchError(
            f"the seeds of this study cannot be split: {len(arms)} of its arms are compared on {count} seeds, and a "
            f"split needs two arms, the reference one of them, with {FEWEST_SPLIT} seeds (6 for verdicts)"
        )
    verdicts = count // 2 >= FEWEST_SEEDS
    asked = Question(question.reference, tuple(arm for arm in arms if arm != question.reference))
    held, found = np.zeros((2, splits, len(arms) - 1), dtype=bool)
    for number in range(splits):
        table = compare(halves_compared(influences, pool, generator), asked)
        held[number] = (table["low"] <= 0) & (table["high"] >= 0)
        found[number] = table["p_holm"] < ALPHA
    return OwnCells(
        len(arms),
        count,
        int(pool.used[question.reference].sum()),
        int((whole.used[question.reference] & ~pool.used[question.reference]).sum()),
        sum(int(pool.used[arm].sum()) for arm in arms),
        splits,
        float(held.mean()),
        float(found.mean()) if verdicts else float("nan"),
        float(found.any(1).mean()) if verdicts else float("nan"),
    )


def _can_be_halved(pool: Pool) -> Pool:
    """Return the pool without further seeds of which a half would be too few to be used beside half of the pool."""
    half = pool.count() // 2
    used = {
        arm: seeds if are_many(half + int((seeds & ~pool.seeds).sum()) // 2, half) else seeds & pool.seeds
        for arm, seeds in pool.used.items()
    }
    return replace(pool, used=used)


def halves_compared(influences: Influences, pool: Pool, generator: np.random.Generator) -> Influences:
    """Return the study of the pseudo-arms of one random split.

    The seeds of the pool are split for all arms alike, and so are the further seeds of the arms that have some. An
    arm without a further seed has no pseudo-cell there.

    Args:
        influences: the study.
        pool: its arms and seeds.
        generator: the source of chance.
    """
    arms = pool.whole()
    used = np.stack([pool.used[arm] for arm in arms])
    halves = [_halves(part, generator) for part in (pool.seeds, used.any(0) & ~pool.seeds)]
    first, other = (np.concatenate(parts) for parts in zip(*halves, strict=True))
    has_both = used[:, first] & used[:, other]
    every = np.ones(len(influences.seeds), dtype=bool)
    table = np.stack([influences.of(arm, every) for arm in arms])
    metric = influences.per_seed(arms, every)
    return Influences(
        arms,
        tuple(range(len(first))),
        np.where(has_both[:, :, None], table[:, first] - table[:, other], np.nan),
        influences.sample_ids,
        (-np.inf, np.inf),
        np.where(has_both, metric[:, first] - metric[:, other], np.nan),
    )


def _halves(
    seeds: BoolArray, generator: np.random.Generator
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the positions of two random halves of the marked seeds; an odd one is left out."""
    half = int(seeds.sum()) // 2
    order = np.flatnonzero(seeds)[generator.permutation(int(seeds.sum()))]
    return order[:half], order[half : 2 * half]
