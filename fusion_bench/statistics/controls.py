"""Leads of the arms over the controls: an arm must beat every one of them, and the arms are corrected together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from fusion_bench.statistics.comparison import (
    ALPHA,
    FEWEST_SEEDS,
    Question,
    estimate_columns,
    holm_of,
)
from fusion_bench.statistics.estimate import stacked
from fusion_bench.statistics.influence import Influences

LEAD_ALPHA = ALPHA / 2
"""The level of the one-sided tests of leads: that of one side of a 95 % interval."""


def against_controls(influences: Influences, question: Question) -> pd.DataFrame:
    """Return the differences ``arm - control`` of each arm, the reference included, from each control.

    An arm passes only if it beats *every* control. Such an intersection-union test needs no correction over the
    controls (Berger, *Technometrics* 24, 1982): the p-value of the arm is the largest one-sided one. Holm's
    correction runs over the arms, because among many arms some would pass by luck.

    Returns:
        One row per arm and control that share a finished seed: ``arm``, ``control``, the columns of
        `fusion_bench.statistics.comparison.means`; ``interval_better`` (the whole 95 % interval is on the better side
        of zero); ``p`` (one-sided, of this pair) and, equal in all rows of an arm, ``p_holm`` (of "some control that
        it is compared with is not beaten"; NaN with fewer than three seeds), ``leads`` (it is at most 2.5 %) and
        ``beats`` (the arm leads and is compared with every control, so that each of them has a result).
    """
    differences = question.differences(influences)
    sign = 1.0 if question.higher_is_better else -1.0
    found = {
        (arm, control): difference
        for arm in question.arms()
        for control in question.controls
        if (difference := differences.over_control(arm, control)) is not None
    }
    estimates = stacked([item.estimate for item in found.values()])
    seeds = [min(item.seeds, item.other_seeds) for item in found.values()]
    table = pd.DataFrame(
        {
            "arm": [arm for arm, _ in found],
            "control": [control for _, control in found],
            **estimate_columns(influences, estimates, seeds),
            "p": replace(estimates, mean=sign * estimates.mean).p_not_above(),
        }
    )
    table["interval_better"] = table["low"] > 0 if question.higher_is_better else table["high"] < 0
    arms = table.groupby("arm", sort=False)
    worst = arms["p"].agg(lambda values: values.max(skipna=False))
    enough = (arms["seeds"].min() >= FEWEST_SEEDS).to_numpy(dtype=bool)
    corrected = pd.Series(holm_of(worst.to_numpy(dtype=np.float64), enough), index=worst.index)
    table["p_holm"] = table["arm"].map(corrected).astype(np.float64)
    table["leads"] = table["p_holm"] <= LEAD_ALPHA
    table["beats"] = table["leads"] & (arms["control"].transform("size") == len(question.controls))
    return table
