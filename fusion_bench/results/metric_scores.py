"""The numbers per sample that a metric follows from, found by recomputing the metric; they give it an interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pandas as pd

from fusion_bench.statistics.influence import Influences
from fusion_bench.statistics.scores import SCORE_RANGE, Scores, Unit

_TOLERANCE = 1e-6  # a metric stored in single precision still counts as recomputed
_SCORE = "score"
_THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class MetricScores:
    """One way to compute a metric from one number in [0, 1] per sample, or from two sums.

    Attributes:
        unit: whether the metric is the mean of the numbers (samples) or the share of clusters in which all are 1.
        measure: the column of ``StudyResults.samples`` that holds the number.
        above: a threshold: the number is 1 where the column is greater, else 0; None takes the column as it is.
        over: another column: the metric is the sum of ``measure`` over the sum of this one; empty for a mean.
    """

    unit: Unit = "samples"
    measure: str = _SCORE
    above: float | None = None
    over: str = ""

    def scores(self, rows: pd.DataFrame, arms: list[str]) -> Scores:
        """Return the numbers of one split as an array; `Scores.of` lists the errors."""
        if self.above is not None:
            above = (rows[self.measure] > self.above).astype(float)
            return Scores.of(rows.assign(**{_SCORE: above}), arms, score=_SCORE)
        return Scores.of(rows, arms, score=self.measure, size=self.over or None)


class Labelled(Protocol):
    """An arm of a study, planned or finished."""

    @property
    def label(self) -> str:
        """The name of the arm in the study."""


class RecordedScores(Protocol):
    """The tables that metrics are computed from; see `fusion_bench.results.results.StudyResults`."""

    @property
    def arms(self) -> Sequence[Labelled]:
        """The arms."""

    @property
    def samples(self) -> pd.DataFrame:
        """One row per done cell, split and sample."""

    @property
    def values(self) -> pd.DataFrame:
        """One row per done cell, split and metric."""

    @property
    def measures(self) -> tuple[str, ...]:
        """The columns of numbers that the task adds to ``samples``."""


class AllMetricScores:
    """The `MetricScores` of every metric of a study, and the influences on each split.

    Attributes:
        splits: the splits that have predictions.
    """

    def __init__(self, results: RecordedScores) -> None:
        self._arms = [arm.label for arm in results.arms]
        self._rows = {
            str(split): rows for split, rows in results.samples.groupby("split", sort=False, observed=True)
        }
        self.splits = tuple(self._rows)
        self._no_rows = results.samples.iloc[:0]
        self._cached: dict[tuple[MetricScores, str], Scores] = {}
        self._influences: dict[tuple[MetricScores, str], Influences] = {}
        self._candidates = _candidates(results)
        self._by_metric = {
            str(metric): self._matching(results.values[results.values["metric"] == metric])
            for metric in results.values["metric"].unique()
        }

    def of(self, metric: str) -> MetricScores | None:
        """Return how the metric is computed; None if it follows from none of the recorded numbers."""
        return self._by_metric.get(metric)

    def on(self, metric: str, split: str) -> Influences | None:
        """Return the influences on a metric on a split.

        None if the metric follows from none of the recorded numbers, or the split has no predictions.
        """
        metric_scores = self.of(metric)
        if metric_scores is None or split not in self.splits:
            return None
        return self.influences(metric_scores, split)

    def influences(self, metric_scores: MetricScores, split: str) -> Influences:
        """Return the influences on a split; empty where it has no predictions."""
        key = metric_scores, split
        if key not in self._influences:
            self._influences[key] = self.scores(metric_scores, split).influences(metric_scores.unit)
        return self._influences[key]

    def scores(self, metric_scores: MetricScores, split: str) -> Scores:
        """Return the scores on a split; empty where it has no predictions."""
        key = replace(metric_scores, unit="samples"), split
        if key not in self._cached:
            self._cached[key] = metric_scores.scores(self._rows.get(split, self._no_rows), self._arms)
        return self._cached[key]

    def _matching(self, values: pd.DataFrame) -> MetricScores | None:
        """Return the first candidate that reproduces all stored ``values`` of one metric; None if none does."""
        stored = values[values["split"].isin(self.splits)].set_index(["split", "arm", "seed"])["value"]
        for candidate in self._candidates if len(stored) else ():
            computed = {
                (split, arm, seed): value
                for split in self.splits
                for arm in self._arms
                for seed, value in _per_seed(self.influences(candidate, split), arm).items()
            }
            recomputed = stored.index.map(computed).to_numpy(dtype=np.float64)
            if np.allclose(recomputed, stored.to_numpy(dtype=np.float64), rtol=0, atol=_TOLERANCE):
                return candidate
        return None


def _candidates(results: RecordedScores) -> tuple[MetricScores, ...]:
    """Return the score first, then each measure in [0, 1], itself and thresholded, then each ratio of two sums.

    A ratio's upper measure is never above the lower one (an intersection and its union), so that it lies in [0, 1].
    """
    low, high = SCORE_RANGE
    numbers = results.samples[list(results.measures)] if len(results.samples) else pd.DataFrame()
    names = [str(name) for name in numbers]
    shares = [name for name in names if numbers[name].between(low, high).all()]
    sizes = [name for name in names if (numbers[name] >= 0).all()]
    ratios = [
        (upper, lower)
        for upper in sizes
        for lower in sizes
        if upper != lower and (numbers[lower] > 0).all() and (numbers[upper] <= numbers[lower]).all()
    ]
    return (
        MetricScores("samples"),
        MetricScores("clusters"),
        *(MetricScores(measure=name, above=above) for name in shares for above in (None, *_THRESHOLDS)),
        *(MetricScores(measure=upper, over=lower) for upper, lower in ratios),
    )


def _per_seed(influences: Influences, arm: str) -> dict[int, float]:
    finished = influences.seeds_of(arm)
    seeds = np.array(influences.seeds)[finished]
    return dict(zip(seeds.tolist(), influences.per_seed([arm], finished)[0].tolist(), strict=True))
