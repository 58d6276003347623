"""The input of every figure of a report: its numbers, and the texts as they are drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from fusion_bench.reporting.figures.lettering import Lettering
from fusion_bench.reporting.figures.style import ArmStyle, arm_styles
from fusion_bench.reporting.tables.tables import Tables
from fusion_bench.results.results import StudyResults

_LABEL_LETTERS, _NAME_LETTERS = 32, 48
"""The largest numbers of letters of an arm's label, and of a split with a metric."""


@dataclass(frozen=True, eq=False)
class FigureData:
    """The input of every figure.

    Attributes:
        results: the study.
        tables: its numbers.
        arm_styles: label of an arm -> its colour, marker and line style.
        lettering: the fonts for the texts that the study brings along.
        labels: label of an arm -> the label as it is drawn.
    """

    results: StudyResults
    tables: Tables
    arm_styles: Mapping[str, ArmStyle]
    lettering: Lettering
    labels: Mapping[str, str]

    @classmethod
    def of(cls, results: StudyResults, tables: Tables) -> FigureData:
        """Return the input of the figures of a study."""
        lettering = Lettering.of(_texts(results, tables))
        labels = lettering.distinct([arm.label for arm in results.arms], _LABEL_LETTERS)
        return cls(results, tables, arm_styles(results.arms), lettering, labels)

    @property
    def primary(self) -> str:
        """The split and the metric of the verdicts (``test accuracy``), as they are drawn."""
        return self.metric(self.results.primary_split, self.results.primary)

    def metric(self, split: str, metric: str) -> str:
        """Return a split and a metric, as they are drawn."""
        return self.lettering.fit(f"{split} {metric}", _NAME_LETTERS)

    def means(self, split: str) -> pd.DataFrame:
        """Return the means of the primary metric on ``split``, the best first (`Tables.order`)."""
        means = self.tables.means
        return means[(means["split"] == split) & (means["metric"] == self.results.primary)]


def _texts(results: StudyResults, tables: Tables) -> Iterator[str]:
    """Yield the texts of a study that its figures may show."""
    yield from (arm.label for arm in results.arms)
    yield from (*results.evaluate_splits, results.select_split, results.primary, results.cluster)
    for table, columns in (
        (results.pictures, ("text", "truth")),
        (results.floors, ("name", "split")),
        (tables.answers, ("display",)),
        (tables.slices, ("slice", "value")),
    ):
        for column in columns:
            yield from map(str, table[column].unique())
