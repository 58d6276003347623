"""The seeds over which the means of a report are taken: those of each arm's comparison with the reference.

A mean over other seeds than the verdict could place an arm above the reference that it is worse than. So an arm or
control that has finished all seeds of the comparisons' pool has its means over those alone (an arm with many more,
over all of its own), and one that lacks some of them over those that it shares with the reference
(`fusion_bench.statistics.differences`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from fusion_bench.reporting.tables.staged import staged_seeds
from fusion_bench.statistics.comparison import Question
from fusion_bench.statistics.influence import Influences
from fusion_bench.statistics.sequential import Stages

ComparedSeeds: TypeAlias = Mapping[str, frozenset[int]]
"""The seeds of each arm and control in its comparison with the reference, by label; none without a seed."""


def compared_seeds(influences: Influences, question: Question, stages: Stages | None = None) -> ComparedSeeds:
    """Return the seeds that the comparison with the reference uses, of each arm with a result.

    In a study with looks (``stages``), these are those of the arm's last look, and of all looks for the reference.
    """
    if stages is not None:
        return staged_seeds(influences, question, stages)
    differences = question.differences(influences)
    used = {arm: differences.seeds_of(arm) for arm in influences.arms}
    seeds = np.array(influences.seeds, dtype=np.int64)
    return {arm: frozenset(seeds[mask].tolist()) for arm, mask in used.items() if mask.any()}


def is_compared(seeds: ComparedSeeds, arm: str, seed: int) -> bool:
    """Return True if the arm's comparison with the reference uses this cell, or none of its cells."""
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
