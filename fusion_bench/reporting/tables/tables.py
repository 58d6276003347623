"""All numbers of a report, as tidy tables in the units of the data (shares, not per cent)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.tables.context_ranks import context_agreement, context_ranks
from fusion_bench.reporting.tables.metric_scores import AllMetricScores, MetricScores
from fusion_bench.reporting.tables.sample_selection import shown_answers
from fusion_bench.results.results import StudyResults
from fusion_bench.spec.arms import Role
from fusion_bench.statistics.comparison import Question, compare, means
from fusion_bench.statistics.controls import against_controls
from fusion_bench.statistics.convergence import convergence
from fusion_bench.statistics.influence import Influences
from fusion_bench.statistics.scores import Scores, Unit

Row: TypeAlias = dict[str, Any]
"""One row of a tidy table, by column name."""


@dataclass(frozen=True, eq=False)
class Tables:
    """The numbers of the sentences, figures and Markdown tables; no other code computes a number of a report.

    Attributes:
        means: ``split, metric, arm, role, estimate, low, high, seeds, clusters, samples, ...``. A metric
            that follows from no recorded number has a mean over seeds and no interval. Intervals of
            shares are limited to [0, 1].
        per_seed: ``split, metric, arm, role, seed, value``.
        comparisons: the differences of the family, of arms outside the budget and of controls from the reference, on
            the primary metric and split (`fusion_bench.statistics.comparison.compare`), with ``role``.
        differences: the same differences on every other evaluated split and metric, without verdicts.
        controls: the difference of each arm from each control
            (`fusion_bench.statistics.controls.against_controls`).
        floors: ``name, split, floor, arm, role, estimate, low, high, seeds``: score minus floor, paired by sample.
        slices: ``slice, value, arm, role, estimate, low, high, samples, clusters``, on the primary split.
        learning: ``arm, role, rise, converged, epochs, best_epoch``.
        ranking: the arms ranked by their mean on the primary metric and split, in the study itself (``context`` "")
            and in each context: ``context, arm, estimate, rank, rank_low, rank_high``; empty without contexts.
        agreement: the agreement of the ranking of each context with that of the study: ``context`` and the fields of
            `fusion_bench.statistics.ranking.Agreement`.
        answers: the answer or prediction of each arm for each shown sample
            (`fusion_bench.reporting.tables.sample_selection`).
        unfinished: the cells without a result.
    """

    means: pd.DataFrame
    per_seed: pd.DataFrame
    comparisons: pd.DataFrame
    differences: pd.DataFrame
    controls: pd.DataFrame
    floors: pd.DataFrame
    slices: pd.DataFrame
    learning: pd.DataFrame
    ranking: pd.DataFrame
    agreement: pd.DataFrame
    answers: pd.DataFrame
    unfinished: pd.DataFrame


def records(table: pd.DataFrame) -> list[Row]:
    """Return the rows of a table as dictionaries."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def build_tables(results: StudyResults) -> Tables:
    """Compute all tables.

    Raises:
        FusionBenchError: the scores of two arms cannot be paired, or the primary metric does not follow from the
            recorded numbers.
    """
    all_scores = AllMetricScores(results)
    metric_scores = _primary_scores(results, all_scores)
    question = _question(results)
    primary = all_scores.influences(metric_scores, results.primary_split)
    return Tables(
        means=_with_role(results, _means(results, all_scores)),
        per_seed=results.values[["split", "metric", "arm", "role", "seed", "value"]].reset_index(drop=True),
        comparisons=_with_role(results, compare(primary, question)),
        differences=_with_role(results, _differences(results, all_scores, question)),
        controls=against_controls(primary, question),
        floors=_with_role(results, _floors(results, all_scores)),
        slices=_with_role(
            results,
            _slices(results, all_scores.scores(metric_scores, results.primary_split), metric_scores.unit),
        ),
        learning=_with_role(results, _learning(results)),
        ranking=context_ranks(results, primary, metric_scores),
        agreement=context_agreement(results, primary, metric_scores),
        answers=shown_answers(results, results.pictures),
        unfinished=results.cells[results.cells["state"] != "done"].reset_index(drop=True),
    )


def primary_comparison(results: StudyResults) -> tuple[Influences, Question]:
    """Return the influences and the family from which the verdicts are computed.

    Raises:
        FusionBenchError: see `build_tables`.
    """
    all_scores = AllMetricScores(results)
    return (
        all_scores.influences(_primary_scores(results, all_scores), results.primary_split),
        _question(results),
    )


def _primary_scores(results: StudyResults, all_scores: AllMetricScores) -> MetricScores:
    """Return how the primary metric is computed."""
    found = all_scores.of(results.primary)
    if found is not None:
        return found
    if results.primary not in set(results.values["metric"]):
        return MetricScores()
    raise FusionBenchError(
        f"the primary metric {results.primary!r} is neither the mean of a recorded number per sample nor the "
        f"ratio of two sums nor the share of {results.cluster}s whose samples are all right, so it has no "
        "interval; choose another metric"
    )


def _question(results: StudyResults) -> Question:
    """Return the family of comparisons; an arm outside a matched budget gets an interval only, like a control."""
    arms = _labels(results, "arm")
    unranked = [arm.label for arm in results.arms if arm.label in arms and arm.unranked]
    return Question(
        reference=results.reference,
        family=tuple(label for label in arms if label not in unranked),
        unranked=tuple(unranked),
        controls=tuple(_labels(results, "control")),
        margin=results.margin,
        higher_is_better=results.primary not in results.lower_is_better,
    )


def _labels(results: StudyResults, role: Role) -> list[str]:
    return [arm.label for arm in results.arms if arm.role == role]


def _means(results: StudyResults, all_scores: AllMetricScores) -> pd.DataFrame:
    parts = []
    keys = results.values[["split", "metric"]].drop_duplicates()
    for split, metric in keys.itertuples(index=False, name=None):
        if (influences := all_scores.on(metric, split)) is not None:
            parts.append(means(influences).assign(split=split, metric=metric))
            continue
        chosen = (results.values["split"] == split) & (results.values["metric"] == metric)
        plain = results.values[chosen].groupby("arm", sort=False, observed=True)["value"]
        plain_means = plain.agg(estimate="mean", seeds="size").reset_index()
        parts.append(plain_means.assign(split=split, metric=metric, low=np.nan, high=np.nan))
    if not parts:
        return means(Scores.of(results.samples.iloc[:0], []).influences()).assign(split="", metric="")
    table = pd.concat(parts, ignore_index=True)
    return table.assign(low=table["low"].clip(lower=0.0), high=table["high"].clip(upper=1.0))


def _differences(results: StudyResults, all_scores: AllMetricScores, question: Question) -> pd.DataFrame:
    """Return the differences on other splits and metrics, without verdicts: the study has one family of tests."""
    parts = []
    for split in (*results.evaluate_splits, results.select_split):
        for metric in map(str, results.values["metric"].unique()):
            influences = all_scores.on(metric, split)
            if influences is None or (split, metric) == _primary(results):
                continue
            compared = compare(influences, replace(question, margin=None))
            parts.append(compared.assign(split=split, metric=metric))
    columns = ["split", "metric", "arm", "estimate", "low", "high", "seeds", "clusters", "samples"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _primary(results: StudyResults) -> tuple[str, str]:
    return results.primary_split, results.primary


def _floors(results: StudyResults, all_scores: AllMetricScores) -> pd.DataFrame:
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
        table = means(replace(above, possible=(-1.0, 1.0) if known else (-floor, 1.0 - floor)))
        rows.append(table.assign(name=name, split=split, floor=floor))
    columns = ["name", "split", "floor", "arm", "estimate", "low", "high", "seeds"]
    return pd.concat(rows, ignore_index=True)[columns] if rows else pd.DataFrame(columns=columns)


def _slices(results: StudyResults, scores: Scores, unit: Unit) -> pd.DataFrame:
    """Return the primary metric on each slice of the primary split; an empty slice value means "not applicable"."""
    rows = results.samples[results.samples["split"] == results.primary_split].drop_duplicates("sample")
    parts = []
    for name in results.slices:
        for value in sorted(rows[name].dropna().unique(), key=_natural_order):
            if value == "":
                continue
            part = means(scores.where((rows[name] == value).to_numpy(dtype=bool)).influences(unit))
            parts.append(part.assign(slice=name, value=str(value)))
    columns = ["slice", "value", "arm", "estimate", "low", "high", "seeds", "samples", "clusters"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _natural_order(value: object) -> tuple[float, str]:
    """Return a sort key: the first number in a value, then its text.

    "10" follows "9" and "15 and more" follows "12-14"; values without a number come last.
    """
    text = str(value)
    number = re.search(r"\d+(\.\d+)?", text)
    return (float(number[0]) if number else float("inf"), text)


def _learning(results: StudyResults) -> pd.DataFrame:
    """Return the convergence of each arm on the selection curve of the primary metric, or on the one recorded."""
    chosen = results.curves[results.curves["quantity"] == selection_quantity(results)]
    falling = selection_quantity(results).removeprefix("select/") in results.lower_is_better
    table = convergence(chosen, higher_is_better=not falling)
    done = results.cells[results.cells["state"] == "done"]
    counts = done[["arm", "epochs", "best_epoch"]].astype({"epochs": float, "best_epoch": float})
    epochs = counts.groupby("arm", observed=True).mean().reset_index()
    return table.merge(epochs, on="arm", how="left")


def selection_quantity(results: StudyResults) -> str:
    """Return the curve that selected the weights: ``select/<primary>`` if recorded, else the first ``select/``."""
    recorded = sorted({str(name) for name in results.curves["quantity"] if str(name).startswith("select/")})
    primary = f"select/{results.primary}"
    return primary if primary in recorded or not recorded else recorded[0]


def _with_role(results: StudyResults, table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the role of each arm; the order of the rows is unchanged."""
    return table.assign(role=table["arm"].map({arm.label: arm.role for arm in results.arms}))
