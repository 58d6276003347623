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

from dataclasses import dataclass

import numpy as np

from fusion_bench.errors import FusionBenchError
from fusion_bench.statistics.comparison import ALPHA, FEWEST_SEEDS, Question, compare
from fusion_bench.statistics.influence import BoolArray, Influences

FEWEST_SPLIT = 4
"""The smallest number of shared seeds that can be split: two in each half, for an interval."""


@dataclass(frozen=True)
class OwnCells:
    """How often the statistics err about a study's own cells, compared with themselves.

    Attributes:
        arms: the number of pseudo-arms.
        seeds: the seeds that all of them share, of which an odd one is left out in each split.
        left_out: the arms that lack some of these seeds.
        splits: the number of random splits.
        coverage: the share of 95 % intervals that hold zero, over splits and comparisons.
        comparison_error: the share of comparisons that are called better or worse; NaN below six seeds, for a
            verdict needs three seeds in each half.
        family_error: the share of splits with a false *better* or *worse*; NaN below six seeds.
    """

    arms: int
    seeds: int
    left_out: tuple[str, ...]
    splits: int
    coverage: float
    comparison_error: float
    family_error: float

    def cells(self) -> int:
        """Return the number of cells that the rates rest on."""
        return self.arms * self.seeds


def split_own_cells(
    influences: Influences, question: Question, splits: int, generator: np.random.Generator
) -> OwnCells:
    """Return how often the statistics err about a study's own cells.

    Raises:
        FusionBenchError: no two arms, the reference one of them, share `FEWEST_SPLIT` finished seeds.
    """
    seeds = influences.seeds_of(question.reference)
    arms = tuple(arm for arm in question.arms() if not (seeds & ~influences.seeds_of(arm)).any())
    count = int(seeds.sum())
    if count < FEWEST_SPLIT or len(arms) < 2:
        raise FusionBenchError(
            f"the seeds of this study cannot be split: {len(arms)} of its arms share the {count} finished seeds of "
            f"{question.reference}, and a split needs two arms with {FEWEST_SPLIT} seeds (6 for verdicts)"
        )
    verdicts = count // 2 >= FEWEST_SEEDS
    asked = Question(arms[0], arms[1:])
    held, found = np.zeros((2, splits, len(arms) - 1), dtype=bool)
    for number in range(splits):
        table = compare(halves_compared(influences, arms, seeds, generator), asked)
        held[number] = (table["low"] <= 0) & (table["high"] >= 0)
        found[number] = table["p_holm"] < ALPHA
    return OwnCells(
        len(arms),
        count,
        tuple(arm for arm in question.arms() if arm not in arms),
        splits,
        float(held.mean()),
        float(found.mean()) if verdicts else float("nan"),
        float(found.any(1).mean()) if verdicts else float("nan"),
    )


def halves_compared(
    influences: Influences, arms: tuple[str, ...], seeds: BoolArray, generator: np.random.Generator
) -> Influences:
    """Return the study of the pseudo-arms of one random split.

    Args:
        influences: the study.
        arms: the arms that have finished all of ``seeds``.
        seeds: ``[S]``, a mask of these seeds.
        generator: the source of chance.
    """
    half = int(seeds.sum()) // 2
    order = generator.permutation(int(seeds.sum()))
    first, other = order[:half], order[half : 2 * half]
    table = np.stack([influences.of(arm, seeds) for arm in arms])
    metric = influences.per_seed(arms, seeds)
    return Influences(
        arms,
        tuple(range(half)),
        table[:, first] - table[:, other],
        influences.sample_ids,
        (-np.inf, np.inf),
        metric[:, first] - metric[:, other],
    )
