"""The ranks of the arms in a study and in its contexts, and the agreement of these rankings."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from fusion_bench.reporting.tables.staged import first_seeds
from fusion_bench.results.metric_scores import MetricScores
from fusion_bench.results.results import StudyResults
from fusion_bench.statistics.influence import Influences
from fusion_bench.statistics.ranking import agreement, ranks


def context_influences(results: StudyResults, metric_scores: MetricScores) -> Mapping[str, Influences]:
    """Return the influences of each context, by its label, on the study's primary metric and the context's split.

    Of a context with looks, they are those of the seeds of the first one.

    Args:
        results: the study.
        metric_scores: how the primary metric is computed.
    """

    def of(context: StudyResults) -> Influences:
        rows = context.samples[context.samples["split"] == context.primary_split]
        scores = metric_scores.scores(rows, [arm.label for arm in context.arms])
        return first_seeds(scores.influences(metric_scores.unit), context.stages)

    return {label: of(context) for label, context in results.contexts.items()}


def context_ranks(
    results: StudyResults, primary: Influences, in_contexts: Mapping[str, Influences]
) -> pd.DataFrame:
    """Return the ranks of the arms in the study (``context`` "") and in each context; empty without contexts.

    Args:
        results: the study.
        primary: the influences of the study on its primary metric and split.
        in_contexts: those of each context.

    Returns:
        ``context, arm, estimate, rank, rank_low, rank_high``.
    """
    columns = ["context", "arm", "estimate", "rank", "rank_low", "rank_high"]
    if not results.contexts:
        return pd.DataFrame(columns=columns)
    rising = results.primary not in results.lower_is_better
    parts = [ranks(primary, _ranked(results), rising=rising).assign(context="")]
    for label, context in results.contexts.items():
        parts.append(ranks(in_contexts[label], _ranked(context), rising=rising).assign(context=label))
    return pd.concat(parts, ignore_index=True)[columns]


def context_agreement(
    results: StudyResults, primary: Influences, in_contexts: Mapping[str, Influences]
) -> pd.DataFrame:
    """Return the agreement of the ranking of each context with that of the study; arguments as `context_ranks`.

    Returns:
        ``context, arms, tau, low, high, within, across``; empty without contexts.
    """
    rows = []
    for label, context in results.contexts.items():
        both = [arm for arm in _ranked(results) if arm in _ranked(context)]
        rows.append({"context": label, **vars(agreement(primary, in_contexts[label], both))})
    return pd.DataFrame(rows, columns=["context", "arms", "tau", "low", "high", "within", "across"])


def _ranked(results: StudyResults) -> list[str]:
    return [arm.label for arm in results.arms if arm.role != "control" and not arm.unranked]
