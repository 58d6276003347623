"""Arms of several reports, compared with one reference by the statistics of a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from fusion_bench.comparing.agreement import NotPairableError, agree, same_samples
from fusion_bench.comparing.joined import JoinedReports, join_reports
from fusion_bench.comparing.origins import OpenedReport, open_report
from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.tables.compared_seeds import compared_seeds, only_compared
from fusion_bench.reporting.tables.staged import compared
from fusion_bench.reporting.tables.tables import primary_comparison
from fusion_bench.results.results import StudyResults
from fusion_bench.statistics.comparison import means

COMPARED = [
    *("arm", "role", "reports", "new", "reference", "split", "metric"),
    *("mean", "mean_low", "mean_high", "estimate", "low", "high", "standard_error", "degrees"),
    *("seeds", "reference_seeds", "clusters", "samples", "p", "p_holm", "p_margin", "p_margin_holm"),
    *("verdict", "look", "level"),
]
"""The columns of a comparison of reports."""


@dataclass(frozen=True, eq=False)
class ReportComparison:
    """Arms of one or several reports, compared with a reference.

    Attributes:
        reports: the names of the reports.
        joined: the reports as one study.
        table: one row per arm or control that shares a seed with the reference, with the columns `COMPARED`:
            ``reports`` (the names of those that hold the arm), ``new`` (whether the first report does not hold it, or
            there is one report alone), ``mean`` with its 95 % interval, and the columns of
            `fusion_bench.statistics.comparison.compare`; the largest difference first, controls last.
        reference_mean: the row of the reference: ``estimate``, ``low``, ``high``.
        notes: sentences on what differs between the reports and does not matter.
    """

    reports: tuple[str, ...]
    joined: JoinedReports
    table: pd.DataFrame
    reference_mean: pd.Series
    notes: tuple[str, ...]

    @property
    def worse(self) -> tuple[str, ...]:
        """The new arms that are decided to be worse than the reference."""
        chosen = self.table["new"] & (self.table["verdict"] == "worse")
        return tuple(self.table.loc[chosen, "arm"])

    @property
    def not_compared(self) -> tuple[str, ...]:
        """The arms and controls that share no finished seed with the reference."""
        results = self.joined.results
        shown = {results.reference, *self.table["arm"]}
        return tuple(arm.label for arm in results.arms if arm.label not in shown)


def compare_reports(folders: Sequence[Path], reference: str | None = None) -> ReportComparison:
    """Compare the arms of reports with one reference; Holm's correction runs over all of them.

    Args:
        folders: published reports, or studies that have run (``runs/studies/NAME``).
        reference: the label of the reference; by default that of the first report.

    Raises:
        NotPairableError: the arms of two reports cannot be paired.
        FusionBenchError: a folder holds no report, there is no such reference or nothing to compare, or another
            reference is asked of a study with looks.
    """
    reports = _named([open_report(folder) for folder in folders], folders)
    notes = check_pairable(reports)
    joined = join_reports(reports, reference)
    first = reports[0]
    if first.results.stages is not None and joined.results.reference != first.results.reference:
        raise FusionBenchError(
            f"{first.name} has looks, which decided how many seeds each arm got by its difference from the reference "
            f"{first.results.reference!r}; leave out --reference"
        )
    if sum(arm.role != "control" for arm in joined.results.arms) < 2:
        arm = joined.results.reference
        which = "these reports hold" if len(reports) > 1 else f"{reports[0].name} holds"
        raise FusionBenchError(
            f"{which} one arm alone, {arm!r}, so there is nothing to compare; name a report with another arm too"
        )
    return comparison_of(reports, joined, notes)


def comparison_of(
    reports: Sequence[OpenedReport], joined: JoinedReports, notes: Sequence[str]
) -> ReportComparison:
    """Return the comparison of joined reports with their reference."""
    results, first = joined.results, reports[0].name
    differences, mean_table = _differences_and_means(results)
    own = mean_table.loc[differences["arm"]].reset_index(drop=True)
    roles = {arm.label: arm.role for arm in results.arms}
    table = differences.assign(
        role=differences["arm"].map(roles),
        reports=["; ".join(joined.homes[arm]) for arm in differences["arm"]],
        new=[len(reports) == 1 or first not in joined.homes[arm] for arm in differences["arm"]],
        reference=results.reference,
        split=results.primary_split,
        metric=results.primary,
        mean=own["estimate"],
        mean_low=own["low"],
        mean_high=own["high"],
    )
    falling = results.primary in results.lower_is_better
    order = table.assign(control=table["role"] == "control", place=table["estimate"].round(12))
    order = order.sort_values(["control", "place"], ascending=[True, falling], kind="stable")
    return ReportComparison(
        tuple(report.name for report in reports),
        joined,
        order[COMPARED].reset_index(drop=True),
        mean_table.loc[[results.reference]].iloc[0],
        tuple(notes),
    )


def check_pairable(reports: Sequence[OpenedReport]) -> list[str]:
    """Check that the arms of every two reports may be paired, and return notes.

    Raises:
        NotPairableError: those of two reports may not.
    """
    if len(reports) > 1:
        for report in reports:
            if report.results.stages is not None:
                raise NotPairableError(
                    f"the arms of {report.name} cannot be paired with those of other reports: it has looks, which "
                    "decide its own comparisons and gave its arms different numbers of seeds"
                )
    notes: list[str] = []
    origins = [report.origin for report in reports]
    for number, one in enumerate(origins):
        for other in origins[number + 1 :]:
            notes += agree(one, other)
    for report in reports[1:]:
        same_samples(reports[0], report)
    margins = {report.results.margin for report in reports}
    if len(margins) > 1:
        notes.append(
            f"The margins differ; that of {reports[0].name} counts: {reports[0].results.margin or 'none'}."
        )
    return list(dict.fromkeys(notes))


def _differences_and_means(results: StudyResults) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the differences from the reference, and the means over the seeds of these, by arm."""
    influences, question = primary_comparison(results)
    seeds = compared_seeds(influences, question, results.stages)
    mean_table = means(only_compared(influences, seeds)).set_index("arm")
    if results.reference not in mean_table.index:
        raise FusionBenchError(
            f"the reference {results.reference!r} has no finished cell, so nothing can be compared with it"
        )
    return compared(influences, question, results.stages).reset_index(drop=True), mean_table


def _named(reports: Sequence[OpenedReport], folders: Sequence[Path]) -> list[OpenedReport]:
    """Return the reports, those of studies of one name by the folder that was given."""
    counts = Counter(report.name for report in reports)
    named = [
        report if counts[report.name] == 1 else replace(report, name=folder.as_posix())
        for report, folder in zip(reports, folders, strict=True)
    ]
    again = [name for name, count in Counter(report.name for report in named).items() if count > 1]
    if again:
        raise FusionBenchError(f"the report {again[0]} is named twice")
    return named
