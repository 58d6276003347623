"""The text of an estimate with its interval, as the sentences of a report write it."""

from __future__ import annotations

import numpy as np

from fusion_bench.reporting.tables.formatting import level_percent, points, points_range
from fusion_bench.reporting.tables.staged import LEVEL
from fusion_bench.reporting.tables.tables import Row


def difference_text(row: Row) -> str:
    """Return ``+1.2 points (95 % interval −0.3 to +2.7)``; without the bracket where there is no interval.

    A row that has a ``level`` of its own, that of its look, says this one.
    """
    if np.isnan(row["low"]):
        return f"{points(row['estimate'])} points"
    level = level_percent(row.get("level", LEVEL))
    return f"{points(row['estimate'])} points ({level} interval {range_text(row)})"


def range_text(row: Row) -> str:
    """Return ``−0.3 to +2.7``; a dash where there is no interval."""
    return points_range(row["low"], row["high"])


def shown_better(row: Row, *, estimate_better: bool, interval_better: bool) -> bool:
    """Return True if the whole interval is on the better side; without an interval the estimate decides."""
    return estimate_better if np.isnan(row["low"]) else interval_better
