"""All numbers of a report, as tidy tables in the units of the data (shares, not per cent)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import pandas as pd

from fusion_bench.reporting.tables.compared_seeds import compared_seeds
from fusion_bench.reporting.tables.context_ranks import (
    context_agreement,
    context_influences,
    context_ranks,
)
from fusion_bench.reporting.tables.factors import FactorTables, factor_tables
from fusion_bench.reporting.tables.mean_tables import all_means, leads_over_floors, other_differences
from fusion_bench.reporting.tables.order import best_first, order_of_arms
from fusion_bench.reporting.tables.sample_selection import shown_answers
from fusion_bench.reporting.tables.slice_means import slice_means
from fusion_bench.reporting.tables.staged import compared, first_seeds, look_comparisons, looks_table
from fusion_bench.results.family import Member, primary_scores, question_of
from fusion_bench.results.metric_scores import AllMetricScores, MetricScores
from fusion_bench.results.results import StudyResults
from fusion_bench.statistics.comparison import Question
from fusion_bench.statistics.controls import against_controls
from fusion_bench.statistics.convergence import convergence
from fusion_bench.statistics.influence import Influences
from fusion_bench.statistics.seeds.noise import ComparisonNoise, comparison_noise
from fusion_bench.statistics.tie_groups import TieGroups, tie_groups

Row: TypeAlias = dict[str, Any]
"""One row of a tidy table, by column name."""


@dataclass(frozen=True, eq=False)
class Tables:
    """The numbers of the sentences, figures and Markdown tables; no other code computes a number of a report.

    Means of an arm or control are over the seeds of its comparison with the reference
    (`fusion_bench.reporting.tables.compared_seeds`), so that no place contradicts a verdict.

    Attributes:
        means: ``split, metric, arm, role, estimate, low, high, seeds, clusters, samples, ...``. A metric
            that follows from no recorded number has a mean over seeds and no interval. Intervals of
            shares are limited to [0, 1].
        per_seed: ``split, metric, arm, role, seed, value``, of every finished seed.
        comparisons: the differences of the family, of arms outside the budget and of controls from the reference, on
            the primary metric and split (`fusion_bench.statistics.comparison.compare`), with ``role``.
        differences: the same differences on every other evaluated split and metric, without verdicts.
        controls: the difference of each arm from each control
            (`fusion_bench.statistics.controls.against_controls`).
        floors: ``name, split, floor, arm, role, estimate, low, high, seeds``: score minus floor, paired by sample.
        slices: ``slice, value, arm, role, estimate, low, high, samples, clusters``, on the primary split. Slices that
            hold the same samples are there once, and one that holds all samples is left out.
        repeated: the slices that are left out: ``slice, value, same_slice, same_value`` (both empty: all samples).
        learning: ``arm, role, rise, converged, epochs, best_epoch``.
        ranking: the arms ranked by their mean on the primary metric and split, in the study itself (``context`` "")
            and in each context: ``context, arm, estimate, rank, rank_low, rank_high``; empty without contexts.
        agreement: the agreement of the ranking of each context with that of the study: ``context`` and the fields of
            `fusion_bench.statistics.ranking.Agreement`.
        answers: the answer or prediction of each arm for each shown sample
            (`fusion_bench.reporting.tables.sample_selection`).
        unfinished: the cells without a result.
        order: the arms with a mean on the primary metric and split, the best first, then the controls likewise
            (`fusion_bench.reporting.tables.order`). The rows of the other tables have this order within a split,
            metric or slice.
        ties: the arms that cannot be told apart.
        looks: one row per planned look (`fusion_bench.reporting.tables.staged.looks_table`); none without looks.
        look_comparisons: the comparisons of every look that was taken, with ``look``.
        factors: the full factorial among the arms, and its effects.
        noise: the sources of the noise of a comparison; None where no two arms share two seeds.
    """

    means: pd.DataFrame
    per_seed: pd.DataFrame
    comparisons: pd.DataFrame
    differences: pd.DataFrame
    controls: pd.DataFrame
    floors: pd.DataFrame
    slices: pd.DataFrame
    repeated: pd.DataFrame
    learning: pd.DataFrame
    ranking: pd.DataFrame
    agreement: pd.DataFrame
    answers: pd.DataFrame
    unfinished: pd.DataFrame
    order: tuple[str, ...]
    ties: TieGroups
    looks: pd.DataFrame
    look_comparisons: pd.DataFrame
    factors: FactorTables
    noise: ComparisonNoise | None


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
    scores = all_scores.scores(metric_scores, results.primary_split)
    seeds = compared_seeds(primary, question, results.stages)
    mean_table = _with_role(results, all_means(results, all_scores, seeds))
    comparisons = compared(primary, question, results.stages)
    first = first_seeds(primary, results.stages)
    order = order_of_arms(results, mean_table, comparisons)
    in_contexts = context_influences(results, metric_scores)
    slices, repeated = slice_means(results, scores, metric_scores.unit, seeds)

    def shown(table: pd.DataFrame) -> pd.DataFrame:
        return best_first(_with_role(results, table), order)

    return Tables(
        means=shown(mean_table),
        per_seed=results.values[["split", "metric", "arm", "role", "seed", "value"]].reset_index(drop=True),
        comparisons=shown(comparisons),
        differences=shown(other_differences(results, all_scores, question)),
        controls=best_first(against_controls(first, question), order),
        floors=shown(leads_over_floors(results, all_scores, seeds)),
        slices=shown(slices),
        repeated=repeated,
        learning=shown(_learning(results)),
        ranking=context_ranks(results, first, in_contexts),
        agreement=context_agreement(results, first, in_contexts),
        answers=shown_answers(results, results.pictures),
        unfinished=results.cells[results.cells["state"] != "done"].reset_index(drop=True),
        order=order,
        ties=tie_groups(primary, question, order, results.stages),
        looks=looks_table(primary, question, results.stages),
        look_comparisons=shown(look_comparisons(primary, question, results.stages)),
        factors=factor_tables(results, first, question),
        noise=comparison_noise(first, question.differences(first).pool.arms),
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
    return primary_scores(all_scores, results.primary, results.values["metric"], results.cluster)


def _question(results: StudyResults) -> Question:
    """Return the family of comparisons."""
    return question_of(
        (Member(arm.label, arm.role, not arm.unranked) for arm in results.arms),
        results.reference,
        results.margin,
        higher_is_better=results.primary not in results.lower_is_better,
    )


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


def drawn_quantities(results: StudyResults) -> list[str]:
    """Return the curves that a chart shows: of the selection metric and the loss, those with at least two points.

    A study that only evaluates records one point, of which no line can be drawn.
    """
    points = results.curves.groupby("quantity", observed=True)["samples_seen"].nunique()
    wanted = dict.fromkeys((selection_quantity(results), "train/loss"))
    return [name for name in wanted if points.get(name, 0) > 1]


def _with_role(results: StudyResults, table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the role of each arm; the order of the rows is unchanged."""
    return table.assign(role=table["arm"].map({arm.label: arm.role for arm in results.arms}))
