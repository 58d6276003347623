"""Every number of a report, as tidy tables in the units of the data (shares, not per cent)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.tables.metric_scores import AllMetricScores, MetricScores
from fusion_bench.reporting.tables.sample_selection import shown_answers
from fusion_bench.results.results import StudyResults
from fusion_bench.spec.arms import Role
from fusion_bench.statistics.comparison import Question, against_controls, compare, means
from fusion_bench.statistics.convergence import convergence
from fusion_bench.statistics.ranking import agreement, ranks
from fusion_bench.statistics.scores import Scores, Unit

Row: TypeAlias = dict[str, Any]
"""One row of a tidy table by column name."""


@dataclass(frozen=True, eq=False)
class Tables:
    """What the sentences, figures and Markdown tables read; nothing else computes a number.

    Attributes:
        means: ``split, metric, arm, role, estimate, low, high, seeds, clusters, samples, ...``. A metric
            that is no mean over samples or clusters has a mean over seeds and no interval; the intervals
            of shares end at 0 and 1.
        per_seed: ``split, metric, arm, role, seed, value``.
        comparisons: the judged family, arms outside the budget and the controls against the reference, on the
            primary metric and split (`fusion_bench.statistics.comparison.compare`), with ``role``.
        differences: the same differences on every other evaluated split and metric, not judged.
        controls: each arm's lead over each control (``against_controls``).
        floors: ``name, split, floor, arm, role, estimate, low, high, seeds``: accuracy less the floor.
        slices: ``slice, value, arm, role, estimate, low, high, samples, clusters``, on the primary split.
        learning: ``arm, role, rise, converged, epochs, best_epoch``.
        ranking: the arms by their mean on the primary metric and split, in the study itself (``context`` "") and in
            each of its contexts: ``context, arm, estimate, rank, rank_low, rank_high``; empty without contexts.
        agreement: each context's ranking against the study's own: ``context`` and the fields of
            `fusion_bench.statistics.ranking.Agreement`.
        answers: what each arm answered or found in each shown picture
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
    """The rows of a table as dictionaries."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def build_tables(results: StudyResults) -> Tables:
    """Compute every table.

    Raises:
        FusionBenchError: answers cannot be paired, or the primary metric does not follow from the answers.
    """
    bases = AllMetricScores(results)
    basis = bases.of(results.primary) or (
        None if results.primary in set(results.values["metric"]) else MetricScores()
    )
    if basis is None:
        raise FusionBenchError(
            f"the primary metric {results.primary!r} is neither the mean of a number of each sample nor the "
            f"share of {results.cluster}s that are right throughout, so it has no interval; choose another"
        )
    unit = basis.unit
    question = _question(results, unit)
    primary = bases.scores(basis, results.primary_split)
    arms = [arm.label for arm in results.arms if arm.role != "control"]
    return Tables(
        means=_with_role(results, _means(results, bases)),
        per_seed=results.values[["split", "metric", "arm", "role", "seed", "value"]].reset_index(drop=True),
        comparisons=_with_role(results, compare(primary, question)),
        differences=_with_role(results, _differences(results, bases, question)),
        controls=against_controls(primary, arms, _labels(results, "control"), question),
        floors=_with_role(results, _floors(results, bases)),
        slices=_with_role(results, _slices(results, primary, unit)),
        learning=_with_role(results, _learning(results)),
        ranking=_ranking(results, primary, basis),
        agreement=_agreement(results, primary, basis),
        answers=shown_answers(results, results.pictures),
        unfinished=results.cells[results.cells["state"] != "done"].reset_index(drop=True),
    )


def _question(results: StudyResults, unit: Unit) -> Question:
    """Arms outside a matched budget are not in the family: like controls they get an interval only."""
    arms = _labels(results, "arm")
    unranked = [arm.label for arm in results.arms if arm.label in arms and arm.unranked]
    return Question(
        reference=results.reference,
        family=tuple(label for label in arms if label not in unranked),
        controls=(*unranked, *_labels(results, "control")),
        margin=results.margin,
        unit=unit,
        higher_is_better=results.primary not in results.lower_is_better,
    )


def _labels(results: StudyResults, role: Role) -> list[str]:
    return [arm.label for arm in results.arms if arm.role == role]


def _means(results: StudyResults, bases: AllMetricScores) -> pd.DataFrame:
    parts = []
    keys = results.values[["split", "metric"]].drop_duplicates()
    for split, metric in keys.itertuples(index=False, name=None):
        if (found := bases.on(metric, split)) is not None:
            parts.append(means(*found).assign(split=split, metric=metric))
            continue
        chosen = (results.values["split"] == split) & (results.values["metric"] == metric)
        plain = results.values[chosen].groupby("arm", sort=False, observed=True)["value"]
        plain_means = plain.agg(estimate="mean", seeds="size").reset_index()
        parts.append(plain_means.assign(split=split, metric=metric, low=np.nan, high=np.nan))
    if not parts:
        return means(Scores.of(results.samples.iloc[:0], [])).assign(split="", metric="")
    table = pd.concat(parts, ignore_index=True)
    return table.assign(low=table["low"].clip(lower=0.0), high=table["high"].clip(upper=1.0))


def _differences(results: StudyResults, bases: AllMetricScores, question: Question) -> pd.DataFrame:
    """Intervals on what is not primary; their verdicts are dropped, for one family was announced."""
    parts = []
    for split in (*results.evaluate_splits, results.select_split):
        for metric in map(str, results.values["metric"].unique()):
            found = bases.on(metric, split)
            if found is None or (split, metric) == _primary(results):
                continue
            scores, unit = found
            own = Question(question.reference, question.family, question.controls, unit=unit)
            parts.append(compare(scores, own).assign(split=split, metric=metric))
    columns = ["split", "metric", "arm", "estimate", "low", "high", "seeds", "clusters", "samples"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _primary(results: StudyResults) -> tuple[str, str]:
    return results.primary_split, results.primary


def _floors(results: StudyResults, bases: AllMetricScores) -> pd.DataFrame:
    rows = []
    for name, split, floor in results.floors[["name", "split", "accuracy"]].itertuples(
        index=False, name=None
    ):
        if split not in bases.splits:
            continue
        above = means(bases.scores(MetricScores(), split))
        above[["estimate", "low", "high"]] -= floor
        rows.append(above.assign(name=name, split=split, floor=floor))
    columns = ["name", "split", "floor", "arm", "estimate", "low", "high", "seeds"]
    return pd.concat(rows, ignore_index=True)[columns] if rows else pd.DataFrame(columns=columns)


def _slices(results: StudyResults, scores: Scores, unit: Unit) -> pd.DataFrame:
    """The primary metric on each slice of the primary split; an empty slice value means "does not apply"."""
    rows = results.samples[results.samples["split"] == results.primary_split].drop_duplicates("sample")
    parts = []
    for name in results.slices:
        for value in sorted(rows[name].dropna().unique(), key=_natural):
            if value == "":
                continue
            part = means(scores.where((rows[name] == value).to_numpy(dtype=bool)), unit)
            parts.append(part.assign(slice=name, value=str(value)))
    columns = ["slice", "value", "arm", "estimate", "low", "high", "seeds", "samples", "clusters"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _natural(value: object) -> tuple[float, str]:
    """By the first number in a name, those without one last: ten hops follow nine, "15 and more" "12-14"."""
    text = str(value)
    number = re.search(r"\d+(\.\d+)?", text)
    return (float(number[0]) if number else float("inf"), text)


def _ranked(results: StudyResults) -> list[str]:
    return [arm.label for arm in results.arms if arm.role != "control" and not arm.unranked]


def _in_context(context: StudyResults, basis: MetricScores) -> Scores:
    judged = context.samples[context.samples["split"] == context.primary_split]
    return basis.scores(judged, [arm.label for arm in context.arms])


def _ranking(results: StudyResults, primary: Scores, basis: MetricScores) -> pd.DataFrame:
    columns = ["context", "arm", "estimate", "rank", "rank_low", "rank_high"]
    if not results.contexts:
        return pd.DataFrame(columns=columns)
    rising = results.primary not in results.lower_is_better
    parts = [ranks(primary, _ranked(results), basis.unit, rising=rising).assign(context="")]
    for label, context in results.contexts.items():
        ranking = ranks(_in_context(context, basis), _ranked(context), basis.unit, rising=rising)
        parts.append(ranking.assign(context=label))
    return pd.concat(parts, ignore_index=True)[columns]


def _agreement(results: StudyResults, primary: Scores, basis: MetricScores) -> pd.DataFrame:
    rows = []
    for label, context in results.contexts.items():
        both = [arm for arm in _ranked(results) if arm in _ranked(context)]
        rows.append(
            {"context": label, **vars(agreement(primary, _in_context(context, basis), both, basis.unit))}
        )
    return pd.DataFrame(rows, columns=["context", "arms", "tau", "low", "high", "within", "across"])


def _learning(results: StudyResults) -> pd.DataFrame:
    """Convergence on the primary metric's selection curve, or on the only one there is."""
    chosen = results.curves[results.curves["quantity"] == selection_quantity(results)]
    falling = selection_quantity(results).removeprefix("select/") in results.lower_is_better
    table = convergence(chosen, higher_is_better=not falling)
    done = results.cells[results.cells["state"] == "done"]
    counts = done[["arm", "epochs", "best_epoch"]].astype({"epochs": float, "best_epoch": float})
    epochs = counts.groupby("arm", observed=True).mean().reset_index()
    return table.merge(epochs, on="arm", how="left")


def selection_quantity(results: StudyResults) -> str:
    """The curve that chose the weights: ``select/<primary>`` if recorded, else the first ``select/``."""
    recorded = sorted({str(name) for name in results.curves["quantity"] if str(name).startswith("select/")})
    primary = f"select/{results.primary}"
    return primary if primary in recorded or not recorded else recorded[0]


def _with_role(results: StudyResults, table: pd.DataFrame) -> pd.DataFrame:
    """Add each arm's role; rows keep their order, arms with the same key stand in the study's order."""
    return table.assign(role=table["arm"].map({arm.label: arm.role for arm in results.arms}))
