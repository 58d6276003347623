"""The rows of the table for a paper: the texts of the numbers of a report, written by the same functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fusion_bench.reporting.tables.answer_rows import AnswerRow, answer_rows
from fusion_bench.reporting.tables.formatting import DASH, count, milliseconds, p_value, percent, points
from fusion_bench.reporting.tables.tables import Row, Tables, records
from fusion_bench.results.results import ArmSummary, StudyResults


@dataclass(frozen=True)
class PaperRow:
    """One arm or control; numbers are texts, a dash where there is none.

    Attributes:
        arm: its label.
        role: ``reference``, ``arm`` or ``control``.
        place: its place among the ranked arms.
        is_best: whether it is the first of them.
        mean, mean_low, mean_high: the primary metric in per cent and its 95 % interval.
        difference, difference_low, difference_high: from the reference, in points, and its interval.
        p: the corrected p-value.
        verdict: in a word; empty for the reference and controls.
        converged: ``yes``, ``no``, or empty where that is unknown.
        ties: its tie groups.
        seeds: how many seeds its mean is over.
        parameters, multiply_adds, latency: its costs.
    """

    arm: str
    role: str
    place: str
    is_best: bool
    mean: str
    mean_low: str
    mean_high: str
    difference: str
    difference_low: str
    difference_high: str
    p: str
    verdict: str
    converged: str
    ties: str
    seeds: str
    parameters: str
    multiply_adds: str
    latency: str


def paper_rows(results: StudyResults, tables: Tables) -> tuple[PaperRow, ...]:
    """Return a row per arm and control with a mean on the primary metric and split, the best first, arms above."""
    summaries = {arm.label: arm for arm in results.arms}
    differences = {row["arm"]: row for row in records(tables.comparisons)}
    rows = [_row(summaries[row.arm], row.mean, row.difference, row) for row in answer_rows(results, tables)]
    rows += [
        _row(summaries[mean["arm"]], mean, differences.get(mean["arm"]), None)
        for mean in records(results.on_primary(tables.means))
        if mean["role"] == "control"
    ]
    return tuple(rows)


def _row(arm: ArmSummary, mean: Row, difference: Row | None, answer: AnswerRow | None) -> PaperRow:
    low, high = _ends(mean, percent)
    place = None if answer is None else answer.place
    of_difference = (DASH, DASH, DASH)
    if difference is not None:
        of_difference = (points(difference["estimate"]), *_ends(difference, points))
    return PaperRow(
        arm=arm.label,
        role=arm.role,
        place=DASH if place is None else str(place),
        is_best=place == 1,
        mean=percent(mean["estimate"]),
        mean_low=low,
        mean_high=high,
        difference=of_difference[0],
        difference_low=of_difference[1],
        difference_high=of_difference[2],
        p=DASH if difference is None else p_value(difference["p_holm"]),
        verdict="" if difference is None else difference["verdict"],
        converged="" if answer is None else {True: "yes", False: "no", None: ""}[answer.converged],
        ties=(answer.letters if answer is not None else "") or DASH,
        seeds=str(int(mean["seeds"])),
        parameters=count(arm.fusion_parameters),
        multiply_adds=count(arm.fusion_multiply_adds),
        latency=milliseconds(arm.latency_ms),
    )


def _ends(row: Row, write: Callable[[float], str]) -> tuple[str, str]:
    return (DASH, DASH) if np.isnan(row["low"]) else (write(row["low"]), write(row["high"]))
