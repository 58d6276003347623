"""The comparisons of a study and the scores that they are made from: the same in a run and in its report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fusion_bench.errors import FusionBenchError
from fusion_bench.results.metric_scores import AllMetricScores, MetricScores
from fusion_bench.spec.arms import Role
from fusion_bench.statistics.comparison import Question


@dataclass(frozen=True)
class Member:
    """An arm in the comparisons.

    Attributes:
        label: its label.
        role: its role.
        ranked: whether it gets a verdict; an arm outside a matched budget gets an interval only, like a control.
    """

    label: str
    role: Role
    ranked: bool


def question_of(
    members: Iterable[Member], reference: str, margin: float | None, *, higher_is_better: bool
) -> Question:
    """Return the family of comparisons of a study.

    Args:
        members: all arms, in the order of the study.
        reference: the label of the reference.
        margin: the largest difference that counts as equivalent, a share.
        higher_is_better: the direction of the primary metric.
    """
    arms = [member for member in members if member.role != "reference"]
    return Question(
        reference=reference,
        family=tuple(member.label for member in arms if member.role == "arm" and member.ranked),
        unranked=tuple(member.label for member in arms if member.role == "arm" and not member.ranked),
        controls=tuple(member.label for member in arms if member.role == "control"),
        margin=margin,
        higher_is_better=higher_is_better,
    )


def primary_scores(
    all_scores: AllMetricScores, primary: str, recorded: Iterable[str], cluster: str
) -> MetricScores:
    """Return how the primary metric is computed.

    Args:
        all_scores: how each metric is computed.
        primary: the name of the primary metric.
        recorded: the names of the metrics of the finished cells.
        cluster: the kind of a cluster ("image").

    Raises:
        FusionBenchError: it follows from none of the recorded numbers.
    """
    found = all_scores.of(primary)
    if found is not None:
        return found
    if primary not in set(recorded):
        return MetricScores()
    raise FusionBenchError(
        f"the primary metric {primary!r} is neither the mean of a recorded number per sample nor the "
        f"ratio of two sums nor the share of {cluster}s whose samples are all right, so it has no "
        "interval; choose another metric"
    )
