"""Means, differences and leads over floors on every split and metric, as tidy tables without verdicts.

Means are over the seeds of the comparisons with the reference (`fusion_bench.reporting.tables.compared_seeds`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from fusion_bench.reporting.tables.compared_seeds import ComparedSeeds, is_compared, only_compared
from fusion_bench.reporting.tables.staged import compared_without_verdict
from fusion_bench.results.metric_scores import AllMetricScores, MetricScores
from fusion_bench.results.results import StudyResults
from fusion_bench.statistics.comparison import Question, means
from fusion_bench.statistics.scores import Scores


def all_means(results: StudyResults, all_scores: AllMetricScores, seeds: ComparedSeeds) -> pd.DataFrame:
    """Return the mean of each arm and control on every split and metric, with an interval where there is one."""
    parts = []
    keys = results.values[["split", "metric"]].drop_duplicates()
    cells = zip(results.values["arm"], results.values["seed"], strict=True)
    used = np.array([is_compared(seeds, arm, seed) for arm, seed in cells], dtype=bool)
    for split, metric in keys.itertuples(index=False, name=None):
        if (influences := all_scores.on(metric, split)) is not None:
            parts.append(means(only_compared(influences, seeds)).assign(split=split, metric=metric))
            continue
        chosen = (results.values["split"] == split) & (results.values["metric"] == metric)
        plain = results.values[chosen & used].groupby("arm", sort=False, observed=True)["value"]
        plain_means = plain.agg(estimate="mean", seeds="size").reset_index()
        parts.append(plain_means.assign(split=split, metric=metric, low=np.nan, high=np.nan))
    if not parts:
        return means(Scores.of(results.samples.iloc[:0], []).influences()).assign(split="", metric="")
    table = pd.concat(parts, ignore_index=True)
    return table.assign(low=table["low"].clip(lower=0.0), high=table["high"].clip(upper=1.0))


def other_differences(results: StudyResults, all_scores: AllMetricScores, question: Question) -> pd.DataFrame:
    """Return the differences on other splits and metrics, without verdicts: the study has one family of tests."""
    parts = []
    for split in (*results.evaluate_splits, results.select_split):
        for metric in map(str, results.values["metric"].unique()):
            influences = all_scores.on(metric, split)
            if influences is None or (split, metric) == (results.primary_split, results.primary):
                continue
            table = compared_without_verdict(influences, replace(question, margin=None), results.stages)
            parts.append(table.assign(split=split, metric=metric))
    columns = ["split", "metric", "arm", "estimate", "low", "high", "seeds", "clusters", "samples"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def leads_over_floors(
    results: StudyResults, all_scores: AllMetricScores, seeds: ComparedSeeds
) -> pd.DataFrame:
    """Return the score of each arm minus each floor, paired sample by sample where the floor's scores are recorded.

    A floor without recorded scores (a report of an earlier version) counts as a constant.
    """
    recorded = results.floor_scores.set_index(["name", "split", "sample"])["score"]
    rows = []
    for name, split, floor in results.floors[["name", "split", "accuracy"]].itertuples(
        index=False, name=None
    ):
        if split not in all_scores.splits:
            continue
        scores = all_scores.scores(MetricScores(), split)
        wanted = pd.MultiIndex.from_product([[name], [split], scores.sample_ids])
        own = recorded.reindex(wanted).to_numpy(dtype=np.float64)
        known = bool(len(own)) and not np.isnan(own).any()
        above = replace(scores, values=scores.values - (own if known else floor)).influences()
        possible = (-1.0, 1.0) if known else (-floor, 1.0 - floor)
        table = means(only_compared(replace(above, possible=possible), seeds))
        rows.append(table.assign(name=name, split=split, floor=floor))
    columns = ["name", "split", "floor", "arm", "estimate", "low", "high", "seeds"]
    return pd.concat(rows, ignore_index=True)[columns] if rows else pd.DataFrame(columns=columns)
