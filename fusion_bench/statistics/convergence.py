"""Convergence of each arm: a report must say which arms still improved when the training budget ended."""

from __future__ import annotations

import numpy as np
import pandas as pd

LAST_PART = 0.2
RISE = 0.01


def convergence(curves: pd.DataFrame, *, higher_is_better: bool = True) -> pd.DataFrame:
    """Return how much the selection metric of each arm still improved in the last fifth of its schedule.

    The rise of a seed is its last value minus its value at four fifths of the samples seen. The latter is
    interpolated linearly in samples seen, because in a short schedule no epoch ends there. The rise of an arm is the
    mean over its seeds; with equal schedules this is the rise of the mean curve. An arm whose rise is more than one
    point (0.01) had not converged. A seed with a single evaluation has an unknown rise, and so has an arm with such
    a seed.

    Args:
        curves: the curve of the selection metric: ``arm, seed, samples_seen, value``.
        higher_is_better: the direction of the metric; a metric that should fall rises by the amount of its fall.

    Returns:
        ``arm, rise, converged`` in the order of first appearance; ``rise`` is NaN where unknown, and
        ``converged`` is True only where the rise is known.
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
