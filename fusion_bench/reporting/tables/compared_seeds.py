"""The seeds over which the means of a report are taken: those that the comparisons use.

A mean over other seeds than the verdicts could place an arm above one that it is worse than. So an arm or control
that has finished all seeds of the comparisons' pool has its means over those alone (an arm with many more over all of
its own), and one that lacks some of them over all that it has (`fusion_bench.statistics.differences`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from fusion_bench.statistics.comparison import Question
from fusion_bench.statistics.influence import Influences

ComparedSeeds: TypeAlias = Mapping[str, frozenset[int]]
"""The seeds that the comparisons of each arm and control use, by its label; an arm without any is left out."""


def compared_seeds(influences: Influences, question: Question) -> ComparedSeeds:
    """Return the seeds that the comparisons of a family use, of each arm with a result."""
    differences = question.differences(influences)
    used = {arm: differences.seeds_of(arm) for arm in influences.arms}
    seeds = np.array(influences.seeds, dtype=np.int64)
    return {arm: frozenset(seeds[mask].tolist()) for arm, mask in used.items() if mask.any()}


def is_compared(seeds: ComparedSeeds, arm: str, seed: int) -> bool:
    """Return True if the comparisons use this cell, or none of its arm's."""
    return arm not in seeds or seed in seeds[arm]


def only_compared(influences: Influences, seeds: ComparedSeeds) -> Influences:
    """Return the influences in which the cells that the comparisons do not use have no result."""
    cells = [not is_compared(seeds, arm, seed) for arm in influences.arms for seed in influences.seeds]
    unused = np.array(cells, dtype=bool).reshape(len(influences.arms), len(influences.seeds))
    if not unused.any():
        return influences
    table = np.where(unused[:, :, None], np.nan, influences.table)
    values = None if influences.values is None else np.where(unused, np.nan, influences.values)
    return replace(influences, table=table, values=values)
