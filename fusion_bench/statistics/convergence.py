"""Had an arm finished learning? Equal budgets compare arms fairly only if the sentence says so where not."""

from __future__ import annotations

import numpy as np
import pandas as pd

LAST_PART = 0.2
RISE = 0.01


def convergence(curves: pd.DataFrame, *, higher_is_better: bool = True) -> pd.DataFrame:
    """How much each arm's selection metric still improved in the last fifth of its schedule.

    A seed's rise is its last value less its value at four fifths of the samples it saw, interpolated
    linearly in samples seen, since a short schedule has no epoch that ends there; the arm's rise is the mean
    over its seeds, which for equal schedules is the rise of the mean curve. An arm that rose by more than
    one point (0.01) had not converged. One evaluation shows no rise either way: such a seed counts as
    unknown, and so does an arm with one.

    Args:
        curves: the selection metric alone: ``arm, seed, samples_seen, value``.
        higher_is_better: the metric's direction; the rise of a metric that should fall is its fall.

    Returns:
        ``arm, rise, converged`` in the order of first appearance; ``rise`` is NaN where unknown, and
        ``converged`` is True only where shown.
    """
    sign = 1.0 if higher_is_better else -1.0
    rises = [
        {"arm": arm, "rise": sign * _rise(curve.sort_values("samples_seen"))}
        for (arm, _), curve in curves.groupby(["arm", "seed"], sort=False, observed=True)
    ]
    table = pd.DataFrame(rises, columns=["arm", "rise"])
    per_arm = table.groupby("arm", sort=False, observed=True)["rise"].agg(
        lambda rise: rise.mean(skipna=False)
    )
    result = per_arm.reset_index()
    # A rise of exactly one point must not depend on the last bit of a subtraction.
    result["converged"] = result["rise"].notna() & (result["rise"].round(9) <= RISE)
    return result


def _rise(curve: pd.DataFrame) -> float:
    seen = curve["samples_seen"].to_numpy(dtype=np.float64)
    value = curve["value"].to_numpy(dtype=np.float64)
    start = (1 - LAST_PART) * seen[-1]
    if seen[0] > start:
        return float("nan")
    return float(value[-1] - np.interp(start, seen, value))
