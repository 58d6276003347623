"""What each metric is a mean over, found by computing it again from the answers; that gives it an interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from fusion_bench.results.results import StudyResults
from fusion_bench.statistics.scores import SCORE_RANGE, Scores, Unit

_AGREES = 1e-6  # a metric stored in single precision still counts as recomputed
_SCORE = "score"
_THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class MetricScores:
    """One number a sample, in [0, 1].

    Attributes:
        unit: whether the metric is the mean of the numbers, or the share of clusters in which all are 1.
        measure: the column of the answers that holds the number.
        above: the number is 1 where the column is greater than this, else 0; None takes it as it is.
    """

    unit: Unit = "samples"
    measure: str = _SCORE
    above: float | None = None

    def scores(self, rows: pd.DataFrame, arms: list[str]) -> Scores:
        """The rows of one split laid out; see `Scores.of` for the errors."""
        if self.measure == _SCORE:
            return Scores.of(rows, arms)
        numbers = rows[self.measure]
        own = numbers if self.above is None else (numbers > self.above).astype(float)
        return Scores.of(rows.assign(score=own), arms)


class AllMetricScores:
    """The basis of every metric of a study, and its answers laid out on it.

    Attributes:
        splits: those with answers.
    """

    def __init__(self, results: StudyResults) -> None:
        self._arms = [arm.label for arm in results.arms]
        self._rows = {
            str(split): rows for split, rows in results.samples.groupby("split", sort=False, observed=True)
        }
        self.splits = tuple(self._rows)
        self._none = results.samples.iloc[:0]
        self._laid_out: dict[tuple[str, float | None, str], Scores] = {}
        self._possible = _possible(results)
        self._found = {
            str(metric): self._basis(results.values[results.values["metric"] == metric])
            for metric in results.values["metric"].unique()
        }

    def of(self, metric: str) -> MetricScores | None:
        """What the metric is a mean over; None if it is a mean of none of the recorded numbers."""
        return self._found.get(metric)

    def on(self, metric: str, split: str) -> tuple[Scores, Unit] | None:
        """The answers that a metric is a mean over, and of what; None without a basis or an answer on the split."""
        basis = self.of(metric)
        return None if basis is None or split not in self.splits else (self.scores(basis, split), basis.unit)

    def scores(self, basis: MetricScores, split: str) -> Scores:
        """The answers on a split; empty where there are none."""
        key = basis.measure, basis.above, split
        if key not in self._laid_out:
            self._laid_out[key] = basis.scores(self._rows.get(split, self._none), self._arms)
        return self._laid_out[key]

    def _basis(self, values: pd.DataFrame) -> MetricScores | None:
        stored = values[values["split"].isin(self.splits)].set_index(["split", "arm", "seed"])["value"]
        for basis in self._possible if len(stored) else ():
            again = {
                (split, arm, seed): value
                for split in self.splits
                for arm in self._arms
                for seed, value in _per_seed(self.scores(basis, split), arm, basis.unit).items()
            }
            recomputed = stored.index.map(again).to_numpy(dtype=np.float64)
            if np.allclose(recomputed, stored.to_numpy(dtype=np.float64), rtol=0, atol=_AGREES):
                return basis
        return None


def _possible(results: StudyResults) -> tuple[MetricScores, ...]:
    """Scores first; then each of the task's measures that is a share on every answer, and its being large."""
    low, high = SCORE_RANGE
    shares = [
        name
        for name in results.measures
        if len(results.samples) and results.samples[name].between(low, high).all()
    ]
    return (
        MetricScores("samples"),
        MetricScores("clusters"),
        *(MetricScores(measure=name, above=above) for name in shares for above in (None, *_THRESHOLDS)),
    )


def _per_seed(scores: Scores, arm: str, unit: Unit) -> dict[int, float]:
    seeds = np.array(scores.seeds)[scores.seeds_of(arm)]
    return dict(zip(seeds.tolist(), scores.per_seed(arm, unit).tolist(), strict=True))
