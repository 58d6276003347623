"""Metrics: numbers computed from the rows of one split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Metric:
    """A number computed from a cell's ``samples.parquet`` alone.

    Reports give an interval to the mean of the scores or of a measure, to the share of samples in which a measure
    is above 0.5 to 0.9, and to the share of clusters that are right throughout.

    Attributes:
        name: short, lower case; reports put the split before it.
        compute: from the rows of one split (``sample``, ``cluster``, ``prediction``, ``truth``,
            ``score``, slices, the task's measures) to a number within ``range``.
    """

    name: str
    compute: Callable[[pd.DataFrame], float]
    higher_is_better: bool = True
    range: tuple[float, float] = (0.0, 1.0)
