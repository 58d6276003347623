"""The part of a run that compares a study with the arms of a report: before its training, and after it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from fusion_bench.api.request import RunRequest
from fusion_bench.comparing.against import AgainstReport, beside_report, plan_against
from fusion_bench.comparing.agreement import NotPairableError
from fusion_bench.comparing.joined import JoinedReports
from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.progress import parts_shown
from fusion_bench.reporting.report.report import write_report
from fusion_bench.reporting.tables.formatting import join_words
from fusion_bench.reporting.tables.tables import Tables
from fusion_bench.results.results import StudyResults
from fusion_bench.spec.study import Study
from fusion_bench.training.paths import RunPaths


def plan_against_report(
    request: RunRequest, study: Study, paths: RunPaths, console: Console
) -> AgainstReport:
    """Return what a study still trains, and print which of its arms the report has and what differs.

    Raises:
        FusionBenchError: see `fusion_bench.comparing.against.plan_against`; or the run is a toy run.
    """
    if request.against is None or request.smoke:
        raise FusionBenchError(
            "--smoke trains at toy sizes, whose arms cannot be paired with those of a report; leave out --against"
        )
    with parts_shown(console) as notify:
        plan = plan_against(study, replace(paths, notify=notify), request.against, before_training=True)

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    say(f"compared with the arms of {plan.report.name}; data, surroundings and numerics are the same")
    if plan.taken:
        say(f"not trained again, because {plan.report.name} has their cells: {join_words(list(plan.taken))}")
    for note in plan.notes:
        say(note)
    return plan


def report_beside(own: StudyResults, runs: Path, plan: AgainstReport, folder: Path) -> JoinedReports:
    """Return the results of a study beside those of the report that it is compared with.

    Raises:
        NotPairableError: the finished cells cannot be paired with those of the report; the study's own report is
            written into ``folder``.
    """
    try:
        return beside_report(own, runs, plan)
    except NotPairableError as error:
        written = write_report(own, folder)
        raise NotPairableError(
            f"{error} (the cells are kept; the report of the study alone: {written})"
        ) from error


def worse_arms(tables: Tables, plan: AgainstReport | None, joined: JoinedReports | None) -> tuple[str, ...]:
    """Return the arms that are decided to be worse than the reference, without those of the report."""
    worse = tables.comparisons.loc[tables.comparisons["verdict"] == "worse", "arm"]
    if plan is None or joined is None:
        return tuple(worse)
    return tuple(arm for arm in worse if plan.report.name not in joined.homes[arm])
