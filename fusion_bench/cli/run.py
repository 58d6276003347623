"""Behind ``fusion-bench run`` and ``report``: connect study, screen, report and MLflow."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
import torch
import typer
from rich.console import Console

from fusion_bench.cells.executors.executor import Executor, WorkerSettings
from fusion_bench.cells.executors.inline import InlineExecutor
from fusion_bench.cells.executors.local import LocalExecutor
from fusion_bench.cli.open_study import open_study, paths_of
from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.mlflow_.links import LOCAL_SERVER, Link, deep_links, server_of
from fusion_bench.reporting.mlflow_.store import TrackingStore
from fusion_bench.reporting.mlflow_.sync import sync_study
from fusion_bench.reporting.progress import observer_for
from fusion_bench.reporting.report.report import rebuild, write_report
from fusion_bench.results.collect import collect
from fusion_bench.results.results import StudyResults
from fusion_bench.spec.contexts import report_folder
from fusion_bench.spec.smoke import smoke_study
from fusion_bench.spec.study import Study
from fusion_bench.study.run import RunOptions, StudyRun, study_folder
from fusion_bench.study.search_results import search_result, with_choices


@dataclass(frozen=True)
class RunRequest:
    """What the user asked of ``run``; see the command's help."""

    study: Path
    runs: Path
    workers: int | None
    overrides: tuple[str, ...]
    data: tuple[str, ...]
    device: str | None
    retry_failed: bool
    retry_stale: bool
    keep_weights: bool
    smoke: bool


def run_and_report(request: RunRequest) -> None:
    """Run a study and write its report.

    Raises:
        FusionBenchError: see `study.run.StudyRun.run`.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # the screen says what happens
    study = open_study(request.study, request.overrides)
    if request.smoke:
        study = smoke_study(study)
    device = _device(request.device, on_gpu=not request.smoke)
    cores, threads = os.cpu_count() or 1, study.threads
    workers = request.workers or (1 if device.startswith("cuda") else max(1, cores // threads))
    paths = paths_of(study, request.runs, request.data, device=device, making=1 if request.smoke else cores)
    settings = WorkerSettings(paths, workers, threads, request.keep_weights)

    def run(one: Study) -> None:
        def executor() -> Executor:
            if request.smoke:
                return InlineExecutor(settings)
            return LocalExecutor(settings, study_folder(paths.runs, one.name) / "logs")

        options = RunOptions(request.retry_failed, request.retry_stale)
        StudyRun(one, paths, executor, observer_for(Console()), options).run()

    run(study)
    search = search_result(study, paths)
    for label, context in study.contexts.items():
        typer.echo(f"the same arms under {label}:")
        run(with_choices(context, search))
    results = collect(study, paths)
    report = write_report(results, study_folder(paths.runs, study.name) / "report")
    _say_where(results, report, _track(results, report, paths.runs))


def _device(asked: str | None, *, on_gpu: bool) -> str:
    """The device asked for; else a GPU if there is one and ``on_gpu``.

    Raises:
        FusionBenchError: there is no such device.
    """
    if asked is None:
        return "cuda" if torch.cuda.is_available() and on_gpu else "cpu"
    kind, _, number = asked.partition(":")
    if asked != "cpu" and (kind != "cuda" or not (number or "0").isdecimal()):
        raise FusionBenchError(f"--device {asked}: write cpu, cuda or cuda:1")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise FusionBenchError(f"--device {asked}: torch finds {torch.cuda.device_count()} GPUs here")
    return asked


def report_only(
    source: Path,
    runs: Path,
    overrides: Sequence[str],
    data: Sequence[str],
    *,
    publish: Path | None,
    to_mlflow: bool,
) -> None:
    """Write a report from finished cells, or rebuild a published folder.

    Raises:
        FusionBenchError: nothing is finished, or ``source`` is neither a study nor a published report.
    """
    if source.is_dir():
        if not (source / "study.json").exists():
            raise FusionBenchError(
                f"{source} is no published report (it has no study.json); name one, such as reports/nlvr, or a "
                "study file"
            )
        typer.echo(f"Report: {rebuild(source)}")
        return
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = open_study(source, overrides)
    # What is not measured yet is measured where a run would have done it.
    paths = paths_of(study, runs, data, device=_device(None, on_gpu=True), making=os.cpu_count() or 1)
    results = collect(study, paths)
    report = write_report(results, study_folder(paths.runs, study.name) / "report")
    if publish is not None:
        report = write_report(results, publish / study.name)
    links = _track(results, report, paths.runs) if to_mlflow else ()
    _say_where(results, report, links)


def _track(results: StudyResults, report: Path, runs: Path) -> tuple[Link, ...]:
    store = TrackingStore.of(runs)
    for label, context in results.contexts.items():
        sync_study(context, report.parent / report_folder(label) / report.name, store)
    projection = sync_study(results, report, store)
    return deep_links(projection.destination, server_of(store.uri) or LOCAL_SERVER)


def _say_where(results: StudyResults, report: Path, links: Sequence[Link]) -> None:
    states = results.cells["state"].value_counts()
    failed = results.cells[results.cells["state"] == "failed"]
    stale, missing = int(states.get("stale", 0)), int(states.get("missing", 0))
    for row in failed.itertuples():
        typer.echo(f"failed: {row.arm}, seed {row.seed}: {row.reason}")
    if len(failed):
        typer.echo("To try failed cells again, run the study with --retry-failed.")
    if stale:
        typer.echo(
            f"{stale} cells are stale (their source or circumstances changed) and left out of the comparison; "
            "to train them anew, run the study with --retry-stale."
        )
    if missing:
        typer.echo(f"{missing} cells have no result yet; running the study again trains them.")
    typer.echo(f"\nReport: {report}")
    if links:
        typer.echo("MLflow (start it with: fusion-bench ui):")
        for link in links:
            typer.echo(f"  {link.title}: {link.url}")
