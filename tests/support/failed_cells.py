"""Studies in which some cells gave no result."""

from __future__ import annotations

import dataclasses

import numpy as np

from fusion_bench.statistics.influence import Influences


def without(influences: Influences, arm: str, *seeds: int) -> Influences:
    """Return the same study in which these cells of one arm, by position of the seed, gave no result."""
    table = influences.table.copy()
    table[influences.arms.index(arm), list(seeds)] = np.nan
    return dataclasses.replace(influences, table=table)
