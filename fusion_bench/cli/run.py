"""The commands ``fusion-bench run`` and ``report``: they call the run or the report and print its outcome."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import typer
from rich.console import Console

from fusion_bench.api.placement import chosen_device
from fusion_bench.api.request import RunRequest
from fusion_bench.api.run import NothingFinishedError, report_on, run_and_report, track
from fusion_bench.api.work import work_on
from fusion_bench.cli.open_study import open_as_last_run
from fusion_bench.cli.reports.compare import fail_if_worse
from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.mlflow_.links import how_to_see
from fusion_bench.reporting.mlflow_.store import TrackingStore
from fusion_bench.reporting.paper.pack import PAPER
from fusion_bench.reporting.progress import parts_shown
from fusion_bench.reporting.report.report import rebuild
from fusion_bench.reporting.result_table import result_table
from fusion_bench.reporting.tables.tables import Tables
from fusion_bench.results.collect import NOT_COMPARED
from fusion_bench.results.results import StudyResults
from fusion_bench.study.run import study_folder
from fusion_bench.study.trials.database import database_of
from fusion_bench.study.trials.journal_file import dashboard_command
from fusion_bench.study.trials.mirror import copy_journals


@dataclass(frozen=True)
class ShownIn:
    """Where ``report`` shows a study beside its report: in MLflow, and in a database of Optuna with this address."""

    mlflow: bool = False
    storage: str | None = field(default=None, repr=False)


def run_and_say(request: RunRequest, fail_if: str | None = None) -> None:
    """Run a study, write its report, and print where it lies and what has no result; the last line counts the cells.

    Raises:
        FusionBenchError: see `fusion_bench.api.run.run_and_report`.
        typer.Exit: with code 1, if a planned cell has no result; with code 3, if ``fail_if`` is ``worse`` and an arm
            is decided to be worse than the reference.
    """
    console, reference = Console(), ""
    worse: tuple[str, ...] = ()
    try:
        finished = run_and_report(request, console)
    except NothingFinishedError as error:
        typer.echo(str(error), err=True)
        counts = error.counts
    else:
        _say_outcome(finished.results, finished.tables, finished.report)
        counts, worse = finished.counts, finished.worse
        reference = finished.results.reference
        if request.storage is not None:
            typer.echo(dashboard_hint(database_of(request.storage).shown))
        try:
            _show_in_mlflow(finished.own, finished.report, finished.tables, request.runs, console)
        except FusionBenchError as error:
            # Nothing is lost: the next run, or `report --mlflow`, shows it. The exit code is that of the cells.
            typer.echo(str(error), err=True)
    typer.echo(str(counts))
    if not counts.complete:
        raise typer.Exit(1)
    if fail_if is not None:
        fail_if_worse(worse, reference)


def work_and_say(request: RunRequest, minutes: float | None) -> None:
    """Train cells of a study beside other processes; the last line counts the cells.

    Raises:
        FusionBenchError: see `fusion_bench.api.work.work_on`.
        typer.Exit: with code 1, if a planned cell has no result.
    """
    counts = work_on(request, minutes, Console())
    typer.echo(str(counts))
    if not counts.complete:
        raise typer.Exit(1)


def report_only(
    source: Path,
    runs: Path,
    overrides: Sequence[str],
    data: Sequence[str],
    *,
    publish: Path | None,
    paper: bool,
    shown_in: ShownIn,
    against: Path | None = None,
) -> None:
    """Write a report from finished cells, or rebuild a published folder.

    Raises:
        FusionBenchError: nothing is finished, or ``source`` is neither a study nor a published report; or a place
            where the study is shown cannot be reached.
    """
    console = Console(stderr=True)
    database = None if shown_in.storage is None else database_of(shown_in.storage)
    if (source / "study.json").exists():
        if against is not None:
            raise FusionBenchError(
                f"{source} is a published report; compare it with `fusion-bench compare {source} {against}`, or name "
                "the study file"
            )
        if database is not None:
            raise FusionBenchError(
                f"{source} is a published report, which holds no trials of Optuna; name the study file or "
                "runs/studies/NAME instead"
            )
        with parts_shown(console) as notify:
            report = rebuild(source, notify, paper=paper)
        typer.echo(f"Report: {report}")
        if paper:
            typer.echo(f"For a paper: {report.parent / PAPER}")
        return
    if source.is_dir() and not (source / "plan.json").exists():
        raise FusionBenchError(
            f"{source} is no published report (it has no study.json) and no study that has run (it has no "
            "plan.json); name one, such as reports/nlvr or runs/studies/nlvr, or a study file"
        )
    # What is not measured yet is measured where a run would have done it.
    device, cores = chosen_device(None, on_gpu=True), os.cpu_count() or 1
    opened = open_as_last_run(source, runs, overrides, data, device=device, data_workers=cores)
    if shown_in.mlflow:
        TrackingStore.of(opened.paths.runs).check()
    shown = report_on(opened.study, opened.paths, publish, console, paper=paper, against=against)
    written = shown.written
    _say_outcome(shown.results, written.tables, written.path)
    if paper:
        typer.echo(f"For a paper: {written.path.parent / PAPER}")
    if shown_in.mlflow:
        _show_in_mlflow(shown.own, written.path, written.tables, opened.paths.runs, console)
    if database is not None:
        for study in (opened.study, *opened.study.contexts.values()):
            copy_journals(study_folder(opened.paths.runs, study.name), database)
        typer.echo(dashboard_hint(database.shown))


def _show_in_mlflow(
    results: StudyResults, report: Path, tables: Tables, runs: Path, console: Console
) -> None:
    track(results, report, tables, runs, console)
    typer.echo(how_to_see(TrackingStore.of(runs).uri, runs))
    if (command := dashboard_command(study_folder(runs, results.name))) is not None:
        typer.echo(f"Optuna: {command}")


def dashboard_hint(shown: str) -> str:
    """Return the sentence on how to see Optuna's trials in a database, whose address is shown without secrets."""
    return f"Optuna's trials: optuna-dashboard {shown} (with your user and password, if it needs them)"


def _say_outcome(results: StudyResults, tables: Tables, report: Path) -> None:
    """Print the table of results, what has no result, and the path of the report."""
    console = Console()
    if not console.is_terminal:
        console.width = 1000  # in a pipe or a file every row is on one line
    console.print()
    console.print(result_table(results, tables))
    console.print()
    states = results.cells["state"].value_counts()
    failed = results.cells[results.cells["state"] == "failed"]
    stale, missing = int(states.get("stale", 0)), int(states.get("missing", 0))
    for row in failed.itertuples():
        typer.echo(f"failed: {row.arm}, seed {row.seed}: {row.reason}")
    if len(failed):
        typer.echo("To try failed cells again, run the study with --retry-failed.")
    if stale:
        typer.echo(
            f"{stale} cells are stale and left out of the comparison; `run --retry-stale` trains them anew where "
            "that helps:"
        )
        for reason, count in (
            results.cells.loc[results.cells["state"] == "stale", "reason"].value_counts().items()
        ):
            typer.echo(f"  {count} stale: {reason}")
    if missing:
        typer.echo(f"{missing} cells have no result yet; running the study again trains them.")
    for caution in results.cautions:
        if caution.startswith(NOT_COMPARED):
            typer.echo(caution)
    typer.echo(f"Report: {report}")
