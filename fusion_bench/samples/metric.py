"""Metrics: numbers computed from the recorded rows of one split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Metric:
    """A number computed from a cell's ``samples.parquet`` alone.

    Reports give a confidence interval for three kinds of metric: the mean of the scores or of a measure, the share
    of samples whose measure exceeds a threshold from 0.5 to 0.9, and the share of clusters in which every sample is
    right.

    Attributes:
        name: a short name in lower case; reports put the split's name before it.
        compute: function from the rows of one split (columns ``sample``, ``cluster``, ``prediction``, ``truth``,
            ``score``, the slices and the task's measures) to a number within ``range``.
        higher_is_better: False for an error.
        range: the least and the greatest possible value.
    """

    name: str
    compute: Callable[[pd.DataFrame], float]
    higher_is_better: bool = True
    range: tuple[float, float] = (0.0, 1.0)
