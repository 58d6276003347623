"""The primary metric on each slice of the primary split; slices that hold the same samples are computed once."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from fusion_bench.reporting.tables.compared_seeds import ComparedSeeds, only_compared
from fusion_bench.results.results import StudyResults
from fusion_bench.statistics.comparison import means
from fusion_bench.statistics.scores import Scores, Unit


def slice_means(
    results: StudyResults, scores: Scores, unit: Unit, seeds: ComparedSeeds
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the means on each slice, and the slices that repeat another one.

    An empty slice value means "not applicable".

    Args:
        results: the study.
        scores: its scores on the primary metric and split.
        unit: the unit of the metric.
        seeds: the seeds over which the means of each arm are taken.

    Returns:
        The means: ``slice, value, arm, estimate, low, high, seeds, samples, clusters``; and what they leave out:
        ``slice, value, same_slice, same_value``, where the last two name the slice with the same samples and are
        empty for a slice that holds all samples.
    """
    first = results.samples[results.samples["split"] == results.primary_split].drop_duplicates("sample")
    rows = first.set_index("sample").reindex(scores.sample_ids)
    shown = {np.ones(len(rows), dtype=bool).tobytes(): ("", "")}
    parts, repeated = [], []
    for name in results.slices:
        for value in sorted(rows[name].dropna().unique(), key=_natural_order):
            if value == "":
                continue
            chosen = (rows[name] == value).to_numpy(dtype=bool)
            key = chosen.tobytes()
            if key in shown:
                repeated.append((name, str(value), *shown[key]))
                continue
            shown[key] = (name, str(value))
            own = only_compared(scores.where(chosen).influences(unit), seeds)
            parts.append(means(own).assign(slice=name, value=str(value)))
    columns = ["slice", "value", "arm", "estimate", "low", "high", "seeds", "samples", "clusters"]
    table = pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
    return table, pd.DataFrame(repeated, columns=["slice", "value", "same_slice", "same_value"])


def _natural_order(value: object) -> tuple[float, str]:
    """Return a sort key: the first number in a value, then its text.

    "10" follows "9" and "15 and more" follows "12-14"; values without a number come last.
    """
    text = str(value)
    number = re.search(r"\d+(\.\d+)?", text)
    return (float(number[0]) if number else float("inf"), text)
