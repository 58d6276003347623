"""The rows of a report's answer: one per arm, the best first, with all that is said about it in one line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fusion_bench.reporting.tables.tables import Row, Tables, records
from fusion_bench.results.results import StudyResults


@dataclass(frozen=True, eq=False)
class AnswerRow:
    """One arm in the answer.

    Attributes:
        arm: its label.
        role: ``reference`` or ``arm``.
        place: its place among the ranked arms in the order of `Tables`, from 1; None for an arm that is not ranked:
            outside the budget, or, where other arms have enough seeds for a verdict, without them.
        mean: its row of `Tables.means` on the primary metric and split, over the seeds of its comparison with the
            reference.
        finished: the number of its finished seeds.
        difference: its row of `Tables.comparisons`; None for the reference, and for an arm that shares no seed with
            it.
        letters: its tie groups; empty for an arm without enough seeds or outside the budget.
        tied: the number of other arms that it cannot be told apart from; None without letters.
        ahead: the number of other arms that it is shown to be better than; None without letters.
        planned: the number of seeds that the study plans.
        converged: whether its selection metric had stopped to rise; None where that is unknown.
        beats: whether it is shown to beat every control, each of which has a result; None without controls.
    """

    arm: str
    role: str
    place: int | None
    mean: Row
    finished: int
    difference: Row | None
    letters: str
    tied: int | None
    ahead: int | None
    planned: int
    converged: bool | None
    beats: bool | None


def answer_rows(results: StudyResults, tables: Tables) -> tuple[AnswerRow, ...]:
    """Return one row per arm (not control) that has a mean on the primary metric and split, the best first."""
    means = {row["arm"]: row for row in records(results.on_primary(tables.means))}
    differences = {row["arm"]: row for row in records(tables.comparisons)}
    cells_of = {str(arm): cells for arm, cells in results.cells.groupby("arm", observed=True)}
    planned = {arm: len(cells) for arm, cells in cells_of.items()}
    finished = {arm: int((cells["state"] == "done").sum()) for arm, cells in cells_of.items()}
    beats = {row["arm"]: bool(row["beats"]) for row in records(tables.controls)}
    without = None if all(arm.role != "control" for arm in results.arms) else False
    arms = [arm for arm in results.arms if arm.role != "control" and arm.label in means]
    within = {arm.label for arm in arms if not arm.unranked}
    converged = _has_converged(tables)
    ranked = [arm for arm in tables.order if arm in (set(tables.ties.arms) or within)]
    places = {arm: place for place, arm in enumerate(ranked, start=1)}
    rows = [
        AnswerRow(
            arm.label,
            arm.role,
            places.get(arm.label),
            means[arm.label],
            finished.get(arm.label, int(means[arm.label]["seeds"])),
            differences.get(arm.label),
            tables.ties.of(arm.label),
            tables.ties.tied_with(arm.label),
            tables.ties.ahead_of(arm.label),
            planned.get(arm.label, int(means[arm.label]["seeds"])),
            converged.get(arm.label),
            beats.get(arm.label, without),
        )
        for arm in arms
    ]
    return tuple(sorted(rows, key=lambda row: tables.order.index(row.arm)))


def controls_without_result(results: StudyResults, tables: Tables) -> list[str]:
    """Return the labels of the controls that have no mean on the primary metric and split."""
    return [arm.label for arm in results.arms if arm.role == "control" and arm.label not in tables.order]


def _has_converged(tables: Tables) -> dict[str, bool]:
    """Return for each arm or control whose rise is known whether it had converged."""
    return {
        row["arm"]: bool(row["converged"]) for row in records(tables.learning) if not np.isnan(row["rise"])
    }
